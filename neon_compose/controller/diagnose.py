"""What is wrong with the stack, as far as its documents, its containers and its storages tell.

`examine` is pure and looks at one moment; the words for what it finds are in `model.troubles`. What a
request works on right now is left out: it is neither well nor ill yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from neon_compose.controller import keeping, specs
from neon_compose.controller.desired import PgDoc, StorageDoc
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.engine.runtime import EVERYTHING, Container, ContainerState, Kind
from neon_compose.errors import Corrupt, NeonError
from neon_compose.model.states import Component, Wanted
from neon_compose.model.troubles import OF_CODES, Trouble, words_of
from neon_compose.wait import now
from neon_compose.wire.pageserver import ComputeStatus, StorageStatus
from neon_compose.wire.rest import FindingOut, FindingsOut
from neon_compose.wire.safekeeper import SafekeeperStatus

log = logging.getLogger(__name__)

CLOCK_GRAIN = timedelta(seconds=60)

Answers = Mapping[str, tuple[StorageStatus, list[ComputeStatus]]]


@dataclass(frozen=True)
class Sight:
    """What is looked at. `damaged` storages could not be read; `foreign` are names of all containers that
    are not the stack's own; `busy` what requests work on ("pg/main")."""

    snap: Snapshot
    answers: Answers
    safekeepers: Mapping[int, SafekeeperStatus] = field(default_factory=dict)  # those that answer
    damaged: Mapping[str, Corrupt] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()


Found = tuple[Trouble, str, str]  # what, of whom, and in words how it was seen


def findings(site: Site) -> FindingsOut:
    """Everything, with its words; the pageservers are asked beside each other."""
    snap = site.snapshot(EVERYTHING)
    servers = site.answering(snap)
    asked = zip(servers, site.workers.map(_answer, servers.values()), strict=True)
    told_by = dict(asked)
    answers = {storage: answer for storage, answer in told_by.items() if isinstance(answer, tuple)}
    damaged = {storage: error for storage, error in told_by.items() if isinstance(error, Corrupt)}
    everywhere = site.engine.observe(None, (Kind.CONTAINER,)).containers
    foreign = frozenset(one.name for one in everywhere if one.stack != site.stack)
    names = [*(f"pg/{name}" for name in snap.desired.pgs), *(f"storage/{n}" for n in snap.desired.storages)]
    busy = frozenset(name for name in names if site.locks.work_on(name))
    at = now()
    sight = Sight(snap, answers, keeping.statuses(site, snap), damaged, foreign, busy)
    found = [*examine(sight, at), *_of_overdue(site.overdue), *_of_bring_up(site.failures)]
    told: dict[tuple[Trouble, str], FindingOut] = {}
    for kind, name, how in found:  # what was seen just now says more than what the bring-up said of it
        words = words_of(kind, site.stack, name)
        told.setdefault(
            (kind, name),
            FindingOut(
                kind=kind, name=name, found=how, means=words.means, hint=words.hint, wrong=words.wrong
            ),
        )
    return FindingsOut(now=at, findings=list(told.values()))


def _answer(pageserver: Pageserver) -> tuple[StorageStatus, list[ComputeStatus]] | NeonError:
    try:
        return pageserver.status(), pageserver.computes()
    except NeonError as error:
        log.warning("a pageserver says nothing: %s", error.message)
        return error


def examine(sight: Sight, at: datetime) -> Iterator[Found]:
    """Containers first, then safekeepers, and storages and pgs by name."""
    snap = sight.snap
    for one in sorted(snap.world.containers, key=lambda one: one.name):
        if one.component is not None:
            yield from _of_container(snap, one, at)
    for number in snap.safekeepers:
        yield from _of_safekeeper(sight, number)
    for name, storage in sorted(snap.desired.storages.items()):
        if f"storage/{name}" not in sight.busy:
            yield from _of_storage(sight, storage)
    computes = {one.pg: one for _, found in sight.answers.values() for one in found}
    for name, pg in sorted(snap.desired.pgs.items()):
        if f"pg/{name}" not in sight.busy:
            yield from _of_pg(sight, pg, computes.get(name))


def _of_container(snap: Snapshot, one: Container, at: datetime) -> Iterator[Found]:
    if one.state is ContainerState.PAUSED:
        yield Trouble.CONTAINER_PAUSED, one.name, "it is paused"
    image_of = {Component.POD: "base"}.get(one.component or Component.POD, str(one.component))
    wanted = snap.images.get(image_of, one.image)
    if one.image != wanted and one.component is not Component.CONTROLLER:
        yield Trouble.IMAGE_OLD, one.name, f"it was made from {one.image}, the stack has {wanted}"
    if one.created_at is not None and one.created_at > at + CLOCK_GRAIN:
        yield (
            Trouble.CLOCK_OFF,
            one.name,
            f"it was made at {one.created_at:%Y-%m-%d %H:%M:%SZ}, in the future",
        )
    if one.component is Component.POD and one.running:
        for pod in snap.pods():
            if pod.name == one.name and pod.lost:
                yield Trouble.CUT_OFF, one.name, "it is in no network"


