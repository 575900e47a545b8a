"""Computes of the storage: prepare, layout, open, status, delete.

Owns the order between manifest, folder and record (crash arguments in generations.py and compute/), and
the locks: one per pg, never held while waiting for a server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import UUID

from neon_compose import wait
from neon_compose.compute import command, gate, layout, marker
from neon_compose.compute import record as records
from neon_compose.compute.layout import Tips
from neon_compose.compute.marker import Settler, Trust
from neon_compose.compute.paths import ComputePaths
from neon_compose.compute.record import Record, Stage
from neon_compose.compute.usage import OwnBytes
from neon_compose.compute.writes import WriteScan
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.lsn import Lsn
from neon_compose.model.moments import Settled
from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import StorageDoc, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.claims import Claims
from neon_compose.pageserver.generations import (
    Generation,
    Generations,
    doubtful,
    has_writes,
    lost,
    may_have_writes,
    only_copy,
)
from neon_compose.pageserver.locks import NamedLocks
from neon_compose.pageserver.primaries import Primaries
from neon_compose.postgres.control import DbState
from neon_compose.postgres.versions import Version
from neon_compose.wire import pageserver as wire


@dataclass(frozen=True)
class Surroundings:
    """What computes are made of and with; put together in __main__."""

    store: ObjectStore
    generations: Generations
    tips: Tips
    settler: Settler
    scan: WriteScan
    version: Version
    boot: str
    primaries: Primaries
    session: Callable[[ComputePaths, int, str], gate.Session] = gate.SocketSession
    own_bytes: OwnBytes = field(default_factory=OwnBytes)


class Computes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._locks = NamedLocks()
        self._starts: defaultdict[str, int] = defaultdict(int)  # a new layout ends an older wait in `open`
        self._starting: set[str] = set()  # prepared, and not open yet

    def prepare(
        self,
        claims: Claims,
        pg: str,
        branch: str,
        from_branch: str | None,
        moment: Settled | None,
        durability: Durability = Durability.LOCAL,
    ) -> wire.Prepared:
        """See `Claims.claim` and `Primaries.prepare`; the answer has all a container needs."""
        primaries = self._around.primaries
        with self._locks.hold(pg):
            self._starting.add(pg)
            claimed = claims.claim(pg, branch, from_branch, moment)
            record = primaries.prepare(claimed.generation, claimed.record, durability)
            own = primaries.settings(record, durability)
        laid_out = record.stage >= Stage.LAID_OUT
        return wire.Prepared(
            generation=claimed.generation.id,
            branch_id=record.branch_id,
            tip=record.tip,  # the branch may have a newer one by now
            created_branch=claimed.created_branch,
            laid_out=laid_out,
            needs_layout=not laid_out,
            command=command.container_command(self._around.version, UUID(record.tip), own),
        )

    # ---- layout

    def layout(self, pg: str, generation_id: str, port: int, settings: Mapping[str, str]) -> wire.LaidOut:
        """Everything a start needs, for checked `settings`; returns before it is on disk."""
        began_s = wait.monotonic_s()
        primaries = self._around.primaries
        with self._locks.hold(pg):
            generation = self._get(pg, generation_id)
            record = _recorded(generation)
            with layout.nobody_else(generation.paths, pg):
                self._starts[pg] += 1
                files, record = self._laid_out(generation, record)
                command.write_settings(generation.paths, pg, port, settings)
                command.write_hba(
                    generation.paths, command.gate_hba(primaries.quorum.addresses() if record.term else ())
                )
                self._write_record(generation, replace(record, port=port))
            if not generation.paths.marker.exists():
                self._around.settler.settle(generation.paths.marker)
        return wire.LaidOut(files=files, ms=_ms_since(began_s))

    def _laid_out(self, generation: Generation, record: Record) -> tuple[int, Record]:
        if record.stage >= Stage.LAID_OUT:
            control = layout.ready_again(generation.paths)
            crashed = control.state is not DbState.SHUT_DOWN
            return 0, replace(record, expected_checkpoint=str(control.checkpoint), crashed=crashed)
        with self._around.primaries.opening(record) as opening:
            self._around.settler.laying_out(generation.paths.marker)
            layout.lay_out(generation.paths, opening.tip, UUID(record.branch_id), opening.cut)
        replayed = opening.moment
        done = replace(
            record,
            stage=Stage.LAID_OUT,
            layers=tuple(map(str, opening.tip.layers)),
            boot_id=self._around.boot,
            start_lsn=str(replayed or opening.tip.control.redo),
            expected_checkpoint=str(replayed or opening.tip.control.checkpoint),
            opens_at=str(replayed or ""),
            crashed=False,
        )
        return opening.tip.relation_files, done

    # ---- open

    def open(
        self, pg: str, generation_id: str, host: str, port: int, wait_s: float, storage: StorageDoc
    ) -> wire.Opened:
        """Wait for the server, check it, let clients in. Raises `TimedOut`, `Corrupt`, or `Conflict` code
        "superseded" when another layout of this pg came meanwhile."""
        began_s = wait.monotonic_s()
        generation = self._get(pg, generation_id)
        start = self._starts[pg]

        def still_wanted() -> None:
            if self._starts[pg] != start or not generation.paths.root.exists():
                raise Conflict(f'pg "{pg}" was started again or destroyed meanwhile', code="superseded")

        expected = False

        def connect() -> gate.Session:
            nonlocal expected
            if not expected and gate.is_ready(generation.paths):
                expected, record = True, replace(_recorded(generation), host=host, port=port)
                self._around.primaries.expect(record, storage.admin_password)
            return self._around.session(generation.paths, port, storage.admin_password)

        session = gate.wait_until_up(connect, wait.Deadline.after(wait_s), still_wanted)
        try:
            with self._locks.hold(pg):
                still_wanted()
                found, record = self._let_in(session, self._get(pg, generation_id), storage, host, port)
        finally:
            session.close()
        return wire.Opened(lsn=str(found.lsn), ms=_ms_since(began_s), recovered=record.crashed)

    def _let_in(
        self, session: gate.Session, generation: Generation, storage: StorageDoc, host: str, port: int
    ) -> tuple[gate.Standing, Record]:
        record = replace(_recorded(generation), host=host, port=port)
        found = gate.standing(session)
        gate.check(found, self._expected(generation, record, storage))
        self._around.primaries.received(session, record, storage.admin_password)
        self._write_record(generation, record.at(Stage.OPENED))
        gate.let_clients_in(session, generation.paths, found)
        self._starting.discard(generation.pg)
        return found, record

    def _expected(self, generation: Generation, record: Record, storage: StorageDoc) -> gate.Expected:
        manifest = manifests.read_manifest(self._around.store, UUID(record.branch_id))
        cluster = manifest.cluster or storage.cluster
        moment = None
        if record.unproven:
            tip = self._around.tips.get(manifest.layers)
            moment = tip.moment(generation.paths, Lsn.parse(record.opens_at))
        return gate.Expected(cluster.system_identifier, Lsn.parse(record.expected_checkpoint), moment)

    def _write_record(self, generation: Generation, record: Record) -> None:
        paths = generation.paths
        with self._around.settler.holding(paths.marker):
            records.write(paths.record, record, durable=paths.marker.exists())

    # ---- status

    def status(self, pg: str) -> wire.ComputeStatus:
        """How a pg's data stands. Raises `NotFound` code "no_compute"."""
        ids = self._around.generations.ids(pg)
        if not ids:
            raise _no_compute(pg)
        try:
            found = self._status(self._around.generations.read(pg, ids[-1]))
        except Conflict:  # doubtful: its record can't be read
            found = self._unreadable(pg, ids[-1])
        if not self._around.generations.has(pg, ids[-1]):  # it was looked at while it was removed
            raise _no_compute(pg)
        return found

    def statuses(self) -> list[wire.ComputeStatus]:
        """Of all pgs that have data here."""
        found = []
        for pg in self._around.generations.pgs():
            with suppress(NotFound):
                found.append(self.status(pg))
        return found

    def writer_has_writes(self, writer: Writer) -> bool:
        """Whether the compute a manifest names has writes; one that is lost or can't be read counts as
        having some."""
        if not self._around.generations.has(writer.pg, writer.generation):
            return True
        try:
            generation = self._around.generations.read(writer.pg, writer.generation)
        except Conflict:
            return True
        return self._has_writes(generation)

    def writer_own_bytes(self, writer: Writer) -> int:
        """Allocated bytes of the compute a manifest names; 0 if it is lost."""
        return self._around.own_bytes.of(self._around.generations.paths(writer.pg, writer.generation))

    def _status(self, generation: Generation) -> wire.ComputeStatus:
        record = generation.record or Record(generation.pg, generation.id, "", "")
        trust = self._trust(record, generation) if record.stage >= Stage.LAID_OUT else None
        return wire.ComputeStatus(
            pg=generation.pg,
            generation=generation.id,
            branch=self._branch_name(record.branch_id),
            branch_id=record.branch_id,
            laid_out=record.stage >= Stage.LAID_OUT,
            settling=trust is Trust.SETTLING,
            doubtful=trust is Trust.DOUBTFUL,
            opened=record.stage >= Stage.OPENED,
            has_writes=self._has_writes(generation),
            own_bytes=self._around.own_bytes.of(generation.paths),
            port=record.port,
        )

    def _unreadable(self, pg: str, generation: str) -> wire.ComputeStatus:
        return wire.ComputeStatus(
            pg=pg,
            generation=generation,
            branch=None,
            branch_id="",
            laid_out=True,
            settling=False,
            doubtful=True,
            has_writes=True,
            own_bytes=self._around.own_bytes.of(self._around.generations.paths(pg, generation)),
        )

    def _branch_name(self, branch_id: str) -> str | None:
        try:
            manifest = manifests.read_manifest(self._around.store, UUID(branch_id))
        except (NotFound, ValueError):
            return None
        return None if manifest.deleted else manifest.name

    def _has_writes(self, generation: Generation) -> bool:
        return has_writes(self._around.scan, generation)

    def _trust(self, record: Record, generation: Generation) -> Trust:
        return marker.trust(generation.paths.marker, record.boot_id, self._around.boot)

    # ---- delete

    def delete(self, claims: Claims, pg: str, *, discard_writes: bool) -> None:
        """Remove the pg's data and free its branch; that there is none is success.

        Raises `Conflict` code "running", or unless told to discard "has_writes" (also "doubtful" and
        "data_lost": what can't be read may have had some).
        """
        with self._locks.hold(pg), self._nobody_else(pg):
            if not discard_writes:  # looked at after its last server ended, so that no commit comes after
                self._refuse_loss(claims, pg)
            self._starts[pg] += 1
            claims.release(pg)
            self._around.generations.discard_all(pg)
            self._starting.discard(pg)

    def discard_cache(self, claims: Claims, pg: str) -> None:
        """Remove the pg's data; it keeps its branch, and its next start lays it out anew. Repeat is success.

        Raises `Conflict` code "running", or "only_copy" if no safekeeper has what it acknowledged.
        """
        with self._locks.hold(pg), self._nobody_else(pg):
            held = claims.held_by(pg)
            if not held or not all(manifest.durable for manifest in held):
                raise only_copy(pg)
            self._starts[pg] += 1
            self._around.generations.discard_all(pg)

    def _refuse_loss(self, claims: Claims, pg: str) -> None:
        held = claims.held_by(pg)
        if held and all(manifest.durable for manifest in held):
            return  # safekeepers have what it acknowledged
        there = self._around.generations.of(pg)
        for manifest in held:
            if manifest.writer and manifest.writer.generation not in [one.id for one in there]:
                raise lost(pg)
        for one in there:
            if (
                one.record
                and may_have_writes(self._around.scan, one)
                and self._trust(one.record, one) is Trust.DOUBTFUL
            ):
                raise doubtful(pg)
            if self._has_writes(one):
                raise Conflict(
                    f'pg "{pg}" has writes',
                    detail="Its data directory may be their only copy: it ran under durability local.",
                    hint=f"Give them up: neon-compose pg destroy {pg} --discard-writes",
                    code="has_writes",
                )

    @contextmanager
    def stopped(self, pg: str) -> Iterator[None]:
        """No server runs on the pg's data, or is prepared, meanwhile. Raises `Conflict` code "running"."""
        with self._locks.hold(pg), self._nobody_else(pg):
            self._starts[pg] += 1
            yield

    @contextmanager
    def resting(self, writer: Writer | None) -> Iterator[bool]:
        """Whether no server runs on the data of `writer`'s pg, nor is about to; none is made ready then."""
        if writer is None:
            yield True
            return
        with self._locks.hold(writer.pg), ExitStack() as held:
            try:
                held.enter_context(self._nobody_else(writer.pg))
            except Conflict:
                yield False
                return
            yield writer.pg not in self._starting

    @contextmanager
    def _nobody_else(self, pg: str) -> Iterator[None]:
        """No server runs on any data of the pg meanwhile. Raises `Conflict` code "running"."""
        around = self._around
        with ExitStack() as held:
            for generation in around.generations.ids(pg):
                paths = around.generations.paths(pg, generation)
                held.enter_context(layout.nobody_else(paths, pg))
                held.callback(around.own_bytes.forget, paths)
                held.callback(around.scan.forget, paths.wal)
            yield

    # ---- at the start of the pageserver

    def resume(self) -> None:
        """Have everything that is laid out and not marked synced and marked, if it is of this boot; remove
        files that a dead pageserver was writing."""
        unmarked = []
        for pg in self._around.generations.pgs():
            self._around.generations.sweep(pg)
            try:
                found = self._around.generations.of(pg)
            except Conflict:  # doubtful; whoever uses it is told
                continue
            for one in found:
                laid_out = one.record is not None and one.record.stage >= Stage.LAID_OUT
                if laid_out and self._trust(_recorded(one), one) is Trust.SETTLING:
                    unmarked.append(one.paths.marker)
        self._around.settler.settle(*unmarked)  # also if there are none: see there

    def _get(self, pg: str, generation_id: str) -> Generation:
        if not self._around.generations.paths(pg, generation_id).root.is_dir():
            raise NotFound(f'pg "{pg}" has no generation "{generation_id}"', code="no_generation")
        return self._around.generations.read(pg, generation_id)


def _recorded(generation: Generation) -> Record:
    if generation.record is None:
        raise NotFound(f'pg "{generation.pg}" is not prepared', code="not_prepared")
    return generation.record


def _no_compute(pg: str) -> NotFound:
    return NotFound(f'pg "{pg}" has no data here', code="no_compute")


def _ms_since(began_s: float) -> float:
    return round((wait.monotonic_s() - began_s) * 1000, 2)
