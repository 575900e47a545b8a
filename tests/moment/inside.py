"""Opening moments, inside a container of the pageserver's image (test_moment.py starts it):

    python -m tests.moment.inside FOLDER SHIM make        once, in an empty FOLDER
    python -m tests.moment.inside FOLDER SHIM SCENARIO    any number of times after it

Ends with 0, or with a traceback of what did not hold.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

from neon_compose import durable, wait
from neon_compose.compute import gate
from neon_compose.compute.layout import Tip, lay_out
from neon_compose.compute.paths import ComputePaths
from neon_compose.compute.writes import WriteScan
from neon_compose.errors import Corrupt, NeonError
from neon_compose.layer.history import stack_for
from neon_compose.layer.index import Kind
from neon_compose.layer.pack import LayerFiles
from neon_compose.layer.verify import check_layer
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.pageserver.redo import Redo
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.versions import version
from neon_compose.postgres.wal import PAGE, segment_name
from tests.moment import diffs, history
from tests.moment.collected import redo_folds_and_collection
from tests.moment.damage import copied, flipped
from tests.moment.grown import grown
from tests.moment.world import Noted, World

SEGMENT = 4 << 20
SHORT, LONG = 24, 40  # page headers
_BRANCH = UUID("01900000-0000-7000-8000-00000000000b")


def make(world: World) -> None:
    world.make(history.SETUP)
    parent = world.laid_out("parent", world.tip(), wal_keep_size="1GB")
    world.note(history.live(world, parent))
    shutil.copytree(parent.wal, world.wal)
    shutil.rmtree(parent.root)


def moment(world: World, name: str) -> Noted:
    return next(one for one in world.noted() if one.name == name)


def opened(world: World, end: Lsn, wal: Path | None = None) -> ComputePaths:
    return world.laid_out("branch", world.tip(), Cut(wal or world.wal, end))


# ---- scenarios


def content(world: World) -> None:
    """A branch opened at a moment has what a dump of its parent had then, and nothing of what came later."""
    for one in world.noted():
        for end in _same_moment(one.lsn):
            paths = opened(world, end)
            with world.running(paths) as session:
                world.check(paths, end)
                assert world.dumps(paths) == one.dumps, f"{one.name} at {end}"
                world.amcheck(paths)
                assert session.execute("SELECT count(*) FROM unlogged").fetchone() == (0,), one.name
            print(f"{one.name}: {end}, WAL of {(end.value - world.tip().end.value) >> 10} KiB")


def _same_moment(lsn: Lsn) -> list[Lsn]:
    """Behind a page header is where the next record begins; before it is where the last one ended."""
    at = lsn.value
    header = LONG if at % SEGMENT == LONG else SHORT
    return [lsn, Lsn(at - header)] if at % PAGE == header else [lsn]


# ---- the redo job


def redo(world: World) -> None:
    """A tip with a delta over it opens at every moment from the delta's end on as its parent was then."""
    deltas: list[UUID] = []
    for name in ("truncated and dropped", "prepared", "a large table"):
        one = moment(world, name)
        made = replayed(world, world.tip(*deltas), world.wal, one.lsn)
        assert made is not None, name
        index = check_layer(made.pages, made.index, made.meta)
        assert index.consistent == one.lsn
        deltas.append(index.layer_id)
        dropped = [key.path() for key in index.dropped]
        print(f"{name}: {index.pages} pages, {len(index.segments)} segments, {len(dropped)} dropped")
        for later in world.noted():
            if later.lsn >= one.lsn:
                _opens_over(world, deltas, later)


def _opens_over(world: World, deltas: list[UUID], one: Noted) -> None:
    _opens_at(world, world.tip(*deltas), one)


def _opens_at(world: World, tip: Tip, one: Noted) -> None:
    paths = world.laid_out("branch", tip, Cut(world.wal, one.lsn))
    with world.running(paths) as session:
        world.check(paths, one.lsn)
        assert world.dumps(paths) == one.dumps, f"{one.name} over {len(tip.layers)} layers"
        assert session.execute("SELECT count(*) FROM unlogged").fetchone() == (0,)
        world.amcheck(paths)


