"""The pageserver as a candidate: a branch's terms are claimed, decided and adopted from here.

Owns the order of messages and manifest writes; what may be said and chosen is terms.register's, which names
the invariants cited. One seat per safekeeper of the stack, in the order of their names.

    claim    every empty seat is enrolled, the next term claimed: one compare-and-swap (1, 14)
    decide   the seats promise, a history is chosen and written (3-5, 7), then adopted (8-10)
    commit   what a majority has flushed of the decided term (13)

Killed anywhere, what was claimed stays claimed: the next start claims the next term.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from neon_compose import log
from neon_compose.errors import Conflict, NeonError, NotFound, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Sealed
from neon_compose.objectstore.store import ObjectStore
from neon_compose.terms import register as terms
from neon_compose.terms.history import History, Log
from neon_compose.terms.members import Answer, Member, Report
from neon_compose.terms.names import standby_name
from neon_compose.terms.register import Register
from neon_compose.wire import safekeeper as wire

_log = log.get(__name__)
T = TypeVar("T")
_TRIES = 10
_RECEIVING = "receiving"


class Safekeeper(Protocol):
    """See `wire.safekeeper_client` for the contract of each call."""

    def status(self) -> wire.SafekeeperStatus: ...
    def branch(self, branch: UUID) -> wire.BranchStatus: ...
    def enrol(self, branch: UUID, query: wire.EnrolQuery, before: bytes) -> wire.BranchStatus: ...
    def promise(self, branch: UUID, term: int) -> Answer: ...
    def adopt(self, branch: UUID, history: History, peers: Sequence[wire.Peer]) -> wire.BranchStatus: ...
    def expect(self, branch: UUID, request: wire.ReceiverRequest) -> None: ...
    def receive(self, branch: UUID, request: wire.ReceiverRequest) -> wire.BranchStatus: ...
    def stop_receiving(self, branch: UUID) -> None: ...
    def commit(self, branch: UUID, term: int, lsn: Lsn) -> None: ...
    def trim(self, branch: UUID, needed: Lsn) -> wire.BranchStatus: ...
    def wal(self, branch: UUID, start: Lsn, end: Lsn) -> Iterator[bytes]: ...
    def delete(self, branch: UUID) -> None: ...


@dataclass(frozen=True)
class Seed:
    """What an empty volume is given: where the branch's WAL is to begin, and its segment up to there; the
    history that ends there, for one that comes in place of safekeepers that are gone."""

    oldest: Lsn
    before: bytes
    timeline: int
    segment_size: int
    history: History | None = None


Seeding = Callable[[Manifest, Register], Seed]  # of a branch, whose register is about to be that


class Holder(NamedTuple):
    """A safekeeper that has WAL from the segment of `oldest` on."""

    host: str
    safekeeper: Safekeeper
    oldest: Lsn


class Quorum:
    """`safekeepers` by host name, in the order of their seats; there may be none."""

    def __init__(
        self,
        store: ObjectStore,
        safekeepers: Iterable[tuple[str, Safekeeper]],
        resolve: Callable[[str], str] = socket.gethostbyname,
    ) -> None:
        self._store = store
        self._resolve = resolve
        self._hosts = dict(safekeepers)
        self._identities: dict[str, UUID] = {}
        self._crowd = ThreadPoolExecutor(max(1, 2 * len(self._hosts)), thread_name_prefix="seats")

    @property
    def seats(self) -> int:
        return len(self._hosts)

    def addresses(self) -> list[str]:
        """Where receivers come from: the safekeepers' addresses, of those that run."""
        found = []
        for host in self._hosts:
            with suppress(OSError):
                found.append(self._resolve(host))
        return found

    # ---- a new term

    def claim(self, branch_id: UUID, seed: Seeding, *, durable: bool) -> Manifest:
        """Claim the next term of the branch for the caller; the manifest that says so. `durable`: all commits
        of that term will wait for a majority.

        A sealed branch does without its safekeepers, if they are gone or the stack has more or fewer now.
        """
        for _ in range(_TRIES):
            manifest = manifests.read_manifest(self._store, branch_id)
            before = manifest.register
            register = before or terms.new_register(self.seats)
            sealed = manifest.sealed
            if manifest.rests_at is not None and self._is_deserted(register):
                register = terms.reseated(register, self.seats, manifest.rests_at)
                sealed = Sealed(register.claimed.term, manifest.rests_at)
            wanted = terms.claim(self._enrolled(manifest, register, seed))
            try:
                swapped = _swapped(before, wanted, durable, sealed)
                return manifests.update_manifest(self._store, branch_id, swapped)
            except Conflict as conflict:
                if conflict.code != "superseded":
                    raise
        raise Unavailable(f'branch "{manifest.name}" changes too often', code="contended")

    def _is_deserted(self, register: Register) -> bool:
        """Whether those that sit there can't be what the stack has, or too few of them answer."""
        if len(register.seats) != self.seats:
            return True
        lacking = len(self._without_seat(register))
        answering = len(self._beside(self._identity, list(self._hosts)))
        return answering - lacking < terms.majority(register.seats)

    def _enrolled(self, manifest: Manifest, register: Register, seed: Seeding) -> Register:
        """With every safekeeper that answers and has no seat in its place. Members are durable before they
        are in the manifest; each is the same whichever of the others come too."""
        lacking = self._without_seat(register)
        if lacking:
            planted = seed(manifest, register)
            members = {
                host: terms.enrol(register, seat, identity, planted.oldest, planted.history)[1]
                for host, (seat, identity) in lacking.items()
            }
            enrolled = self._beside(
                lambda host: self._plant(host, manifest.branch_id, members[host], planted), list(lacking)
            )
            for host, _ in enrolled:
                register, _ = terms.enrol(register, *lacking[host], planted.oldest, planted.history)
        seated, needed = sum(one is not None for one in register.seats), terms.majority(register.seats)
        if seated < needed:
            raise Unavailable(
                f"{seated} of {len(register.seats)} safekeepers answer",
                detail=f'Branch "{manifest.name}" needs {needed} of them before it can be written to.',
                hint="Start those that are down: neon-compose status shows them. If their volumes are gone "
                f"for good: neon-compose branch recover {manifest.name}",
                code="no_majority",
            )
        return register

    def _without_seat(self, register: Register) -> dict[str, tuple[int, UUID]]:
        """The safekeepers that answer and whose identity isn't in their seat: seat and identity by host."""
        hosts = list(self._hosts)[: len(register.seats)]
        known = dict(self._beside(self._identity, hosts))
        seats = {host: (seat, known[host]) for seat, host in enumerate(hosts) if host in known}
        return {host: one for host, one in seats.items() if register.seats[one[0]] != one[1]}

    def _plant(self, host: str, branch_id: UUID, member: Member, seed: Seed) -> None:
        query = wire.enrol_query(member, seed.timeline, seed.segment_size)
        try:
            self._hosts[host].enrol(branch_id, query, seed.before)
        except Conflict as conflict:
            if conflict.code == "other_identity":  # it came back with another volume since it was asked
                self._identities.pop(host, None)
            raise

    def _identity(self, host: str) -> UUID:
        if host not in self._identities:
            self._identities[host] = UUID(self._hosts[host].status().identity)
        return self._identities[host]

    def decide(self, manifest: Manifest) -> History:
        """Decide the claimed term of `manifest` and have it adopted by a majority; its history.

        Raises `Unavailable` code "no_majority", `Conflict` code "superseded" if a later term was claimed.
        """
        register = _register(manifest)
        term = register.claimed.term
        answered = self._ask(lambda one: one.promise(manifest.branch_id, term))
        history = terms.choose(register.claimed, [one for _, one in answered])
        manifests.update_manifest(self._store, manifest.branch_id, _decided(history))
        peers = [wire.Peer(identity=str(one.identity), host=host) for host, one in answered]
        adopted = self._ask(
            lambda one: one.adopt(manifest.branch_id, history, peers), [host for host, _ in answered]
        )
        if len(adopted) < terms.majority(register.claimed.seats):
            raise Unavailable(
                f"{len(adopted)} of {len(register.claimed.seats)} safekeepers adopted term {term}",
                hint="Start the safekeepers that are down: neon-compose status shows them. Then repeat.",
                code="no_majority",
            )
        return history

    def standbys(self, manifest: Manifest) -> tuple[str, ...]:
        """The names by which the members of the claimed term are standbys of its primary."""
        claimed = _register(manifest).claimed
        return tuple(standby_name(manifest.branch_id, claimed.term, one) for one in claimed.seats if one)

    # ---- a running term

    def expect(self, branch_id: UUID, request: wire.ReceiverRequest) -> None:
        """Have the members make ready for `receive`; nobody waits for it."""
        for host in self._hosts:
            self._crowd.submit(
                self._beside, lambda host: self._hosts[host].expect(branch_id, request), [host]
            )

    def receive(
        self, manifest: Manifest, request: wire.ReceiverRequest, hosts: Sequence[str] | None = None
    ) -> None:
        """Have the members, or those on `hosts`, receive from the primary."""
        self._ask(lambda one: one.receive(manifest.branch_id, request), hosts)

    def rejoin(self, manifest: Manifest, host: str, seen: Mapping[str, wire.BranchStatus]) -> None:
        """Have the member on `host` adopt the decided term that it missed, from others that were `seen`."""
        peers = [wire.Peer(identity=one.identity, host=other) for other, one in seen.items() if other != host]
        history = _register(manifest).decided.history
        self._ask(lambda one: one.adopt(manifest.branch_id, history, peers), [host])

    def tell(self, manifest: Manifest, term: int, commit: Lsn, hosts: Sequence[str]) -> None:
        """Say what is committed of the decided term."""
        self._ask(lambda one: one.commit(manifest.branch_id, term, commit), hosts)

    def commit(self, manifest: Manifest) -> Lsn | None:
        """The commit LSN of the decided term, as far as those that answer can tell; None if too few do.

        A member that promised a later term still has what it flushed in this one; one that hasn't adopted it
        yet has what it begins with, or will: before that, nothing of it was acknowledged.
        """
        register = manifest.register
        if register is None or not register.decided.history.starts:
            return None
        last = register.decided.history.last
        reports = [
            Report(UUID(one.identity), last.term, max(last.start, Lsn.parse(one.flushed)))
            if one.term == last.term
            else Report(UUID(one.identity), last.term, last.start)
            for _, one in self.statuses(manifest)
            if one.term <= last.term
        ]
        return terms.commit_lsn(register.decided, reports, manifest.rests_at)

    def settled(self, manifest: Manifest) -> Lsn | None:
        """The commit LSN of a term whose primary has ended, if that is all that may ever be committed of it:
        of those that answer none has more, and none is still to notice that end and look what it has."""
        statuses = [one for _, one in self.statuses(manifest)]
        if any(one.receiver == _RECEIVING for one in statuses):
            return None
        reports = [report for one in statuses if (report := one.report())]
        commit = terms.commit_lsn(_register(manifest).decided, reports)
        if commit is None or any(one.flushed > commit for one in reports):
            return None
        return commit

    def install(self, manifest: Manifest, host: str, seed: Seed, status: wire.BranchStatus) -> None:
        """Have the member on `host`, whose WAL ends before what the others still have, go on from `seed`."""
        oldest, history = seed.oldest, seed.history
        assert history is not None
        member = Member(UUID(status.identity), status.promised, history, oldest, oldest)
        self._beside(lambda one: self._plant(one, manifest.branch_id, member, seed), [host])

    def trim(self, branch_id: UUID, needed: Lsn, hosts: Sequence[str]) -> None:
        """WAL before `needed` goes on `hosts`."""
        self._ask(lambda one: one.trim(branch_id, needed), hosts)

    def statuses(self, manifest: Manifest) -> list[tuple[str, wire.BranchStatus]]:
        """What the safekeepers that answer say of the branch, by host."""
        return self._ask(lambda one: one.branch(manifest.branch_id))

    def all_statuses(self) -> dict[str, dict[UUID, wire.BranchStatus]]:
        """What the safekeepers that answer say of all branches, by host."""
        answered = self._ask(lambda one: one.status())
        for host, said in answered:  # one may have come back with another volume
            self._identities[host] = UUID(said.identity)
        return {host: {UUID(one.branch_id): one for one in said.branches} for host, said in answered}

    def holders(self, manifest: Manifest, end: Lsn) -> list[Holder]:
        """The safekeepers that have the branch's WAL up to `end`, as its decided history means it."""
        history = _register(manifest).decided.history
        return [
            Holder(host, self._hosts[host], Lsn.parse(one.oldest))
            for host, one in self.statuses(manifest)
            if log_of(one).shared_with(history) >= end
        ]

    def forget(self, branch_id: UUID) -> bool:
        """A branch is gone: its WAL goes, where somebody answers. Whether all did."""
        return len(self._ask(lambda one: one.delete(branch_id))) == len(self._hosts)

    def stop_receiving(self, branch_id: UUID, hosts: Sequence[str]) -> None:
        """Nobody writes to the branch: it is deleted."""
        self._ask(lambda one: one.stop_receiving(branch_id), hosts)

    def _ask(self, ask: Callable[[Safekeeper], T], hosts: Sequence[str] | None = None) -> list[tuple[str, T]]:
        """All of them, or those of `hosts`, beside each other; the answers there are, by host."""
        asked = list(self._hosts) if hosts is None else hosts
        return self._beside(lambda host: ask(self._hosts[host]), asked)

    def _beside(self, work: Callable[[str], T], hosts: Sequence[str]) -> list[tuple[str, T]]:
        if len(hosts) == 1:  # no thread has to be waited for
            begun: list[tuple[str, Callable[[], T]]] = [(hosts[0], partial(work, hosts[0]))]
        else:
            begun = [(host, self._crowd.submit(work, host).result) for host in hosts]
        found = []
        for host, result in begun:
            try:
                found.append((host, result()))
            except (Unavailable, NotFound) as error:
                _log.info("%s: %s", host, error.message)
            except NeonError as error:
                _log.warning("%s: %s (%s)", host, error.message, error.detail)
        return found


def log_of(one: wire.BranchStatus) -> Log:
    return Log(wire.history_of(one.history), Lsn.parse(one.flushed))


def _register(manifest: Manifest) -> Register:
    assert manifest.register is not None, manifest.name
    return manifest.register


def _swapped(
    before: Register | None, after: Register, durable: bool, sealed: Sealed | None
) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        if manifest.register != before:
            raise Conflict(f'branch "{manifest.name}" was started elsewhere meanwhile', code="superseded")
        return replace(manifest, register=after, durable=durable, sealed=sealed)

    return change


def _decided(history: History) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        return replace(manifest, register=terms.decide(_register(manifest), history))

    return change
