"""When a branch gets a layer, how what fails is shown and tried again, and that one job runs at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from neon_compose import wait
from neon_compose.compute.layout import Tip
from neon_compose.errors import Corrupt, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.pageserver.growing import Watch
from neon_compose.pageserver.redoing import Limits, RedoJobs
from tests.unit.pageserver.growth import FakeWal, Place
from tests.unit.pageserver.storage import World

BACKLOG = 1000


class Jobs:
    def __init__(self, world: World, *, deepest: int = 8) -> None:
        self.world, self.wal = world, FakeWal()
        self.place = Place(world.store, world.work)
        limits = Limits(backlog=BACKLOG, deepest=deepest, every_s=0.01)
        self.jobs = RedoJobs(
            lambda: manifests.list_branches(world.store), self.wal, self.place.growth, limits
        )

    def commit(self, count: int) -> Lsn:
        """Main's WAL goes on to `count` bytes after its newest layer."""
        main = self.place.main()
        self.wal.ends[main.branch_id] = Lsn(self.place.end().value + count)
        return self.wal.ends[main.branch_id]

    @property
    def standing(self) -> object:
        return self.jobs.standing(self.place.main())

    def now(self, watch: Watch = lambda: None) -> int:
        return len(self.jobs.now(self.place.main(), self.place.main, watch))

    @contextmanager
    def running(self) -> Iterator[None]:
        self.jobs.start()
        try:
            yield
        finally:
            self.jobs.stop(wait.Deadline.after(10))


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(World(tmp_path))


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    began_s = wait.monotonic_s()
    monkeypatch.setattr(wait, "monotonic_s", lambda: began_s + seconds)


def test_a_branch_gets_a_layer_once_its_backlog_is_large(jobs: Jobs) -> None:
    jobs.commit(BACKLOG - 1)
    jobs.jobs.look()
    assert jobs.wal.asked == []
    assert jobs.jobs.standing(jobs.place.main()).lag_bytes == BACKLOG - 1
    end = jobs.commit(BACKLOG)
    jobs.jobs.look()
    assert jobs.place.end() == end
    found = jobs.jobs.standing(jobs.place.main())
    assert (found.lag_bytes, found.running, found.error) == (0, False, "")
    assert found.rate is not None
    jobs.jobs.look()
    assert len(jobs.wal.asked) == 1


def test_a_branch_without_wal_here_is_left_alone(jobs: Jobs) -> None:
    jobs.jobs.look()
    assert jobs.wal.asked == []
    assert jobs.jobs.standing(jobs.place.main()).lag_bytes is None


def test_a_small_backlog_goes_when_asked_for(jobs: Jobs) -> None:
    end = jobs.commit(16)
    assert jobs.now() == 1
    assert jobs.place.end() == end
    assert jobs.now() == 0