def redo_jobs_and_folds(world: World) -> None:
    """Of a branch that got layers by jobs, one of them folded, each moment opens over those that are as old,
    as its parent was then."""
    with grown(world) as branch:
        for name in ("truncated and dropped", "prepared", "a large table"):
            made = branch.redo(moment(world, name).lsn)
            print(f"{name}: {[(str(one.end), round(one.seconds, 2)) for one in made]}")
        history = branch.ages.of(branch.main().layers)
        kinds = [one.kind for one in history]
        assert kinds == [Kind.IMAGE, Kind.DELTA, Kind.DELTA, Kind.IMAGE, Kind.DELTA], kinds
        assert branch.redo(moment(world, "a large table").lsn) == []
        for one in world.noted():
            tip = branch.tips.get(stack_for(history, one.lsn))
            assert tip.end <= one.lsn
            _opens_at(world, tip, one)
        assert not branch.growth.making()


def redo_without_a_checkpoint(world: World) -> None:
    """Nothing is gained by WAL that holds no newer checkpoint, so there is no layer."""
    before = sorted(world.layers.iterdir())
    assert replayed(world, world.tip(), world.wal, moment(world, "rows").lsn) is None
    assert sorted(world.layers.iterdir()) == before


def redo_of_damaged_wal(world: World) -> None:
    """Damaged WAL makes no layer, wherever it ends."""
    end = moment(world, "databases").lsn
    before, rng = sorted(world.layers.iterdir()), random.Random(2)
    for at in (end.value - 10, *(rng.randrange(world.tip().end.value, end.value - 8192) for _ in range(3))):
        wal = flipped(world, at)
        said = words_of(partial(replayed, world, world.tip(), wal, end))
        assert "recovery ended before configured recovery target was reached" in said, said
    assert sorted(world.layers.iterdir()) == before


def redo_that_is_called_off(world: World) -> None:
    """A job that is ended leaves no process, no scratch and no layer."""
    before = sorted(world.layers.iterdir())

    def watch() -> None:
        raise TimeoutError("called off")

    try:
        replayed(world, world.tip(), world.wal, moment(world, "a large table").lsn, watch)
    except TimeoutError:
        assert sorted(world.layers.iterdir()) == before
        assert not list((world.home / "scratch").iterdir())
        assert not diffs.servers()
        return
    raise AssertionError("the job was over before it was called off")


def redo_once(world: World) -> None:
    """A job that `redo_that_is_killed` kills."""
    replayed(world, world.tip(), world.wal, moment(world, "a large table").lsn)


def redo_that_is_killed(world: World) -> None:
    """kill -9 at any time leaves the tip as it was, and no layer that is not whole."""
    rng = random.Random(3)
    command = [sys.executable, "-m", "tests.moment.inside", str(world.home), str(world.shim), "redo_once"]
    before = set(world.layers.glob("*.index"))
    for _ in range(4):
        job = subprocess.Popen(command)
        with suppress(subprocess.TimeoutExpired):
            job.wait(rng.uniform(0.8, 3.5))
        job.kill()
        job.wait()
        wait.until("the orphaned server to end", lambda: not diffs.servers(), wait.Deadline.after(60))
        # As the pageserver does when it starts; there is none yet if the job was killed before it began.
        shutil.rmtree(world.home / "scratch", ignore_errors=True)
    durable.sweep(world.layers)
    assert not list(world.layers.glob(".*"))
    for path in set(world.layers.glob("*.index")) - before:
        made = LayerFiles.of(world.layers, UUID(path.stem))
        check_layer(made.pages, made.index, made.meta)
    end = moment(world, "rows").lsn
    paths = opened(world, end)
    with world.running(paths):
        world.check(paths, end)
        assert world.dumps(paths) == moment(world, "rows").dumps


def replayed(
    world: World, tip: Tip, wal: Path, end: Lsn, watch: Callable[[], None] = lambda: None
) -> LayerFiles | None:
    (world.home / "scratch").mkdir(exist_ok=True)
    job = Redo(version(17), world.shim, world.maps, world.layers, world.home / "scratch")
    return job.run(tip, Cut(wal, end), world.last_record(tip.control.redo, end), new_id(), watch)


# ---- more of moments


