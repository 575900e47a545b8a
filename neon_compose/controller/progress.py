"""Runs over many things, of which one may fail without stopping the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from neon_compose.controller.execute import silent
from neon_compose.errors import NeonError, as_problem
from neon_compose.wait import monotonic_s
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.ndjson import Step as Event

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run reports to: steps to `emit`, failures to `problems`."""

    emit: Emit = silent
    problems: list[dict[str, Any]] = field(default_factory=list)

    def attempt(self, name: str, work: Callable[[], object]) -> bool:
        """Do `work`; its failure becomes a problem that starts with `name`. Whether it succeeded."""
        try:
            self.emit_around(name, work)
        except NeonError as error:
            self.failed(name, error)
            self.emit(Event(name=name, state="done", note=f"failed: {error.message}"))
            return False
        return True

    def emit_around(self, name: str, work: Callable[[], T]) -> T:
        """Do `work` as a step, for what it gives; its failure is raised."""
        self.emit(Event(name=name, state="start"))
        began_s = monotonic_s()
        made = work()
        self.emit(Event(name=name, state="done", ms=round((monotonic_s() - began_s) * 1000, 1)))
        return made

    def failed(self, name: str, error: NeonError) -> None:
        log.warning("%s: %s (%s)", name, error.message, error.detail)
        self.problems.append(as_problem(error) | {"title": f"{name}: {error.message}"})

    @property
    def titles(self) -> list[str]:
        return [str(problem["title"]) for problem in self.problems]
