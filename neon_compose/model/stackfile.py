"""The stack file (DESIGN 11): what `up` makes, as strict models.

A document is checked as a whole and all its problems are reported at once, each with the path of its key
and, for an unknown key, the nearest known one. The controller's documents (one per storage and pg) and the
body of `PUT /stack` use the same models. Nothing here reads a file: `read_stack` takes text.

A document without `storages` has one, native `main`; one without `storages` and `pgs` also a pg `main` on it.
"""

from __future__ import annotations

import ipaddress
import re
from os.path import normpath
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

import neon_compose
from neon_compose.errors import Invalid, NeonError
from neon_compose.model import stackchecks
from neon_compose.model.history import parse_age, parse_size
from neon_compose.model.moments import Ago
from neon_compose.model.names import PATTERN, parse_name
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.origin import is_server
from neon_compose.model.source import parse_source
from neon_compose.model.states import Durability, StorageType

FILE_NAME = "neon-compose.yaml"
DEFAULT_STACK = "neon"
MAX_SAFEKEEPERS = 8  # as many as have a fixed address

_LATER = {
    "packages": "not available yet: only the extensions that come with PostgreSQL are installed",
}
M = TypeVar("M", bound=BaseModel)

_CLAUSE = re.compile(r"(>=|<=|==|>|<)\s*(\d+(?:\.\d+){0,2})")


def _setting(value: object) -> str:
    """A PostgreSQL setting's value as text; YAML reads `on` as true, so true is "on" again."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("a setting is a text, a number or on/off")


def _bind(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value[:60]!a} is not an IP address") from None


def _source(value: str) -> str:
    text = _said(lambda: str(parse_source(value)))
    if isinstance(moment := parse_source(text).moment, Ago):
        raise ValueError(f"{moment} ago is another moment at every up: name a time, an LSN or a snapshot")
    return text


def _name(what: str) -> AfterValidator:
    return AfterValidator(lambda value: _said(lambda: parse_name(value, what)))


def _said(parse: Any) -> str:
    """Pydantic wants ValueError; ours say the same in our words."""
    try:
        return str(parse())
    except NeonError as error:
        raise ValueError(" ".join(filter(None, [error.message + ".", error.hint]))) from error


def _off(value: object) -> object:
    """YAML reads off as false."""
    return "off" if value is False else value


def _none(value: object) -> object:
    """YAML reads 0 as a number."""
    return "0" if type(value) is int and value == 0 else value


def _history_age(text: str) -> str:
    _said(lambda: parse_age(text))
    return text


def _history_size(text: str) -> str:
    _said(lambda: parse_size(text))
    return text


def _requires(value: str) -> str:
    ours = _version(neon_compose.__version__)
    for clause in value.split(","):
        match = _CLAUSE.fullmatch(clause.strip())
        if match is None:
            raise ValueError(f'{clause.strip()[:60]!a} is not a version range; try ">=0.1"')
        if not _holds(ours, match[1], _version(match[2])):
            raise ValueError(f"this is neon-compose {neon_compose.__version__}, the file asks for {value}")
    return value


def _version(text: str) -> tuple[int, ...]:
    parts = [int(part) for part in text.split(".")[:3]]
    return tuple(parts + [0] * (3 - len(parts)))


def _holds(ours: tuple[int, ...], operator: str, wanted: tuple[int, ...]) -> bool:
    return {
        ">=": ours >= wanted,
        "<=": ours <= wanted,
        "==": ours == wanted,
        ">": ours > wanted,
        "<": ours < wanted,
    }[operator]


def _empty_for_none(value: object) -> object:
    return {} if value is None else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class StorageSpec(_Strict):
    """A storage as the stack file and the controller's document say it should be."""

    type: Annotated[
        StorageType, Field(strict=False, description="native: a Docker volume, or the host folder `path`")
    ] = StorageType.NATIVE
    path: Annotated[str | None, Field(description="host folder; relative to the stack file")] = None
    import_: Annotated[
        str | None,
        Field(
            alias="import",
            description="what fills it on the first `up`: a dump, a data directory, or a server's URL",
        ),
    ] = None
    history: Annotated[
        Annotated[str, BeforeValidator(_none), AfterValidator(_history_age)] | None,
        Field(description="how long ago moments stay open: 12h, 7d (the default), 0 for none"),
    ] = None
    history_size: Annotated[
        Annotated[str, BeforeValidator(_none), AfterValidator(_history_size)] | None,
        Field(description="and how much WAL back: 512MiB, 10GiB (the default), 0 for none"),
    ] = None


