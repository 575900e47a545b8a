"""One branch kept: terms, receiving, restarts, over real folders with receivers that tests feed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from neon_compose import durable
from neon_compose.errors import Conflict, Corrupt, NotFound, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper import keeper as keepers
from neon_compose.safekeeper.condition import Condition
from neon_compose.safekeeper.record import Source
from neon_compose.safekeeper.volume import Volume
from neon_compose.terms.history import History, TermStart
from tests.unit.safekeeper.world import BRANCH, HEAD, OLDEST, SIZE, World, at

FIRST = Source(1, "10.0.0.9", 5432, "cloud")
HISTORY = History((TermStart(1, OLDEST),))


def receiving(world: World, source: Source = FIRST) -> None:
    world.enrol()
    world.keeper.promise(source.term)
    world.keeper.adopt(History((TermStart(source.term, OLDEST),)), [])
    world.keeper.receive(source, "se:cr\\et")


def test_an_identity_is_made_once(world: World) -> None:
    first = world.identity
    world.restart()
    assert world.identity == first


def test_an_enrolled_branch_waits_for_its_first_term(world: World) -> None:
    world.enrol()
    status = world.status
    assert (status.term, status.promised, status.flushed, status.receiver) == (0, 0, str(OLDEST), "stopped")
    assert status.report() is None
    with pytest.raises(Conflict, match="not adopted"):
        world.keeper.receive(FIRST, "")


def _partial(world: World) -> Path:
    (path,) = (world.folder / "wal").glob("*.partial")
    return path


def test_the_first_term_begins_on_what_was_seeded_as_it_is(world: World) -> None:
    world.enrol()
    before, content = _partial(world).stat().st_ctime_ns, _partial(world).read_bytes()
    world.keeper.promise(1)
    world.keeper.adopt(HISTORY, [])
    assert (_partial(world).stat().st_ctime_ns, _partial(world).read_bytes()) == (before, content)


@pytest.mark.parametrize("after", ["receiving", "a restart"])
def test_a_term_begins_on_a_segment_of_its_own_after(world: World, after: str) -> None:
    """Whoever was there meanwhile may have left something."""
    if after == "receiving":
        receiving(world)
    else:
        world.enrol()
        world.restart()
    with _partial(world).open("r+b") as file:  # unsynced, and known to nobody
        file.seek(OLDEST.value % SIZE + 5000)
        file.write(b"stale")
    world.keeper.promise(2)
    world.keeper.adopt(History((TermStart(2, OLDEST),)), [])
    assert _partial(world).read_bytes() == HEAD.ljust(SIZE, b"\0")


def test_what_is_received_is_flushed_and_can_be_read(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    status = world.status
    assert (status.flushed, status.receiver, status.term) == (str(at(500)), "receiving", 1)
    report = status.report()
    assert report is not None
    assert report.flushed == at(500)
    assert world.bytes_of(Lsn(OLDEST.value - 100), at(500)) == HEAD + b"x" * 500
    with pytest.raises(Conflict) as caught:
        world.keeper.read(OLDEST, at(501))
    assert caught.value.code == "wal_behind"


def test_what_an_ended_receiver_flushed_is_known_though_nobody_asked_while_it_ran(world: World) -> None:
    """A primary that is stopped: its last commits are the newest of the branch."""
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    world.receiver.condition = Condition.UNREACHABLE
    end = Lsn(OLDEST.value + 500)
    assert world.status.flushed == str(end)
    assert len(world.receivers) == 2  # another looks for the primary
    world.receiver.end, world.receiver.condition = None, Condition.UNREACHABLE
    assert world.status.flushed == str(end)
    assert len(world.receivers) == 2


def test_a_receiver_knows_its_branch_term_and_password(world: World) -> None:
    receiving(world)
    subject, primary = world.receiver.subject, world.receiver.primary
    assert subject.name == f"b00000000000b_t1_{world.identity[-12:]}"
    assert primary.passfile is not None
    assert primary.passfile.read_text() == "*:*:*:cloud:se\\:cr\\\\et\n"
    assert primary.passfile.stat().st_mode & 0o777 == 0o600


def test_a_repeated_request_has_the_receiver_try_again(world: World) -> None:
    receiving(world)
    world.keeper.receive(FIRST, "se:cr\\et")
    assert (len(world.receivers), world.receiver.nudges) == (1, 1)
    world.keeper.receive(replace(FIRST, port=5433), "se:cr\\et")
    world.keeper.receive(replace(FIRST, port=5433), "other")
    assert [one.condition for one in world.receivers] == [
        Condition.STOPPED,
        Condition.STOPPED,
        Condition.RECEIVING,
    ]


def test_nothing_is_received_from_what_is_only_expected(world: World) -> None:
    world.enrol()
    world.keeper.promise(1)
    with pytest.raises(Conflict, match="not adopted"):
        world.keeper.expect(FIRST, "se:cr\\et")
    world.keeper.adopt(HISTORY, [])
    world.keeper.expect(FIRST, "se:cr\\et")
    assert world.status.receiver == "stopped"
    world.keeper.receive(FIRST, "se:cr\\et")
    world.keeper.expect(FIRST, "se:cr\\et")  # which came late
    assert world.status.receiver == "receiving"
    assert (len(world.receivers), world.receiver.nudges) == (1, 0)
    world.restart()
    assert world.status.receiver == "receiving"


def test_what_was_only_expected_is_forgotten_by_a_restart_and_ended_by_a_promise(world: World) -> None:
    world.enrol()
    world.keeper.promise(1)
    world.keeper.adopt(HISTORY, [])
    world.keeper.expect(FIRST, "se:cr\\et")
    world.restart()
    assert world.receivers == []
    world.keeper.expect(FIRST, "se:cr\\et")
    expected = world.keeper.now.running
    world.keeper.promise(2)
    assert expected is not None
    assert world.keeper.now.running is None


def test_another_source_is_received_from_than_was_expected(world: World) -> None:
    world.enrol()
    world.keeper.promise(1)
    world.keeper.adopt(HISTORY, [])
    world.keeper.expect(FIRST, "se:cr\\et")
    world.keeper.receive(replace(FIRST, port=5433), "se:cr\\et")
    assert [one.condition for one in world.receivers] == [Condition.STOPPED, Condition.RECEIVING]


def test_a_restart_goes_on_receiving_from_what_is_there(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    world.restart()
    assert world.receiver.primary.host == FIRST.host
    assert world.status.flushed == str(at(500))
    world.receiver.arrive(b"y")
    assert world.status.flushed == str(at(501))


def test_a_promise_ends_older_receivers_and_outlives_a_restart(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    answer = world.keeper.promise(2)
    assert (answer.term, answer.log.end, answer.log.history) == (2, at(500), HISTORY)
    assert world.receiver.condition is Condition.STOPPED
    with pytest.raises(Conflict) as caught:
        world.keeper.receive(FIRST, "")
    assert caught.value.code == "stale_term"
    world.restart()
    assert world.receivers == []
    assert world.status.promised == 2
    with pytest.raises(Conflict):
        world.keeper.promise(1)
    assert world.keeper.promise(2).log.end == at(500)


def test_a_receiver_that_cannot_be_killed_keeps_its_term(world: World) -> None:
    receiving(world)
    world.receiver.stuck = True
    with pytest.raises(Unavailable):
        world.keeper.promise(2)
    assert world.status.promised == 1
    world.receiver.stuck = False
    assert world.keeper.promise(2).term == 2


def test_nothing_is_received_after_it_was_stopped_not_even_by_the_next_process(world: World) -> None:
    receiving(world)
    world.keeper.stop_receiving()
    world.keeper.stop_receiving()
    assert world.status.receiver == "stopped"
    world.restart()
    assert world.receivers == []
    world.keeper.receive(FIRST, "")
    assert world.status.receiver == "receiving"


def test_a_new_term_cuts_what_it_does_not_hold(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * (2 * SIZE))
    world.keeper.promise(2)
    history = HISTORY.then(2, at(300))
    world.keeper.adopt(history, [])
    world.keeper.adopt(history, [])
    assert (world.status.flushed, world.status.term) == (str(at(300)), 2)
    world.restart()
    assert (world.status.flushed, world.status.term) == (str(at(300)), 2)
    world.keeper.receive(replace(FIRST, term=2), "")
    world.receiver.arrive(b"y")
    assert world.bytes_of(OLDEST, at(301)) == b"x" * 300 + b"y"
    assert not any(world.receiver.segments.folder.read(5)[at(301).value % SIZE :])


def test_a_torn_tail_is_gone_when_the_next_term_begins_before_it(world: World) -> None:
    """As a power cut leaves it: nobody was told of it, and it would be replayed after the next term's WAL."""
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    world.keeper.stop_receiving()
    with world.receiver.segments.folder.partial(5).open("r+b") as file:
        file.seek(at(700).value % SIZE)
        file.write(b"torn")
    world.restart()
    assert world.keeper.promise(2).log.end == at(500)
    world.keeper.adopt(HISTORY.then(2, at(500)), [])
    folder = world.folder / "wal"
    (partial,) = folder.glob("*.partial")
    assert not any(partial.read_bytes()[at(500).value % SIZE :])


