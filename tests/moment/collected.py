"""Moments of a life of chance, while its WAL becomes layers, layers are folded, and those that no moment
needs are removed. Runs inside a container."""

from __future__ import annotations

import os
import random
import shutil
from datetime import UTC, timedelta
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import NotFound
from neon_compose.layer.history import Aged, stack_for
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
_ROUNDS = 5


def redo_folds_and_collection(world: World) -> None:
    """After each of them a moment that is pinned or in the window opens over the layers that it had, every
    moment opens as its parent was then, and one outside of history is refused with the range there is."""
    rng, since = random.Random(int(os.environ[SEED])), wait.now()
    parent = world.laid_out("chance", world.tip(), wal_keep_size="1GB")
    seen = live(world, parent, rng, int(os.environ[DEEDS]))
    wal = world.home / "chance-wal"
    shutil.copytree(parent.wal, wal)
    shutil.rmtree(parent.root)
    made: set[UUID] = set()
    folded: set[UUID] = set()
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
            _kept_what_is_needed(branch, before, past, window)
            for one in rng.sample(past, min(2, len(past))):
                _opens(world, branch, one, rng.choice((one.lsn, Time(one.at.astimezone(UTC)))))
        for name in (f"pin-{n}" for n in range(1, _ROUNDS + 1)):
            lsn = manifests.read_snapshot(branch.store, name).ref.lsn
            _opens(world, branch, next(one for one in seen if one.lsn == lsn), lsn)
        _outside_is_refused(branch)
        left = set(branch.main().layers)
        print(
            f"{len(seen)} moments, {len(made)} layers, {len(folded)} by folding, {len(made - left)} removed"
        )
        assert folded
        assert made - left
        assert {one for one in made if list(world.layers.glob(f"{one}.*"))} == left


def _pin(branch: Branch, one: Seen, name: str) -> None:
    manifests.create_snapshot(branch.store, name, Point(branch.main().branch_id, one.lsn))


def _kept_what_is_needed(branch: Branch, before: list[Aged], past: list[Seen], window: Window) -> None:
    main = branch.main()
    after = branch.ages.of(main.layers)
    since = window_start(before, wait.now(), window)
    pinned = {pin.lsn for pin in main.pins}
    for one in past:
        if one.lsn >= since or one.lsn in pinned:
            assert stack_for(after, one.lsn) == stack_for(before, one.lsn), f"{one.lsn}, kept from {since}"


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
