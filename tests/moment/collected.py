"""Moments of a life of chance, while its WAL becomes layers, layers are folded, and layers and WAL that no
moment needs are removed. Runs inside a container."""

from __future__ import annotations

import os
import random
import shutil
from datetime import UTC, timedelta
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import Corrupt, NotFound
from neon_compose.layer.history import stack_for
from neon_compose.layer.index import Kind
from neon_compose.model.lsn import Lsn
from neon_compose.model.moments import Settled, Time
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Point
from neon_compose.pageserver.collecting import Window, window_start
from neon_compose.postgres.cut import Cut
from tests.moment.chance import Seen, counted, live
from tests.moment.grown import Branch, grown
from tests.moment.world import World

SEED, DEEDS = "CHANCE_SEED", "CHANCE_DEEDS"
_AHEAD = 32  # SEQ_LOG_VALS: what a recovered sequence may be ahead
_ROUNDS = 4


def redo_folds_and_collection(world: World) -> None:
    """After each of them a moment that is pinned or in the window opens over the layers that it had, as its
    parent was then. Any other one does that too, or it is refused by name; one outside of history is refused
    with the range there is."""
    rng, since = random.Random(int(os.environ[SEED])), wait.now()
    parent = world.laid_out("chance", world.tip(), wal_keep_size="1GB")
    seen = live(world, parent, rng, int(os.environ[DEEDS]))
    wal = world.home / "chance-wal"
    shutil.copytree(parent.wal, wal)
    shutil.rmtree(parent.root)
    made: set[UUID] = set()
    folded: set[UUID] = set()
    dropped = gone = 0
    with grown(world, wal, since) as branch:
        for number in range(1, _ROUNDS + 1):
            past = seen[: max(1, len(seen) * number // _ROUNDS)]
            branch.redo(past[-1].lsn)
            before = branch.ages.of(branch.main().layers)
            made |= set(branch.main().layers)
            folded |= {one.layer for one in before[1:] if one.kind is Kind.IMAGE}
            _pin(branch, rng.choice(past), f"pin-{number}")
            window = Window(timedelta(days=7), rng.choice((0, 1 << 20, 3 << 20)))
            branch.collect(window)
            since_lsn = window_start(branch.ages.of(branch.main().layers), wait.now(), window)
            dropped += branch.drop_wal(since_lsn)
            kept = _kept(branch, past, since_lsn)
            for one in kept:
                after = branch.ages.of(branch.main().layers)
                assert stack_for(after, one.lsn) == stack_for(before, one.lsn), (
                    f"{one.lsn}, since {since_lsn}"
                )
            one = rng.choice(kept)
            _opens(world, branch, one, one.lsn)
            # A time is told by the commits around it, which the window has but for its first moment.
            for one in [one for one in kept if one.lsn >= since_lsn][1:][-1:]:
                _opens(world, branch, one, Time(one.at.astimezone(UTC)))
            others = [one for one in past if one not in kept]
            there = [one for one in others if _is_there(branch, one)]
            gone += len(others) - len(there)
            for one in there[-1:]:
                _opens(world, branch, one, one.lsn)
        for name in (f"pin-{n}" for n in range(1, _ROUNDS + 1)):
            lsn = manifests.read_snapshot(branch.store, name).ref.lsn
            _opens(world, branch, next(one for one in seen if one.lsn == lsn), lsn)
        _outside_is_refused(branch)
        left = set(branch.main().layers)
        print(f"{len(seen)} moments, {dropped} segments removed, {gone} times a moment was gone with them")
        print(f"{len(made)} layers, {len(folded)} by folding, {len(made - left)} removed")
        assert dropped
        assert gone
        assert folded
        assert made - left
        assert {one for one in made if list(world.layers.glob(f"{one}.*"))} == left


def _pin(branch: Branch, one: Seen, name: str) -> None:
    manifests.create_snapshot(branch.store, name, Point(branch.main().branch_id, one.lsn))


def _kept(branch: Branch, past: list[Seen], since: Lsn) -> list[Seen]:
    """The moments that can be opened whatever was removed."""
    pinned = {pin.lsn for pin in branch.main().pins}
    return [one for one in past if one.lsn >= since or one.lsn in pinned]


def _is_there(branch: Branch, one: Seen) -> bool:
    """Whether it can be opened still, though nothing needs it."""
    try:
        branch.moments.start("main", one.lsn)
    except NotFound:
        return False
    except Corrupt as error:
        if "is missing" in error.message:
            return False
        raise
    return True


def _opens(world: World, branch: Branch, one: Seen, moment: Settled) -> None:
    start = branch.moments.start("main", moment)
    tip = branch.tips.get(start.layers)
    end = start.point.lsn
    cut = None if end == tip.end and not tip.replays_at_end else Cut(branch.wal.folder.path, end)
    paths = world.laid_out("branch", tip, cut)
    with world.running(paths):
        if cut is not None:
            world.check(paths, end)
        if moment == one.lsn:  # sequences heed no commit: one by time has all that comes before the next
            for database, value in one.counted.items():
                found = counted(paths, database)
                assert value <= found <= value + _AHEAD, f"sequence of {database} at {end}: {found}, {value}"
        assert world.dumps(paths) == one.dumps, f"{moment} over {len(tip.layers)} layers"
        world.amcheck(paths)


def _outside_is_refused(branch: Branch) -> None:
    first = branch.ages.of(branch.main().layers)[0].consistent
    last = branch.wal.end(branch.main())
    for moment in (Lsn(first.value - 1), Lsn(last.value + 64), Time(wait.now() - timedelta(days=1))):
        said = _refusal(branch, moment)
        assert f"from {first} (" in said, said
        assert said.endswith(f"to {last}."), said


def _refusal(branch: Branch, moment: Settled) -> str:
    try:
        branch.moments.start("main", moment)
    except NotFound as error:
        return error.detail
    raise AssertionError(f"{moment} was opened")