def test_what_is_missing_is_copied_from_who_holds_the_history(made: Callable[[str], World]) -> None:
    ahead, behind = made("safekeeper-1"), made("safekeeper-2")
    for world in (ahead, behind):
        receiving(world)
    wal = os.urandom(3 * SIZE).replace(b"\0", b"z")
    ahead.receiver.arrive(wal)
    behind.receiver.arrive(wal[:70])
    end = at(len(wal))
    history = HISTORY.then(2, end)
    with pytest.raises(Unavailable) as caught:
        behind.keeper.adopt(history, [])
    assert caught.value.code == "no_supplier"
    lost = behind.peer("safekeeper-1").model_copy(update={"host": "safekeeper-9"})
    with pytest.raises(Unavailable) as caught:
        behind.keeper.adopt(history, [lost])
    assert caught.value.detail == "safekeeper-9: safekeeper-9 does not answer."
    behind.keeper.adopt(history, [behind.peer("safekeeper-1")])
    assert (behind.status.flushed, behind.status.promised) == (str(end), 2)
    assert behind.bytes_of(OLDEST, end) == wal
    behind.restart()
    assert behind.status.flushed == str(end)


def test_a_copy_that_a_crash_cut_within_a_record_goes_on(made: Callable[[str], World]) -> None:
    ahead, behind = made("safekeeper-1"), made("safekeeper-2")
    for world in (ahead, behind):
        receiving(world)
    wal = os.urandom(2 * SIZE).replace(b"\0", b"z")
    ahead.receiver.arrive(wal)
    history = HISTORY.then(2, at(len(wal)))
    ahead.within_record = behind.within_record = (Lsn(6 * SIZE - 50), Lsn(6 * SIZE + 50))
    peer = behind.peer("safekeeper-1")

    def dies(_: Lsn) -> bytes:
        raise KeyboardInterrupt

    ahead.gives = {Lsn(6 * SIZE): dies}
    with pytest.raises(KeyboardInterrupt):
        behind.keeper.adopt(history, [peer])
    ahead.gives = {}
    behind.restart()
    assert behind.status.flushed == str(Lsn(6 * SIZE - 50))  # the segment is complete, its last record isn't
    behind.keeper.adopt(history, [behind.peer("safekeeper-1")])
    assert behind.bytes_of(OLDEST, at(len(wal))) == wal


