"""Safekeepers as the controller sees them: whoever runs in a `FakeEngine` answers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from uuid import UUID

from neon_compose.engine import labels as label
from neon_compose.engine.runtime import ContainerState
from neon_compose.errors import NeonError, Unavailable
from neon_compose.model.states import Component
from neon_compose.wire.safekeeper import BranchStatus, SafekeeperStatus
from tests.fakes import FakeEngine


@dataclass
class SeenSafekeepers:
    """`make(address)` gives the safekeeper that runs there in `engine`. `branches` are what each has, by its
    number; `silent` ones answer nobody."""

    engine: FakeEngine
    branches: dict[int, list[BranchStatus]] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    deleted: list[tuple[int, UUID]] = field(default_factory=list)

    def make(self, address: str) -> SeenSafekeeper:
        return SeenSafekeeper(self, address)


class SeenSafekeeper:
    """The part of `SafekeeperClient` that the controller uses."""

    def __init__(self, all_: SeenSafekeepers, address: str) -> None:
        self._all, self._address = all_, address

    @property
    def _number(self) -> int:
        box = self._all.engine.server_at(Component.SAFEKEEPER, self._address)
        number = int(box.spec.labels[label.SAFEKEEPER]) if box is not None else 0
        if box is None or box.state is not ContainerState.RUNNING or number in self._all.silent:
            raise Unavailable(f"the safekeeper at {self._address} does not answer", code="safekeeper_down")
        return number

    def healthy(self) -> bool:
        with contextlib.suppress(NeonError):
            return bool(self._number)
        return False

    def delete(self, branch: UUID) -> None:
        number = self._number
        with self._all.engine.faults.around(f"forget {branch}"):
            self._all.deleted.append((number, branch))
            mine = self._all.branches.get(number, [])
            self._all.branches[number] = [one for one in mine if one.branch_id != str(branch)]

    def status(self) -> SafekeeperStatus:
        number = self._number
        branches = self._all.branches.get(number, [])
        return SafekeeperStatus(identity=f"{number:032x}", branches=branches, free_bytes=1 << 30)