def _of_safekeeper(sight: Sight, number: int) -> Iterator[Found]:
    snap, name = sight.snap, specs.safekeeper_name(sight.snap.stack, number)
    volume, seen = specs.safekeeper_volume(snap.stack, number).name, snap.safekeeper(number)
    if snap.phase is None:
        if snap.world.volume(volume) is None:
            yield Trouble.WAL_LOST, name, f'volume "{volume}" is gone'
        yield from _of_wanted(sight, name, seen)
    if seen is not None and seen.running and number not in sight.safekeepers:
        yield Trouble.SAFEKEEPER_SILENT, name, f"safekeeper {number} does not answer"
    branches = sight.safekeepers[number].branches if number in sight.safekeepers else []
    pgs = {one.branch_id: one.pg for _, found in sight.answers.values() for one in found}
    for one in branches:
        pg = pgs.get(one.branch_id)
        if one.trouble is not None and pg is not None and f"pg/{pg}" not in sight.busy:
            said = one.trouble.get("title") or one.receiver
            yield Trouble.WAL_NOT_RECEIVED, pg, f'safekeeper {number} does not get WAL of pg "{pg}": {said}'


def _of_storage(sight: Sight, doc: StorageDoc) -> Iterator[Found]:
    snap, name = sight.snap, specs.pageserver_name(sight.snap.stack, doc.name)
    if doc.attaching:
        yield Trouble.HALF_ATTACHED, doc.name, f'storage "{doc.name}" is attached by half'
        return
    volume = specs.storage_volume(snap.stack, doc.name).name
    if doc.host_path is None and snap.world.volume(volume) is None:
        yield Trouble.VOLUME_LOST, doc.name, f'volume "{volume}" of storage "{doc.name}" is gone'
    seen = snap.pageserver(doc.name)
    if snap.phase is None:
        yield from _of_wanted(sight, name, seen)
    if (error := sight.damaged.get(doc.name)) is not None:
        yield Trouble.STORAGE_DAMAGED, doc.name, f"{error.message}. {error.detail}".rstrip()
    elif seen is not None and seen.running and doc.name not in sight.answers:
        yield Trouble.STORAGE_SILENT, name, f'the pageserver of storage "{doc.name}" does not answer'
    if doc.name in sight.answers:
        status, _ = sight.answers[doc.name]
        if status.empty and status.busy is None:
            yield Trouble.STORAGE_EMPTY, name, f'storage "{doc.name}" is empty'


def _of_pg(sight: Sight, doc: PgDoc, status: ComputeStatus | None) -> Iterator[Found]:
    snap = sight.snap
    seen = snap.compute(doc.name)
    if doc.wanted is Wanted.RUNNING and snap.phase is None:
        yield from _of_wanted(sight, specs.compute_name(snap.stack, doc.name), seen)
    if seen is not None and seen.running and snap.cut_off(seen):
        yield Trouble.CUT_OFF, seen.name, f'pg "{doc.name}" has no network'
    if status is not None and status.doubtful:
        yield Trouble.DATA_DOUBTFUL, doc.name, f'the data of pg "{doc.name}" is doubtful'
    if status is not None and status.settling and not status.doubtful:
        yield Trouble.SETTLING, doc.name, f'pg "{doc.name}" is settling'
    if (news := snap.restart_for(doc)) is not None and news != "a newer image":
        yield Trouble.RESTART_NEEDED, doc.name, f'a restart brings pg "{doc.name}" {news}'


def _of_wanted(sight: Sight, name: str, seen: Container | None) -> Iterator[Found]:
    """Of a container that should run."""
    if seen is None:
        if name in sight.foreign:
            yield Trouble.NAME_TAKEN, name, f'container "{name}" is not of stack "{sight.snap.stack}"'
        else:
            yield Trouble.CONTAINER_GONE, name, f'container "{name}" is gone'
    elif not seen.running and seen.state is not ContainerState.PAUSED:
        yield Trouble.CONTAINER_ENDED, name, f'container "{name}" is {seen.state}'


def _of_overdue(overdue: Mapping[str, str]) -> Iterator[Found]:
    for name, why in sorted(overdue.items()):
        yield Trouble.BRANCH_OVERDUE, name, f'the time of branch "{name}" is over: {why}'.rstrip(".")


def _of_bring_up(failures: list[dict[str, object]]) -> Iterator[Found]:
    """What the last bring-up could not do; its title begins with what it was about."""
    for one in failures:
        title, detail = str(one["title"]), str(one.get("detail") or "")
        kind = OF_CODES.get(str(one.get("code")), Trouble.NOT_BROUGHT_UP)
        yield kind, title.partition(":")[0], f"{title}. {detail}".rstrip(" .") if detail else title