def test_a_peer_with_another_identity_gives_nothing(made: Callable[[str], World]) -> None:
    ahead, behind = made("safekeeper-1"), made("safekeeper-2")
    for world in (ahead, behind):
        receiving(world)
    ahead.receiver.arrive(b"x" * 100)
    wrong = behind.peer("safekeeper-1").model_copy(update={"identity": behind.identity})
    with pytest.raises(Unavailable) as caught:
        behind.keeper.adopt(HISTORY.then(2, at(100)), [wrong])
    assert "it is safekeeper" in caught.value.detail


def test_damage_below_a_noted_commit_is_an_error_and_not_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers, "_NOTE_S", 0.0)
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    assert world.status.flushed == str(at(500))
    world.keeper.commit(1, at(400))
    assert world.status.committed == str(at(400))
    world.service.close()
    (partial,) = (world.folder / "wal").glob("*.partial")
    with partial.open("r+b") as file:
        file.seek(at(300).value % SIZE)
        file.write(bytes(1))
        file.seek(at(390).value % SIZE)
        file.write(bytes(20))
    world.start()
    assert world.status.receiver == "receiving"  # a walk begins at the commit
    with partial.open("r+b") as file:
        file.truncate(at(0).value % SIZE)
        file.truncate(SIZE)
    with pytest.raises(Corrupt):
        world.keeper.promise(2)