def boundaries(world: World) -> None:
    """Both forms of a moment at the start of a page and of a segment are among those that are tried."""
    page, segment = moment(world, "start of a page").lsn, moment(world, "start of a segment").lsn
    assert len(_same_moment(page)) == 2
    assert len(_same_moment(segment)) == 2
    assert segment.value % SEGMENT == LONG, segment


def lives_on(world: World) -> None:
    """An opened branch is a primary like any other, on its parent's timeline, and survives kill -9."""
    end = moment(world, "single rows").lsn
    paths = opened(world, end)
    with world.running(paths) as session:
        world.check(paths, end)
        session.execute("INSERT INTO kept VALUES (9001, 1, 'mine')")
        row = session.execute(
            "SELECT timeline_id, pg_is_in_recovery() FROM pg_control_checkpoint()"
        ).fetchone()
        assert row == (world.tip().control.timeline, False)
    with world.running(paths) as session:
        found = session.execute("SELECT id FROM kept WHERE id > 6048 ORDER BY 1").fetchall()
        assert found == [(6049,), (9001,)]
        world.amcheck(paths)


def writes_of_its_own(world: World) -> None:
    """Its parent's commits are not its own: it has none before it was started, none by starting, then one."""
    for name in ("single rows", "start of a page", "start of a segment"):
        for end in _same_moment(moment(world, name).lsn):
            scan = WriteScan(version(17))
            paths = opened(world, end)
            assert not scan.has_writes(paths.wal, end), f"laid out at {end}"
            with world.running(paths) as session:
                assert not scan.has_writes(paths.wal, end), f"started at {end}"
                session.execute("INSERT INTO kept VALUES (9001, 1, 'mine')")
                assert scan.has_writes(paths.wal, end), f"written after {end}"


def flipped_commit(world: World) -> None:
    """A damaged last record ends crash recovery early, without an error of its own; the gate refuses."""
    end = moment(world, "single rows").lsn
    paths = opened(world, end, flipped(world, end.value - 10))
    with world.running(paths) as session:
        # Postgres has opened all the same: without the gate a committed row would be gone unnoticed.
        assert session.execute("SELECT max(id) FROM kept").fetchone() == (6048,)
        refused(world, paths, end)


def flipped_anywhere(world: World, flips: int = 10, seed: int = 1) -> None:
    """A flipped byte is refused, wherever it is, or it was of no account and the content is right."""
    one, rng = moment(world, "truncated and dropped"), random.Random(seed)
    closed = 0
    for _ in range(flips):
        at = rng.randrange(world.tip().control.redo.value, one.lsn.value)
        if not _opens(world, one, flipped(world, at)):
            closed += 1
    print(f"{closed} of {flips} flipped bytes were refused, the others did not matter")
    assert closed > flips // 2


def _opens(world: World, one: Noted, wal: Path) -> bool:
    """Whether it passes the gate; then it must have everything."""
    try:
        paths = opened(world, one.lsn, wal)
        with world.running(paths):
            world.check(paths, one.lsn)
            assert world.dumps(paths) == one.dumps
    except Corrupt:
        return False
    return True


def not_a_records_end(world: World) -> None:
    """In the middle of a record there is no moment."""
    end = moment(world, "single rows").lsn
    for off in (-8, -16, 8, 16, 24):
        paths = opened(world, Lsn(end.value + off))
        with world.running(paths):
            refused(world, paths, Lsn(end.value + off))


def refused(world: World, paths: ComputePaths, end: Lsn) -> None:
    """The gate says that the running server did not open at `end`."""
    said = words_of(lambda: world.check(paths, end))
    assert f"did not open at {end}" in said, said


def words_of(call: Callable[[], object]) -> str:
    """What it raises `Corrupt` with."""
    try:
        call()
    except Corrupt as error:
        return f"{error.message}. {error.detail}"
    raise AssertionError("nothing was found to be wrong")