def test_wal_without_a_checkpoint_is_not_replayed_and_not_fetched_before_there_is_more(jobs: Jobs) -> None:
    jobs.wal.has_checkpoint = False
    jobs.commit(BACKLOG)
    jobs.jobs.look()
    jobs.jobs.look()
    jobs.commit(BACKLOG + BACKLOG // 4 - 1)
    jobs.jobs.look()
    assert len(jobs.wal.asked) == 1
    jobs.wal.has_checkpoint = True
    end = jobs.commit(BACKLOG + BACKLOG // 4)
    jobs.jobs.look()
    assert jobs.place.replay.done == [end]
    assert jobs.place.end() == end


def test_a_failure_is_shown_and_tried_again_after_growing_pauses(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.wal.failure = Unavailable("safekeeper-1 does not answer", detail="It is gone.")
    end = jobs.commit(BACKLOG)
    for count, seconds in enumerate((0, 6, 11, 21), 1):
        with monkeypatch.context() as patched:
            later(patched, seconds)
            jobs.jobs.look()
            jobs.jobs.look()
            assert len(jobs.wal.asked) == count
        later(monkeypatch, seconds)
    assert jobs.jobs.standing(jobs.place.main()).error == "safekeeper-1 does not answer. It is gone."
    jobs.wal.failure = None
    later(monkeypatch, 700)
    jobs.jobs.look()
    assert jobs.place.end() == end
    assert jobs.jobs.standing(jobs.place.main()).error == ""


def test_damaged_wal_is_shown_and_not_tried_again_by_itself(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.wal.failure = Corrupt("WAL is damaged at 0/5")
    jobs.commit(BACKLOG)
    jobs.jobs.look()
    later(monkeypatch, 100_000)
    jobs.commit(BACKLOG * 2)
    jobs.jobs.look()
    assert len(jobs.wal.asked) == 1
    found = jobs.jobs.standing(jobs.place.main())
    assert (found.error, found.lag_bytes) == ("WAL is damaged at 0/5.", BACKLOG * 2)
    with pytest.raises(Corrupt):
        jobs.now()
    jobs.wal.failure = None  # somebody brought a whole copy
    assert jobs.now() == 1
    assert jobs.jobs.standing(jobs.place.main()).error == ""


def test_one_branchs_failure_keeps_no_other_from_its_layer(jobs: Jobs) -> None:
    jobs.world.branches.create("a-try", None, "init")
    child = manifests.read_branch(jobs.world.store, "a-try")
    end = jobs.commit(BACKLOG)
    jobs.wal.ends[child.branch_id] = end
    committed = jobs.wal.committed
    broken = ValueError("a bug")

    def failing(manifest: object) -> object:
        if manifest == child:
            raise broken
        return committed(manifest)  # type: ignore[arg-type]

    jobs.wal.committed = failing  # type: ignore[method-assign,assignment]
    jobs.jobs.look()
    assert jobs.place.end() == end
    assert "a bug" in jobs.jobs.standing(child).error


def test_a_deep_stack_is_folded(tmp_path: Path) -> None:
    jobs = Jobs(World(tmp_path), deepest=3)
    depths = []
    for _ in range(5):
        jobs.commit(16)
        jobs.now()
        depths.append(jobs.place.growth.depth(jobs.place.main()))
    assert depths == [2, 3, 1, 2, 3]
    assert len(jobs.place.main().layers) == 7


def test_one_job_runs_at_a_time_and_what_was_asked_for_waits_for_its_turn(jobs: Jobs) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hold(_tip: Tip, _layer: UUID, watch: Watch) -> None:
        inside.set()
        wait.until("the test", go_on.is_set, wait.Deadline.after(10), alive=watch)

    jobs.place.replay.during = hold
    jobs.commit(BACKLOG)
    answers: list[int] = []
    with jobs.running():
        assert inside.wait(10)
        assert jobs.jobs.standing(jobs.place.main()).running
        asker = threading.Thread(target=lambda: answers.append(jobs.now()))
        asker.start()
        jobs.jobs.look()  # finds the turn taken
        assert len(jobs.place.replay.done) == 1
        go_on.set()
        asker.join(10)
    assert answers == [0]
    assert len(jobs.place.main().layers) == 2


def test_a_stop_ends_the_job_and_leaves_the_branch(jobs: Jobs) -> None:
    before = jobs.place.main()
    inside = threading.Event()

    def hold(_tip: Tip, _layer: UUID, watch: Watch) -> None:
        inside.set()
        wait.until("the end", lambda: None, wait.Deadline.after(10), alive=watch)

    jobs.place.replay.during = hold
    jobs.commit(BACKLOG)
    with jobs.running():
        assert inside.wait(10)
    assert jobs.place.main() == before
    assert jobs.place.growth.making() == []
    assert jobs.jobs.standing(before).error == ""


def test_who_asked_and_left_ends_the_job_without_an_error_of_the_branch(jobs: Jobs) -> None:
    def gone() -> None:
        raise Unavailable("the request was cancelled", code="cancelled")

    jobs.place.replay.during = _watching
    jobs.commit(16)
    with pytest.raises(Unavailable):
        jobs.now(gone)
    found = jobs.jobs.standing(jobs.place.main())
    assert (found.error, found.running) == ("", False)
    assert jobs.now() == 1


def _watching(_tip: Tip, _layer: UUID, watch: Callable[[], None]) -> None:
    watch()