def test_a_commit_within_a_record_is_noted_at_the_record_s_begin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers, "_NOTE_S", 0.0)
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    assert world.status.flushed == str(at(500))
    world.within_record = (at(350), at(450))
    world.keeper.commit(1, at(400))
    assert world.status.committed == str(at(350))
    world.keeper.commit(7, at(500))  # another term's says nothing
    assert world.status.committed == str(at(350))
    world.restart()
    assert world.status.committed == str(at(350))


def test_a_promise_notes_the_last_commit_that_was_told(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    world.keeper.commit(1, at(100))
    world.keeper.commit(1, at(200))
    world.keeper.promise(2)
    assert world.status.committed == str(at(200))


def test_trimming_removes_whole_segments_of_committed_wal(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * (3 * SIZE))
    assert world.status.flushed == str(at(3 * SIZE))
    world.keeper.trim(at(2 * SIZE))
    assert world.status.oldest == str(OLDEST)
    world.keeper.commit(1, at(2 * SIZE))
    before = world.status.wal_bytes
    world.keeper.trim(at(2 * SIZE))
    assert world.status.oldest == str(at(2 * SIZE))
    assert world.status.wal_bytes < before
    with pytest.raises(Conflict) as caught:
        world.bytes_of(OLDEST, at(5))
    assert caught.value.code == "wal_trimmed"
    world.restart()
    assert world.status.oldest == str(at(2 * SIZE))
    assert world.bytes_of(at(2 * SIZE), at(3 * SIZE)) == b"x" * SIZE


def test_a_deleted_branch_leaves_nothing(world: World) -> None:
    receiving(world)
    world.service.delete(BRANCH)
    world.service.delete(BRANCH)
    assert world.receiver.condition is Condition.STOPPED
    with pytest.raises(NotFound):
        world.service.find(BRANCH)
    assert list((world.home / "volume" / "branches").iterdir()) == []
    world.enrol()
    assert world.status.term == 0


def test_enrolling_again_changes_nothing_and_otherwise_is_refused(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 10)
    world.enrol()
    assert world.status.flushed == str(at(10))
    with pytest.raises(Conflict) as caught:
        world.enrol(counts_from=3)
    assert caught.value.code == "enrolled_otherwise"
    query = world.query().model_copy(update={"identity": str(BRANCH)})
    with pytest.raises(Conflict) as caught:
        world.service.enrol(BRANCH, query, HEAD)
    assert caught.value.code == "other_identity"


def installing(world: World, offset: int, history: str, head: bytes) -> None:
    world.service.enrol(BRANCH, world.query(at(offset)).model_copy(update={"history": history}), head)


def test_what_is_here_gives_way_to_a_history_that_it_lacks(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 10)
    world.keeper.promise(7)
    installing(world, 30, f"1@{OLDEST},4@{at(20)}", HEAD + b"y" * 30)
    status = world.status
    assert (status.promised, status.term) == (7, 4)
    assert (status.oldest, status.flushed, status.committed) == (str(at(30)),) * 3
    assert world.receiver.condition is Condition.STOPPED
    world.restart()
    assert world.status == status
    assert [path.name for path in world.folder.glob("wal*")] == [world.keeper.now.record.wal]
    history = History((TermStart(1, OLDEST), TermStart(4, at(20)), TermStart(7, at(30))))
    world.keeper.adopt(history, [])
    world.keeper.receive(replace(FIRST, term=7), "secret")
    world.receiver.arrive(b"z" * 5)
    assert world.status.flushed == str(at(35))
    assert world.bytes_of(at(30), at(35)) == b"z" * 5


def test_a_history_that_is_here_takes_nothing_away(world: World) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 50)
    installing(world, 30, f"1@{OLDEST}", HEAD + b"x" * 30)
    world.receiver.arrive(b"x" * 5)
    assert (world.status.flushed, world.status.receiver) == (str(at(55)), "receiving")


