"""The fake elects, fences and copies as the protocol says: other tests rest on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from neon_compose.errors import Conflict
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.terms import register
from neon_compose.terms.history import History, TermStart
from neon_compose.wire.safekeeper import Peer, ReceiverRequest, enrol_query
from tests.fakes_safekeeper import FakeSafekeepers

BRANCH = new_id()
OLDEST = Lsn(0x1000028)
PRIMARY = ReceiverRequest(term=1, host="10.0.0.9", port=5432, user="u", password=SecretStr("p"))


def test_a_new_term_takes_the_wal_of_the_best_and_fences_the_old_one() -> None:
    keepers = FakeSafekeepers(3)
    kept = register.new_register(3)
    for seat, keeper in enumerate(keepers.values()):
        kept, member = register.enrol(kept, seat, keeper.identity, OLDEST)
        keeper.enrol(BRANCH, enrol_query(member, 1, 1 << 20), bytes(0x28))
    peers = [Peer(identity=str(one.identity), host=one.host) for one in keepers.values()]
    kept = register.claim(kept)
    history = register.choose(kept.claimed, [one.promise(BRANCH, 1) for one in keepers.values()])
    kept = register.decide(kept, history)
    for keeper in keepers.values():
        keeper.adopt(BRANCH, history, peers)
        keeper.receive(BRANCH, PRIMARY)
    first, second, third = keepers.values()
    first.arrive(BRANCH, b"abc")
    second.arrive(BRANCH, b"abcdef")
    reports = [report for one in keepers.values() if (report := one.branch(BRANCH).report())]
    assert register.commit_lsn(kept.decided, reports) == Lsn(OLDEST.value + 3)

    second.down = True
    kept = register.claim(kept)
    history = register.choose(kept.claimed, [one.promise(BRANCH, 2) for one in (first, third)])
    assert history.last.start == Lsn(OLDEST.value + 3)
    assert first.branch(BRANCH).receiver == "stopped"
    with pytest.raises(Conflict, match="is over"):
        first.receive(BRANCH, PRIMARY)
    assert third.adopt(BRANCH, history, peers).flushed == str(history.last.start)
    assert b"".join(third.wal(BRANCH, OLDEST, history.last.start)) == b"abc"
    second.down = False
    assert second.adopt(BRANCH, history, peers).flushed == str(history.last.start)


def test_what_it_has_gives_way_to_a_history_that_it_lacks() -> None:
    keeper = FakeSafekeepers(1)["safekeeper-1"]
    _, member = register.enrol(register.new_register(1), 0, keeper.identity, OLDEST)
    keeper.enrol(BRANCH, enrol_query(member, 1, 1 << 20), bytes(0x28))
    keeper.promise(BRANCH, 5)
    later, history = Lsn(OLDEST.value + 8), History((TermStart(2, OLDEST),))
    for _ in range(2):
        wanted = replace(member, history=history, oldest=later, flushed=later)
        status = keeper.enrol(BRANCH, enrol_query(wanted, 1, 1 << 20), bytes(0x30))
        assert (status.promised, status.term, status.flushed) == (5, 2, str(later))