class PgSpec(_Strict):
    """A pg as the stack file and the controller's document say it should be."""

    storage_name: Annotated[str, _name("storage"), Field(description="the storage its data is in")]
    branch: Annotated[
        Annotated[str, _name("branch")] | None,
        Field(description="default: main, or the pg's name with `from`"),
    ] = None
    from_: Annotated[
        Annotated[str, AfterValidator(_source)] | None,
        Field(alias="from", description="[STORAGE/]NAME[@MOMENT] that a new branch starts at"),
    ] = None
    port: Annotated[int | None, Field(ge=1024, le=65535, description="default: the next free one")] = None
    durability: Annotated[
        Annotated[Durability | None, Field(strict=False)],
        BeforeValidator(_off),
        Field(description="what a commit waits for; default: quorum, local without safekeepers"),
    ] = None
    settings: Annotated[
        dict[str, Annotated[str, BeforeValidator(_setting)]],
        BeforeValidator(_empty_for_none),
        Field(description="PostgreSQL settings by name"),
    ] = Field(default_factory=dict)
    start: Annotated[bool, Field(description="whether `up` starts it")] = True

    def branch_for(self, pg: str) -> str:
        """The branch a pg named `pg` is bound to: `from` alone makes one named as the pg."""
        return self.branch or (pg if self.from_ else "main")


class _Stack(_Strict):
    """All of a stack file but what is in its storages and pgs."""

    name: Annotated[
        Annotated[str, _name("stack")] | None, Field(description="default: the folder's name")
    ] = None
    requires: Annotated[
        Annotated[str, AfterValidator(_requires)] | None,
        Field(description='versions of neon-compose, ">=0.1"'),
    ] = None
    postgres: Annotated[Literal[17], Field(description="major version")] = 17
    safekeepers: Annotated[
        int,
        Field(ge=0, le=MAX_SAFEKEEPERS, description="how many keep WAL apart from computes; 1, 3 or 5, say"),
    ] = 1
    minio: Annotated[bool, Field(description="run an embedded MinIO")] = True
    host: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$", description="another name the API answers to")
    ] = None
    bind: Annotated[str, AfterValidator(_bind), Field(description="address that ports are published on")] = (
        "127.0.0.1"
    )


class StackFile(_Stack):
    """A whole stack file."""

    storages: Annotated[dict[str, StorageSpec], Field(description="storages by name; default: main")] = Field(
        default_factory=dict
    )
    pgs: Annotated[dict[str, PgSpec], Field(description="pgs by name; default without storages: main")] = (
        Field(default_factory=dict)
    )

    def as_document(self) -> dict[str, Any]:
        """JSON-ready, with the file's own key names; `parse_stack` of it is equal."""
        return self.model_dump(mode="json", by_alias=True)


def read_stack(text: str, *, where: str = FILE_NAME, folder: Path | None = None) -> StackFile:
    """The stack file in `text`; raises `Invalid` (or `Malformed` for broken YAML) with all its problems.

    `where` names the file in the error; relative host paths are resolved against `folder`.
    """
    from neon_compose.model.stackyaml import read_yaml

    return parse_stack(read_yaml(text, where), where=where, folder=folder)


