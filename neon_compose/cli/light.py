"""Keep Pydantic out of calls that don't need it.

Typer 0.29 builds a Pydantic adapter for every parameter of a command, also for those not given; importing
Pydantic for that costs 80 ms of each call. Words, flags and choices need no adapter: they are passed on here
as the adapter would give them, and everything else (numbers, paths, wrong choices) goes Typer's way.

This reaches into a private name of Typer, which pyproject.toml pins; without that name nothing is spared
and nothing breaks. tests/unit/cli/test_imports.py notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from typer import core


@dataclass(frozen=True)
class _Light:
    """A parameter's coercion; `build` is Typer's own way, taken when a value needs it."""

    build: Any
    descriptor: Any

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        annotation = self.descriptor.annotation
        if annotation is str and isinstance(value, str):
            return value
        if annotation == list[str] and isinstance(value, list | tuple):
            return list(value)
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            if isinstance(value, annotation):
                return value
            if value in [choice.value for choice in annotation]:
                return annotation(value)
        return self.build(self.descriptor).coerce(value, param=param, ctx=ctx)


def spare_pydantic() -> None:
    """Take the light way from here on. Twice is as good as once."""
    build = getattr(core, "build_runtime_param", None)
    if build is not None and getattr(build, "func", None) is not _Light:
        from functools import partial

        core.build_runtime_param = partial(_Light, build)  # type: ignore[attr-defined, assignment]