@pytest.mark.parametrize("left", ["wal-new", "wal"])
def test_wal_that_was_about_to_be_installed_or_was_replaced_is_swept(world: World, left: str) -> None:
    receiving(world)
    if left == "wal":
        installing(world, 30, f"1@{OLDEST}", HEAD + b"y" * 30)
    (world.folder / left).mkdir()
    status = world.status
    world.restart()
    assert world.status.model_copy(update={"receiver": status.receiver}) == status
    assert len(list(world.folder.glob("wal*"))) == 1


def test_who_has_no_term_yet_is_enrolled_again_by_a_later_claim(world: World) -> None:
    world.enrol(promised=3, counts_from=4)
    world.enrol(promised=5, counts_from=6)
    world.enrol(promised=3, counts_from=4)  # late
    world.restart()
    record = world.keeper.now.record
    assert (record.promised, record.counts_from) == (5, 6)
    with pytest.raises(Conflict) as caught:
        world.service.enrol(BRANCH, world.query(at(5)), HEAD + b"hhhhh")
    assert caught.value.code == "enrolled_otherwise"


def test_a_full_disk_is_told_and_gone_when_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving(world)
    world.service.close()

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "wal")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        world.start()
        assert world.status.receiver == "disk full"
        assert world.status.trouble is not None
        assert world.status.trouble["code"] == "disk_full"
        assert world.receivers == []
    world.keeper.tend()
    assert world.status.receiver == "receiving"
    assert world.status.trouble is None


def test_a_damaged_record_takes_no_other_branch_along(world: World) -> None:
    receiving(world)
    world.service.close()
    path = world.folder / "member.json"
    path.write_bytes(path.read_bytes().replace(b'"promised": 1', b'"promised": 0'))
    world.start()
    with pytest.raises(Corrupt):
        world.service.find(BRANCH)
    (status,) = world.service.status().branches
    assert status.receiver == "failed"
    assert status.trouble is not None
    with pytest.raises(Corrupt):
        world.enrol()


def test_a_volume_that_lost_its_identity_is_nobody_s(world: World) -> None:
    world.service.close()
    (world.home / "volume" / "identity").unlink()
    with pytest.raises(Corrupt) as caught:
        world.start()
    assert caught.value.code == "identity_lost"


def test_a_volume_has_one_process(world: World) -> None:
    with pytest.raises(Conflict, match="in use"):
        Volume.open(world.home / "volume")


def test_what_a_dead_process_was_making_or_removing_is_swept(world: World) -> None:
    world.service.close()
    branches = world.home / "volume" / "branches"
    for name in (".new-x", ".gone-y"):
        (branches / name / "wal").mkdir(parents=True)
    (world.home / "volume" / f".identity.0{durable.SUFFIX}").write_bytes(b"")
    world.start()
    assert list(branches.iterdir()) == []


def test_a_damaged_copy_is_refused_and_leaves_what_was_there(made: Callable[[str], World]) -> None:
    ahead, behind = made("safekeeper-1"), made("safekeeper-2")
    for world in (ahead, behind):
        receiving(world)
        world.receiver.arrive(b"x" * 50)
    ahead.receiver.arrive(b"y" * 50)
    history, peer = HISTORY.then(2, at(100)), behind.peer("safekeeper-1")
    ahead.gives = {at(50): lambda end: bytes(end.value - at(50).value)}
    with pytest.raises(Corrupt, match="safekeeper-1 gave is damaged"):
        behind.keeper.adopt(history, [peer])
    assert behind.status.flushed == str(at(50))
    ahead.gives = {}
    behind.keeper.adopt(history, [peer])
    assert behind.bytes_of(OLDEST, at(100)) == b"x" * 50 + b"y" * 50


