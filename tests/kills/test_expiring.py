"""kill -9 of the controller before and after every step of a sweep: the next controller's sweep ends it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from neon_compose.controller.expiring import sweep
from neon_compose.wait import now
from tests.kills.mortal import Life
from tests.kills.test_controller import BRANCH, Before, arrived, killed_at, put, settled, shape, world
from tests.site import Fixture


def over(fixture: Fixture) -> None:
    """The branch of pg "a", which has writes, is past its time."""
    store = fixture.pageservers.store("shop")
    store.computes["a"].has_writes = True
    store.expires["a"] = now() - timedelta(seconds=1)


BEFORE = Before((put(**BRANCH),), over)


def test_a_sweep_that_was_cut_off_anywhere_is_ended_by_the_next_controller() -> None:
    with world(BEFORE) as fixture:
        life, before = Life(), shape(fixture)
        site = fixture.again(life)
        site.ready.set()
        sweep(site)
        after = settled(fixture, site)
    assert (before["documents"][1:], after["documents"][1:]) != ([], [])
    assert after["containers"] == {"t_storage_shop": "running"}
    seen: Counter[str] = Counter()
    assert len(life.moments) >= 10
    for moment in life.moments:
        seen[moment] += 1
        with world(BEFORE) as fixture:
            killed_at(fixture, sweep, moment, seen[moment])
            site = arrived(fixture)
            sweep(site)
            assert settled(fixture, site) == after, moment
