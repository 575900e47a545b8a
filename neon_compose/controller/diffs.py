"""What differs between two moments of a storage: which two are meant. Finding out is the pageserver's."""

from __future__ import annotations

from contextlib import closing

from neon_compose.controller import branches
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.controller.snapshots import is_there
from neon_compose.controller.sources import resolve
from neon_compose.errors import Invalid, NotFound, Unavailable
from neon_compose.model.moments import Settled, parse_moment, settled
from neon_compose.model.names import Name
from neon_compose.model.source import Source
from neon_compose.wait import now
from neon_compose.wire.diff import Diff, DiffSide
from neon_compose.wire.ndjson import Emit, Result
from neon_compose.wire.rest import BranchAction, BranchVerb


def of_branch(site: Site, storage: str, name: str, action: BranchAction, emit: Emit) -> Diff:
    """Of the branch, `at` a moment or at its end, and of another source."""
    moment, after = read(action)
    before = Source(Name(storage), Name(name), moment)
    snap = _look(site)
    branches.start_of(snap, storage, name, None, branches.known(site, snap, storage, None))
    return _diff(site, snap, storage, _side(before), _resolved(site, snap, storage, after), emit)


def read(action: BranchAction) -> tuple[Settled | None, Source]:
    """At which moment, and with what, a branch is to be compared. Raises `Invalid`."""
    if action.to is not None or action.keep is not None or action.ttl is not None:
        raise Invalid("a diff takes none of to, keep and ttl", hint="Leave them out.", code="bad_action")
    if action.with_ is None:
        raise Invalid(
            "with what to compare is missing",
            hint='Say it as "with", for example "shop@5m".',
            code="no_source",
        )
    moment = settled(parse_moment(action.at), now()) if action.at is not None else None
    return moment, branches.settled_source(action.with_)


def of_snapshot(site: Site, storage: str, name: str, with_: str, emit: Emit) -> Diff:
    """Of the snapshot, and of another one of its storage; if there is none of that name, of a source."""
    after = branches.settled_source(with_)
    snap = _look(site)
    server = site.pageserver(snap, storage)
    if not is_there(server, name):
        raise NotFound(
            f'snapshot "{storage}/{name}" does not exist',
            hint="neon-compose snapshot list shows all there are. Branches are compared by branch diff.",
            code="no_snapshot",
        )
    other = _snapshot(server, storage, after) or _resolved(site, snap, storage, after)
    return _diff(site, snap, storage, DiffSide(moment=name), other, emit)


def refuse_words_of_diff(action: BranchAction) -> None:
    """For all other actions."""
    if action.action is not BranchVerb.DIFF and (action.with_ is not None or action.at is not None):
        raise Invalid(
            f"{action.action} compares nothing", hint='Leave "with" and "at" out.', code="bad_action"
        )


def _look(site: Site) -> Snapshot:
    site.refuse_while_stopping()
    return site.snapshot()


def _snapshot(server: Pageserver, storage: str, source: Source) -> DiffSide | None:
    """What the source means if it is a snapshot's name."""
    if source.moment is None and source.storage in (None, storage) and is_there(server, source.name):
        return DiffSide(moment=source.name)
    return None


def _resolved(site: Site, snap: Snapshot, storage: str, source: Source) -> DiffSide:
    """A bare name is a pg, a storage, or a branch of this storage."""
    if source.storage is not None and source.storage != storage:
        snap.storage(source.storage)
        raise _elsewhere(source, source.storage, storage)
    origin = resolve(source, snap.desired, branches.known(site, snap, storage, None))
    assert origin.storage is not None
    if origin.storage != storage:
        raise _elsewhere(source, origin.storage, storage)
    return _side(origin)


def _side(source: Source) -> DiffSide:
    return DiffSide(branch=source.name, moment=str(source.moment) if source.moment is not None else None)


def _elsewhere(source: Source, found: str, storage: str) -> Invalid:
    return Invalid(
        f'source "{source}" is in storage "{found}", not in "{storage}"',
        detail="Only what is in the same storage has pages that can be compared.",
        hint="To compare schemas only, use pg_dump --schema-only on a pg of each, and diff.",
        code="other_storage",
    )


def _diff(site: Site, snap: Snapshot, storage: str, before: DiffSide, after: DiffSide, emit: Emit) -> Diff:
    def work() -> Diff:
        with closing(site.pageserver(snap, storage).diff(before, after)) as events:
            for event in events:
                if isinstance(event, Result):
                    return Diff.model_validate(event.result)
                emit(event)
        raise Unavailable("the diff ended before its result", code="cut_off")

    # Each has steps of its own to tell, so that none joins another; the storage stays meanwhile.
    return site.locks.run(
        f"diff {storage} {id(emit)}", work, alone=frozenset(), shared=frozenset({f"storage/{storage}"})
    )