def test_a_peer_that_is_cut_while_it_is_read_gives_nothing(made: Callable[[str], World]) -> None:
    ahead, behind = made("safekeeper-1"), made("safekeeper-2")
    for world in (ahead, behind):
        receiving(world)
    ahead.receiver.arrive(b"x" * 100)
    peer = behind.peer("safekeeper-1")

    def cut(end: Lsn) -> bytes:
        ahead.keeper.adopt(HISTORY.then(3, at(20)), [])
        return b"z" * (end.value - OLDEST.value)

    ahead.gives = {OLDEST: cut}
    with pytest.raises(Unavailable) as caught:
        behind.keeper.adopt(HISTORY.then(2, at(100)), [peer])
    assert "changed while it was read" in caught.value.detail
    assert behind.status.flushed == str(OLDEST)


def test_wal_that_the_primary_no_longer_has_comes_from_a_peer(made: Callable[[str], World]) -> None:
    ahead, behind = made("safekeeper-1"), made("safekeeper-2")
    for world in (ahead, behind):
        receiving(world)
    wal = os.urandom(2 * SIZE).replace(b"\0", b"z")
    ahead.receiver.arrive(wal)
    behind.receiver.arrive(wal[:70])
    peer = behind.peer("safekeeper-1")
    behind.keeper.adopt(HISTORY, [peer])  # nothing is wrong yet
    assert len(behind.receivers) == 1
    behind.receiver.condition = Condition.WAL_GONE
    with pytest.raises(Unavailable):
        behind.keeper.adopt(HISTORY, [])
    behind.keeper.tend()
    behind.receiver.condition = Condition.WAL_GONE
    behind.keeper.adopt(HISTORY, [peer])
    assert behind.status.receiver == "receiving"
    assert behind.status.flushed == str(at(len(wal)))
    behind.receiver.arrive(b"on")
    assert behind.bytes_of(OLDEST, at(len(wal) + 2)) == wal + b"on"


def test_the_last_commit_that_was_told_is_noted_some_time_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    assert world.status.flushed == str(at(500))
    world.keeper.commit(1, at(100))
    world.keeper.commit(1, at(200))
    assert world.status.committed == str(at(100))
    assert world.keeper.is_at_rest
    monkeypatch.setattr(keepers, "_NOTE_S", 0.0)
    assert not world.keeper.is_at_rest
    world.keeper.tend()
    assert world.status.committed == str(at(200))
    assert world.keeper.is_at_rest


def test_damage_found_while_it_receives_is_told_and_receiving_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)
    assert world.status.flushed == str(at(500))
    with world.receiver.segments.folder.partial(5).open("r+b") as file:
        file.seek(at(300).value % SIZE)
        file.write(bytes(1))
    with pytest.raises(Corrupt):
        world.keeper.commit(1, at(400))
    monkeypatch.setattr(keepers, "_NOTE_S", 0.0)
    world.keeper.tend()
    status = world.status
    assert (status.receiver, status.committed) == ("receiving", "0/0")
    assert status.trouble is not None
    assert status.trouble["code"] == "wal_damaged"


def test_a_promise_that_a_full_disk_refused_leaves_the_term_receiving(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving(world)
    world.receiver.arrive(b"x" * 500)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "wal")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space"):
            world.keeper.promise(2)
        assert (world.status.receiver, world.status.promised) == ("disk full", 1)
    assert not world.keeper.is_at_rest
    world.keeper.tend()
    status = world.status
    assert (status.receiver, status.flushed, status.trouble) == ("receiving", str(at(500)), None)
    assert world.keeper.promise(2).log.end == at(500)
