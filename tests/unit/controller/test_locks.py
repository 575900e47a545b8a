import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from neon_compose.controller.locks import Locks
from neon_compose.errors import Conflict, Invalid

PG = frozenset({"pg/a"})
STORAGE = frozenset({"storage/s"})


class Slow:
    """Work that waits to be let go, and counts how often it was done."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.times = threading.Event(), threading.Event(), 0

    def __call__(self) -> int:
        self.times += 1
        self.begun.set()
        assert self.let_go.wait(5)
        return self.times


def test_an_identical_request_joins_the_running_one_and_gets_its_answer() -> None:
    locks, slow = Locks(), Slow()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(locks.run, "start a", slow, alone=PG)
        slow.begun.wait(5)
        second = pool.submit(locks.run, "start a", slow, alone=PG)
        slow.let_go.set()
        assert (first.result(5), second.result(5)) == (1, 1)


def test_another_request_for_the_same_name_is_busy() -> None:
    locks, slow = Locks(), Slow()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(locks.run, "start a", slow, alone=PG)
        slow.begun.wait(5)
        assert locks.work_on("pg/a") == "start"
        with pytest.raises(Conflict, match='pg "a" is busy') as caught:
            locks.run("stop a", lambda: 0, alone=PG)
        assert caught.value.code == "busy"
        assert '"start"' in caught.value.detail
        slow.let_go.set()
        first.result(5)
    assert locks.run("stop a", lambda: 7, alone=PG) == 7


def test_what_is_shared_by_many_is_held_alone_by_none() -> None:
    locks, slow = Locks(), Slow()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(locks.run, "start a", slow, alone=PG, shared=STORAGE)
        slow.begun.wait(5)
        assert locks.run("start b", lambda: 1, alone=frozenset({"pg/b"}), shared=STORAGE) == 1
        with pytest.raises(Conflict, match='storage "s" is busy'):
            locks.run("detach s", lambda: 0, alone=STORAGE)
        slow.let_go.set()
        first.result(5)
    assert locks.idle("nothing")


def test_what_is_held_alone_is_not_shared() -> None:
    locks, slow = Locks(), Slow()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(locks.run, "detach s", slow, alone=STORAGE)
        slow.begun.wait(5)
        with pytest.raises(Conflict):
            locks.run("start a", lambda: 0, alone=PG, shared=STORAGE)
        assert not locks.idle("stop")
        assert locks.idle("storage/s")
        slow.let_go.set()
        first.result(5)


def test_an_error_reaches_whoever_joined_and_frees_the_name() -> None:
    locks, begun, let_go = Locks(), threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        assert let_go.wait(5)
        raise Invalid("no")

    with ThreadPoolExecutor() as pool:
        first = pool.submit(locks.run, "x", fail, alone=PG)
        begun.wait(5)
        second = pool.submit(locks.run, "x", fail, alone=PG)
        let_go.set()
        for one in (first, second):
            with pytest.raises(Invalid, match="no"):
                one.result(5)
    assert locks.work_on("pg/a") is None


def test_who_needs_what_the_controller_works_on_unasked_waits_for_its_end() -> None:
    locks, slow, done = Locks(), Slow(), []
    with ThreadPoolExecutor() as pool:
        own = pool.submit(locks.run_unasked, "finish a", slow, alone=PG, shared=STORAGE)
        slow.begun.wait(5)
        asked = pool.submit(locks.run, "start a", lambda: done.append(own.done()), alone=PG)
        other = pool.submit(locks.run, "detach s", lambda: 7, alone=STORAGE)
        assert not wait((asked, other), 0.05).done
        slow.let_go.set()
        assert other.result(5) == 7
        asked.result(5)
    assert done
    assert locks.names() == frozenset()


def test_who_waited_too_long_for_the_controllers_own_work_is_told_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neon_compose.controller.locks._PATIENCE_S", 0.02)
    locks, slow = Locks(), Slow()
    with ThreadPoolExecutor() as pool:
        own = pool.submit(locks.run_unasked, "finish a", slow, alone=PG)
        slow.begun.wait(5)
        with pytest.raises(Conflict, match='pg "a" is busy') as caught:
            locks.run("start a", lambda: 0, alone=PG)
        assert '"finish"' in caught.value.detail
        slow.let_go.set()
        own.result(5)


def test_the_controllers_own_work_waits_for_requests() -> None:
    locks, slow = Locks(), Slow()
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(locks.run, "start a", slow, alone=PG)
        slow.begun.wait(5)
        own = pool.submit(locks.run_unasked, "finish a", asked.done, alone=PG)
        assert not wait((own,), 0.05).done
        slow.let_go.set()
        assert own.result(5)
