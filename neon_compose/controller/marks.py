"""Protecting branches and having them expire: what is asked of a pageserver, and what that refuses here.

Both are in the branch's manifest only. A mark that goes with making a branch is set right after that: a
controller that dies in between leaves a branch that doesn't expire, and a repeat of the request sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from neon_compose.controller import steps as do
from neon_compose.controller.site import Site
from neon_compose.controller.sources import MAIN
from neon_compose.controller.steps import Plan
from neon_compose.errors import Conflict, Invalid
from neon_compose.model.moments import Time
from neon_compose.model.protection import protected
from neon_compose.model.ttl import expiry
from neon_compose.wire.pageserver import Branch, Mark
from neon_compose.wire.rest import BranchAction, BranchVerb


@dataclass(frozen=True)
class MarkBranch(do.Step):
    """For `--dry-run`; `make` does it. `expires` as in `MarkRequest`."""

    action = "mark"
    storage: str
    branch: str
    mark: Mark
    expires: datetime | None = None
    accept_loss: bool = False

    @property
    def target(self) -> str:
        return f"branch {self.storage}/{self.branch}"


def of_action(storage: str, branch: str, action: BranchAction, now: datetime) -> MarkBranch:
    """Raises `Invalid` code "bad_ttl" or "bad_action", `Conflict` code "main_branch"."""
    mark = Mark(action.action)
    name = action.keep or action.as_
    if action.to is not None or name is not None or (action.ttl and mark is not Mark.EXPIRE):
        raise Invalid(
            f"{mark} takes no " + ("moment" if action.to else "name" if name else "time"),
            hint="Leave it out.",
            code="bad_action",
        )
    if mark is Mark.EXPIRE:
        return expiring(storage, branch, action.ttl, now) or _mark(storage, branch, mark, None)
    return replace(_mark(storage, branch, mark, None), accept_loss=action.accept_loss)


def refuse_loss(action: BranchAction) -> None:
    """For all other actions."""
    if action.accept_loss and action.action is not BranchVerb.RECOVER:
        raise Invalid(f"{action.action} loses nothing", hint='Leave "accept_loss" out.', code="bad_action")


def expiring(storage: str, branch: str, ttl: str | None, now: datetime) -> MarkBranch | None:
    """What has it expire `ttl` from `now`; None without one. Raises as `of_action`."""
    if ttl is None:
        return None
    at = expiry(ttl, now)
    if branch == MAIN:
        raise Conflict('branch "main" can\'t expire', hint="Make a branch of it.", code="main_branch")
    return _mark(storage, branch, Mark.EXPIRE, at)


def _mark(storage: str, branch: str, mark: Mark, at: datetime | None) -> MarkBranch:
    until = Time(at.replace(microsecond=0)) if at is not None else "never"
    why = f"expires: {until}" if mark is Mark.EXPIRE else f"{mark} it"
    return MarkBranch(storage, branch, mark, at, why=why)


def plan(mark: MarkBranch | None) -> Plan:
    return Plan((mark,) if mark else ())


def make(site: Site, mark: MarkBranch | None) -> None:
    """Under a lock on the branch, so that it isn't deleted or restored meanwhile."""
    if mark is not None:
        server = site.pageserver(site.snapshot(), mark.storage)
        server.mark_branch(mark.branch, mark.mark, mark.expires, accept_loss=mark.accept_loss)


def refuse_protected(steps: Plan, branches: Mapping[str, Branch]) -> None:
    """Raise `Conflict` code "branch_protected" if a protected one would be dropped: before anything goes. The
    pageserver has the last word."""
    for step in steps.flat():
        if isinstance(step, do.DropBranch) and (found := branches.get(step.branch)) and found.protected:
            raise protected(step.branch)