def parse_stack(document: object, *, where: str = FILE_NAME, folder: Path | None = None) -> StackFile:
    """The stack file in `document` (parsed YAML or JSON); raises `Invalid` with all problems at once."""
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise _refusal(where, ["it is not a mapping of keys to values"])
    parts = _with_defaults(document)
    rest = {key: value for key, value in parts.items() if key not in ("storages", "pgs")}
    top, problems = _parse(_Stack, rest, "", also=("storages", "pgs"))
    storages = _parse_all(StorageSpec, parts.get("storages"), "storages", "storage", problems)
    pgs = _parse_all(PgSpec, parts.get("pgs"), "pgs", "pg", problems)
    storages = {name: _with_paths(storage, folder) for name, storage in storages.items()}
    known = parts["storages"] if isinstance(parts.get("storages"), dict) else {}
    safekeepers = top.safekeepers if top is not None else MAX_SAFEKEEPERS
    problems += stackchecks.check_storages(storages) + stackchecks.check_pgs(pgs, known, safekeepers)
    if problems or top is None:
        raise _refusal(where, problems)
    return StackFile.model_construct(**dict(top), storages=storages, pgs=pgs)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a stack file, for editors."""
    schema = StackFile.model_json_schema(by_alias=True)
    for section in ("storages", "pgs"):
        schema["properties"][section]["propertyNames"] = {"pattern": f"^{PATTERN}$"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "neon-compose stack file",
        "description": "What `neon-compose up` makes. Unknown keys are errors.",
    }


def _with_defaults(document: dict[Any, Any]) -> dict[Any, Any]:
    if "storages" in document:
        return document
    pgs = {} if "pgs" in document else {"pgs": {"main": {"storage_name": "main"}}}
    return {**document, "storages": {"main": {}}, **pgs}


def _parse(
    model: type[M], value: object, path: str, also: tuple[str, ...] = ()
) -> tuple[M | None, list[str]]:
    """`value` as a `model`, or None and its problems; `also` are keys known beside the model's own."""
    try:
        return model.model_validate({} if value is None else value), []
    except ValidationError as error:
        known = [field.alias or name for name, field in model.model_fields.items()] + list(also)
        return None, [_problem(dict(one), path, known) for one in error.errors(include_url=False)]


def _parse_all(model: type[M], section: object, path: str, what: str, problems: list[str]) -> dict[str, M]:
    """The entries of a section that are right; what is wrong with the others goes to `problems`."""
    if section is None:
        return {}
    if not isinstance(section, dict):
        problems.append(f"{path}: should be a mapping of names to {what}s")
        return {}
    good = {}
    for name, value in section.items():
        at = f"{path}.{_shown(name)}"
        if not isinstance(name, str):
            problems.append(f"{at}: a {what} name is a text; put it in quotes")
            continue
        try:
            parse_name(name, what)
        except Invalid as error:
            problems.append(f"{at}: {error.message}; {error.detail}")
        entry, found = _parse(model, value, at)
        problems += found
        if entry is not None:
            good[name] = entry
    return good


def _problem(error: dict[str, Any], path: str, known: list[str]) -> str:
    """One of Pydantic's errors in our words, with the path of its key."""
    keys = [_shown(part) for part in error["loc"] if part != "[key]"]
    at = ".".join(filter(None, [path, *keys]))
    match error["type"]:
        case "extra_forbidden":
            word = str(error["loc"][-1])
            if word in _LATER:
                return f"{at}: {_LATER[word]}"
            return f"{at}: unknown key. {did_you_mean(word, known)}"
        case "missing":
            return f"{at}: is missing"
        case "value_error":
            return f"{at}: {error['ctx']['error']}"
        case "model_type" | "dict_type":
            return f"{at or 'it'}: should be a mapping of keys to values"
        case _:
            said = str(error["msg"]).replace("Input should", "should")
            return f"{at}: {said[0].lower()}{said[1:]}"


def _shown(key: object) -> str:
    text = str(key)
    return text if text.isprintable() and len(text) <= 60 else ascii(text[:60])


def _with_paths(storage: StorageSpec, folder: Path | None) -> StorageSpec:
    """`storage` with `path` and `import` absolute; left as they are without a `folder`."""
    if folder is None:
        return storage
    found = {
        key: normpath(folder.absolute() / Path(value).expanduser())
        for key, value in (("path", storage.path), ("import_", storage.import_))
        if value and storage.type is StorageType.NATIVE and not is_server(value)
    }
    return storage.model_copy(update=found)


def _refusal(where: str, problems: list[str]) -> Invalid:
    count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
    return Invalid(
        f"stack file {where!r} has {count}".replace("'", '"'),
        detail="\n".join(problems),
        hint="neon-compose config schema prints the JSON Schema.",
        code="bad_stack_file",
    )
