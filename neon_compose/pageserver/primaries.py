"""A compute as the primary of its branch: which term it writes under, where it opens, who receives its WAL.

Owns the order between compute.json and the term protocol (quorum.py). A new layout takes a new term; a start
on the data directory of a term goes on in that term (register, invariant 1). So the record is PREPARED before
a term is claimed, names the term before anything is laid out for it, and is LAID_OUT after.

What may be thrown away: `Manifest.durable` says that all which clients were ever told is committed is in the
WAL of safekeepers. It is set when a new layout begins under durability quorum, or when safekeepers have
caught up with one that ran under another; and taken back before a compute starts under another. Then the data
directory is a cache: lost, stale or doubtful, it is laid out again from layers and WAL.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from pydantic import SecretStr

from neon_compose.compute import gate, layout
from neon_compose.compute import record as records
from neon_compose.compute.layout import Tip, Tips
from neon_compose.compute.record import Record, Stage
from neon_compose.compute.writes import WriteScan
from neon_compose.errors import Bug, Conflict, Invalid, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.generations import Generation, Generations, may_have_writes
from neon_compose.pageserver.quorum import Quorum
from neon_compose.pageserver.seeds import Seeds
from neon_compose.pageserver.wal import BranchWal
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.server import ADMIN
from neon_compose.terms import register as terms
from neon_compose.wire import safekeeper as wire

SYNCHRONOUS = "synchronous_standby_names"


@dataclass(frozen=True)
class Opening:
    """Where a layout opens its branch: the layers, and the WAL after them if there is any to replay."""

    tip: Tip
    at: Lsn
    cut: Cut | None

    @property
    def moment(self) -> Lsn | None:
        """Where the first recovery has to end."""
        return self.at if self.tip.replays(self.cut) else None


@dataclass(frozen=True)
class Primaries:
    store: ObjectStore
    tips: Tips
    quorum: Quorum
    wal: BranchWal
    scan: WriteScan
    generations: Generations
    seeds: Seeds

    def prepare(self, generation: Generation, record: Record, durability: Durability) -> Record:
        """The record of a compute about to start; with a term of its own if it is to be laid out."""
        branch_id = UUID(record.branch_id)
        manifest = manifests.read_manifest(self.store, branch_id)
        if record.stage >= Stage.LAID_OUT and self._goes_on(manifest, generation, record):
            durable = manifest.durable and durability is Durability.QUORUM
            if durable != manifest.durable or manifest.sealed:
                self._goes_on_in_its_term(manifest, durable=durable)
            return record
        layers = tuple(map(str, manifest.layers))
        record = replace(record, stage=Stage.PREPARED, term=0, tip=layers[-1], layers=layers)
        records.write(generation.paths.record, record)
        if not self.quorum.seats:
            _refuse_without_safekeepers(manifest, durability)
            return record
        durable = durability is Durability.QUORUM
        manifest = self.quorum.claim(branch_id, self.seeds.of, durable=durable)
        assert manifest.register is not None
        record = replace(record, term=manifest.register.claimed.term)
        records.write(generation.paths.record, record)
        return record

    def _goes_on(self, manifest: Manifest, generation: Generation, record: Record) -> bool:
        """Whether its files are what the next start runs on; else they are laid out anew."""
        if record.unproven:
            return self._runs(generation)  # in its first run, which the gate can still prove
        if not record.term:
            return not self.quorum.seats or may_have_writes(self.scan, generation)
        assert manifest.register is not None
        if record.term == manifest.register.claimed.term:
            return True
        if manifest.durable:
            return False
        now = manifest.register.claimed.term
        raise Conflict(
            f'the data of pg "{generation.pg}" is of an older term',
            detail=f"It is of term {record.term}, its branch is in term {now}, and not all of its writes are "
            "known to be elsewhere.",
            hint=f"Give it up: neon-compose pg destroy {generation.pg} --discard-writes, then pg create.",
            code="stale_term",
        )

    def _runs(self, generation: Generation) -> bool:
        try:
            with layout.nobody_else(generation.paths, generation.pg):
                return False
        except Conflict:
            return True

    def settings(self, record: Record, durability: Durability) -> dict[str, str]:
        """What goes on the command line for it: who it is, and whom its commits wait for."""
        if not record.term:
            return {}
        manifest = manifests.read_manifest(self.store, UUID(record.branch_id))
        assert manifest.register is not None
        who = {"neon.branch": record.branch_id, "neon.term": str(record.term)}
        if durability is Durability.QUORUM:
            names = ", ".join(self.quorum.standbys(manifest))
            who[SYNCHRONOUS] = f"ANY {terms.majority(manifest.register.claimed.seats)} ({names})"
        return who

    @contextmanager
    def opening(self, record: Record) -> Iterator[Opening]:
        """Where to lay the compute out; at its end the term is decided, and a majority has adopted it.

        A branch's first term can begin in one place only, so that layout need not wait for the decision.
        Nothing runs on what was laid out before this has ended.
        """
        manifest = manifests.read_manifest(self.store, UUID(record.branch_id))
        if not record.term:
            yield self._at(manifest, record, self.wal.start(manifest))
        elif manifest.register is None or manifest.register.decided.history.starts:
            at = self.quorum.decide(manifest).last.start
            yield self._at(manifests.read_manifest(self.store, manifest.branch_id), record, at)
        else:
            at = self.wal.start(manifest)
            with ThreadPoolExecutor(1, thread_name_prefix="decide") as beside:
                decided = beside.submit(self.quorum.decide, manifest)
                yield self._at(manifest, record, at)
                if decided.result().last.start != at:
                    raise Bug(
                        f"the first term of {manifest.name} begins at {decided.result().last.start}, not {at}"
                    )

    def _at(self, manifest: Manifest, record: Record, at: Lsn) -> Opening:
        opened = replace(manifest, layers=_layers_of(manifest, record))
        return Opening(self.tips.get(opened.layers), at, self.wal.cut(opened, at))

    def expect(self, record: Record, password: str) -> None:
        """The compute has come up: while it is checked, safekeepers make ready to receive. They write nothing
        of it before `received`: what isn't the branch's must not come over what is."""
        if record.term:
            self.quorum.expect(UUID(record.branch_id), _request(record, password))

    def received(self, session: gate.Session, record: Record, password: str) -> None:
        """Have the WAL received. Under durability quorum, returns once a majority has all there is."""
        if not record.term:
            return
        manifest = manifests.read_manifest(self.store, UUID(record.branch_id))
        self.quorum.receive(manifest, _request(record, password))
        assert manifest.register is not None
        majority = terms.majority(manifest.register.claimed.seats)
        if gate.waits_for_standbys(session):
            gate.wait_until_received(session, self.quorum.standbys(manifest), majority)
            self._set_durable(manifest, durable=True)

    def receiving(self, manifest: Manifest, password: str) -> wire.ReceiverRequest | None:
        """How to receive from the branch's primary; None if none has let clients in under the last term."""
        writer, register = manifest.writer, manifest.register
        if writer is None or register is None or not self.generations.has(writer.pg, writer.generation):
            return None
        record = self.generations.read(writer.pg, writer.generation).record
        if record is None or record.stage is not Stage.OPENED or record.term != register.claimed.term:
            return None
        return _request(record, password)

    def _goes_on_in_its_term(self, manifest: Manifest, *, durable: bool) -> None:
        manifests.update_manifest(
            self.store, manifest.branch_id, lambda found: replace(found, durable=durable, sealed=None)
        )

    def _set_durable(self, manifest: Manifest, *, durable: bool) -> None:
        manifests.update_manifest(
            self.store, manifest.branch_id, lambda found: replace(found, durable=durable)
        )


def _request(record: Record, password: str) -> wire.ReceiverRequest:
    assert record.port is not None
    return wire.ReceiverRequest(
        term=record.term, host=record.host, port=record.port, user=ADMIN, password=SecretStr(password)
    )


def _layers_of(manifest: Manifest, record: Record) -> tuple[UUID, ...]:
    """The layers that a compute was prepared over: its container's command names their map."""
    if record.layers:
        return tuple(map(UUID, record.layers))
    return manifest.layers[: manifest.layers.index(UUID(record.tip)) + 1]


def _refuse_without_safekeepers(manifest: Manifest, durability: Durability) -> None:
    if manifest.register is not None:
        raise Unavailable(
            f'the WAL of branch "{manifest.name}" is on safekeepers, and this stack has none',
            hint='Say "safekeepers: 1" in the stack file, or as many as there were.',
            code="no_safekeepers",
        )
    if durability is Durability.QUORUM:
        raise Invalid(
            "durability quorum needs safekeepers, and this stack has none",
            hint='Say "safekeepers: 1" in the stack file, or choose durability local.',
            code="no_safekeepers",
        )
