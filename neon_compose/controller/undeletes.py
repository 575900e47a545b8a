"""Deleted branches: which there are, taking one back, and having all of a name go for good.

Each is one call of a pageserver, which counts their time (pageserver.deleting) and has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass

from neon_compose.controller import render
from neon_compose.controller import steps as do
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import Invalid
from neon_compose.model.names import parse_name
from neon_compose.wire.events import EventKind
from neon_compose.wire.rest import BranchAction, BranchOut, DeletedBranchOut


@dataclass(frozen=True)
class UndeleteBranch(do.Step):
    """For `--dry-run`; `act` does it."""

    action = "take back"
    storage: str
    branch: str
    new_name: str

    @property
    def target(self) -> str:
        return f"branch {self.storage}/{self.new_name}"


@dataclass(frozen=True)
class EndDeleted(do.Step):
    """For `--dry-run`; `end` does it."""

    action = "remove for good"
    storage: str
    branch: str

    @property
    def target(self) -> str:
        return f"deleted branch {self.storage}/{self.branch}"


def list_of(site: Site, storage: str) -> list[DeletedBranchOut]:
    found = site.pageserver(site.snapshot(), storage).deleted_branches()
    return [DeletedBranchOut(storage_name=storage, **one.model_dump()) for one in found]


def act(site: Site, storage: str, name: str, action: BranchAction, *, dry_run: bool) -> BranchOut | Plan:
    """Take back the last deleted branch of the name. Repeat is success; raises as the pageserver does."""
    if action.to is not None or action.keep is not None or action.ttl is not None:
        raise Invalid("undelete takes a name, and nothing else", hint='Say it as "as".', code="bad_action")
    wanted = parse_name(action.as_, "branch") if action.as_ is not None else name
    step = UndeleteBranch(storage, name, wanted, why=f"it is the last deleted {name}")

    def work() -> BranchOut | Plan:
        site.refuse_while_stopping()
        server = site.pageserver(site.snapshot(), storage)
        if dry_run:
            return Plan((step,))
        back = server.undelete_branch(name, wanted)
        site.events.tell(EventKind.BRANCH_UNDELETED, f"{storage}/{wanted}")
        return render.branch_out(storage, back, None)

    return site.locks.run(
        f"undelete branch {storage}/{name} {wanted} {dry_run}",
        work,
        alone=frozenset({f"branch/{storage}/{wanted}"}),
        shared=frozenset({f"storage/{storage}"}),
    )


def plan_end(site: Site, snap: Snapshot, storage: str, name: str) -> Plan:
    """Nothing if no deleted branch of the name can be taken back."""
    found = site.pageserver(snap, storage).deleted_branches()
    return Plan((EndDeleted(storage, name),) if any(one.name == name for one in found) else ())


def end(site: Site, snap: Snapshot, storage: str, name: str) -> None:
    site.pageserver(snap, storage).end_deleted(name)
