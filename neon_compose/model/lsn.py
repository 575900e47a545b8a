"""A position in the WAL: 64 bits, written as two hexadecimal halves (PostgreSQL's pg_lsn)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neon_compose.errors import Invalid

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


@dataclass(frozen=True, order=True)
class Lsn:
    value: int

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """`text` like 0/1A2B3C4D; raises `Invalid`."""
        match = _LSN.fullmatch(text)
        if match is None:
            raise Invalid(
                f"{text[:60]!a} is not an LSN", hint="An LSN looks like 0/1A2B3C4D.", code="bad_lsn"
            )
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"
