"""Frozen dataclasses <-> JSON documents, by their type hints. Strict: see documents.

Types: int, str, bool, UUID, Lsn, datetime (UTC), StrEnum, dataclass, tuple[X, ...], X | None. Integers above
2^53 (system identifiers) are JSON numbers; Python reads them exactly.

The field "checksum" is the CRC-32C, 8 hex digits, of the document as written here but without that field: a
flipped digit in an LSN or an id would else be another LSN or id.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import google_crc32c

from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.model.lsn import Lsn

D = TypeVar("D")
CHECKSUM = "checksum"

_SMALL = 4096  # bytes of a document that is worth remembering


def encode(document: Any) -> bytes:
    """The bytes of a document; equal documents give equal bytes."""
    plain = _plain(document)
    return _dumped(plain | {CHECKSUM: _checksum(plain)})


def decode(cls: type[D], raw: bytes, key: str, known_format: int = 1) -> D:
    """The document in `raw`, which is under `key`. Raises `Corrupt`, or `Conflict` code "newer_format"."""
    try:
        found: D = (_remembered if len(raw) <= _SMALL else _decoded)(cls, raw, known_format)
        return found
    except _NewerFormat as error:
        raise _newer(key, error.found, known_format) from None
    except (ValueError, Invalid) as error:
        raise Corrupt(f'document "{key}" is damaged', detail=f"{str(error).capitalize()}.") from error


def _decoded(cls: type[D], raw: bytes, known_format: int) -> D:
    plain = json.loads(raw)
    if not isinstance(plain, dict) or type(plain.get("format")) is not int:
        raise ValueError("it is not an object with a format")
    if plain["format"] > known_format:
        raise _NewerFormat(plain["format"])
    _verify(plain, plain.pop(CHECKSUM, None))
    return _build(cls, plain)


# Documents never change once they are built, and most are read over and over as they were.
_remembered: Callable[[Any, bytes, int], Any] = lru_cache(maxsize=1024)(_decoded)


class _NewerFormat(Exception):
    def __init__(self, found: int) -> None:
        super().__init__(found)
        self.found = found


def _dumped(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _checksum(plain: dict[str, Any]) -> str:
    return f"{google_crc32c.value(_dumped(plain)):08x}"


def _verify(plain: dict[str, Any], said: object) -> None:
    """A document of the first versions has no checksum."""
    if said is not None and said != _checksum(plain):
        raise ValueError(f"its checksum is {said!r}, its content's is {_checksum(plain)}")


def _newer(key: str, found: int, known: int) -> Conflict:
    return Conflict(
        f'document "{key}" has a newer format',
        detail=f"Its format is {found}, this neon-compose knows {known}.",
        hint="Use the neon-compose that wrote it, or a newer one.",
        code="newer_format",
    )


def _plain(value: Any) -> Any:
    match value:
        case UUID() | Lsn():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case tuple():
            return [_plain(one) for one in value]
        case StrEnum():
            return value.value
        case _ if is_dataclass(value):
            return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        case _:
            return value


def _build(cls: type[D], plain: dict[str, Any]) -> D:
    hints = _hints(_as_type(cls))
    if unknown := plain.keys() - hints.keys():
        raise ValueError(f"it has the unknown field {min(unknown)!r}")
    if missing := _required(_as_type(cls)) - plain.keys():
        raise ValueError(f"it lacks the field {min(missing)!r}")
    return cls(**{name: _parse(hints[name], value, name) for name, value in plain.items()})


def _parse(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) is UnionType:
        inner = next(one for one in get_args(hint) if one is not NoneType)
        return None if value is None else _parse(inner, value, name)
    if get_origin(hint) is tuple:
        _expect(list, value, name)
        return tuple(_parse(get_args(hint)[0], one, name) for one in value)
    if is_dataclass(hint) and hint is not Lsn:
        _expect(dict, value, name)
        return _build(hint, value)  # type: ignore[arg-type]
    _expect(hint if hint in (int, bool) else str, value, name)
    return _scalar(hint, value)


def _scalar(hint: Any, value: Any) -> Any:
    if hint is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"the time {value!r} has no zone")
        return moment.astimezone(UTC)
    return Lsn.parse(value) if hint is Lsn else value if hint in (int, str, bool) else hint(value)


def _expect(cls: type, value: Any, name: str) -> None:
    if type(value) is not cls:
        raise ValueError(f"its field {name!r} holds {type(value).__name__}, not {cls.__name__}")


def _as_type(cls: type[Any]) -> type:
    return cls


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


@cache
def _required(cls: type) -> frozenset[str]:
    return frozenset(one.name for one in fields(cls) if one.default is MISSING)