def stale_tail(world: World) -> None:
    """What a segment held behind the moment is not replayed, even where the records join without a gap."""
    one = moment(world, "rows")
    paths = opened(world, one.lsn)
    name = segment_name(1, one.lsn, SEGMENT)
    at = one.lsn.value % SEGMENT
    assert (world.wal / name).read_bytes()[at:].strip(b"\0"), "the source has nothing behind the moment"
    assert not (paths.wal / name).read_bytes()[at:].strip(b"\0")
    with world.running(paths) as session:
        world.check(paths, one.lsn)
        assert session.execute("SELECT to_regclass('made')").fetchone() == (None,)
    # The zeros are what does it: with the source's own tail everything later is there, and the gate sees it.
    paths = opened(world, one.lsn)
    for path in world.wal.iterdir():
        if path.is_file():
            shutil.copyfile(path, paths.wal / path.name)
    with world.running(paths) as session:
        assert session.execute("SELECT to_regclass('made')").fetchone() != (None,)
        refused(world, paths, one.lsn)


def later_checkpoint(world: World) -> None:
    """Whoever looks late, after another checkpoint, still sees where recovery ended."""
    end = moment(world, "rows").lsn
    paths = opened(world, end)
    with world.running(paths) as session:
        session.execute("CHECKPOINT")
        session.execute("INSERT INTO kept VALUES (9001, 1, 'ours')")
        session.execute("CHECKPOINT")
        world.check(paths, end)
    paths = opened(world, end, flipped(world, end.value - 10))
    with world.running(paths) as session:
        session.execute("INSERT INTO kept SELECT n, 0, repeat('x', 500) FROM generate_series(9001, 9100) n")
        session.execute("CHECKPOINT")
        refused(world, paths, end)


def wal_refused(world: World) -> None:
    """WAL that is missing, too short or of another history fails the layout, and names the segment."""
    end = moment(world, "a large table").lsn
    first = segment_name(1, world.tip().control.redo, SEGMENT)
    last = segment_name(1, end, SEGMENT)
    assert first != last
    for name in (first, last):
        wal = copied(world)
        (wal / name).unlink()
        layout_refused(world, Cut(wal, end), name)
    wal = copied(world)
    with (wal / last).open("r+b") as file:
        file.truncate(end.value % SEGMENT - 1)
    layout_refused(world, Cut(wal, end), last)
    tip = world.tip()
    layout_refused(world, Cut(flipped(world, tip.end.value - 20), end), str(tip.control.checkpoint))
    layout_refused(world, Cut(flipped(world, tip.end.value - 2), end), first)  # padding: no CRC covers it


def layout_refused(world: World, cut: Cut, word: str) -> None:
    paths = ComputePaths(world.home / "refused")
    paths.root.mkdir(exist_ok=True)
    said = words_of(lambda: lay_out(paths, world.tip(), _BRANCH, cut))
    assert word in said, said


def end_of_the_layer(world: World) -> None:
    """A moment that is the end of a clean layer needs no WAL and no recovery: nothing differs."""
    tip = world.tip()
    trees = []
    for cut in (None, Cut(Path("/nowhere"), tip.end)):
        paths = ComputePaths(world.home / "clean")
        shutil.rmtree(paths.root, ignore_errors=True)
        paths.root.mkdir()
        lay_out(paths, tip, _BRANCH, cut)
        trees.append({path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()})
        assert ControlFile.read(paths.control).state is DbState.SHUT_DOWN
    assert trees[0] == trees[1]
    paths = world.laid_out("branch", world.tip())
    with world.running(paths):
        session = gate.SocketSession(paths, 5432, "unused")
        gate.check(
            gate.standing(session), gate.Expected(tip.control.system_identifier, tip.control.checkpoint)
        )
        session.close()


# ---- WAL that is not what it was


SCENARIOS: dict[str, Callable[[World], None]] = {
    one.__name__: one
    for one in (
        make,
        content,
        redo,
        redo_jobs_and_folds,
        redo_folds_and_collection,
        redo_without_a_checkpoint,
        redo_of_damaged_wal,
        redo_that_is_called_off,
        redo_once,
        redo_that_is_killed,
        boundaries,
        lives_on,
        writes_of_its_own,
        flipped_commit,
        flipped_anywhere,
        not_a_records_end,
        stale_tail,
        later_checkpoint,
        wal_refused,
        end_of_the_layer,
        *diffs.SCENARIOS,
    )
}

if __name__ == "__main__":
    home, shim, scenario = sys.argv[1:]
    try:
        SCENARIOS[scenario](World(Path(home), Path(shim)))
    except NeonError as error:
        print(error.message, error.detail, sep="\n")
        raise
