from __future__ import annotations

import time
from dataclasses import replace

import pytest

from neon_compose.controller import pgs, plan, steps
from neon_compose.engine.runtime import ContainerSpec
from neon_compose.errors import TimedOut, Unavailable
from neon_compose.model.states import Component, Durability, PgState
from neon_compose.wire.rest import PgAction, PgIn, PgVerb
from tests.site import Fixture


def dies(spec: ContainerSpec) -> tuple[int, list[str]] | None:
    if spec.component is Component.COMPUTE:
        return 1, ["LOG:  starting", 'FATAL:  could not load library "nope"']
    return None


def test_a_compute_that_ends_while_it_is_opened_fails_at_once_with_its_last_log_lines(shop: Fixture) -> None:
    shop.engine.program = dies
    begun = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
    assert time.monotonic() - begun < 2
    assert caught.value.code == "compute_ended"
    assert "could not load library" in caught.value.detail
    assert shop.site.documents.read().pgs == {}
    assert "t_pg_a" not in shop.engine.boxes


def test_the_pageserver_is_told_the_durability_and_where_the_compute_is(shop: Fixture) -> None:
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", durability=Durability.OFF, start=True))
    compute = shop.pageservers.store("shop").computes["a"]
    (pod,) = shop.site.snapshot().pods()
    assert pod.ip
    assert (compute.durability, compute.host) == (Durability.OFF, pod.ip)
    compute.host = ""
    snap = shop.site.snapshot()
    with shop.site.execution(snap) as execution:
        execution.run(plan.plan_reopen(snap, snap.pg("a")))
    assert compute.host == pod.ip


def test_a_compute_is_opened_again_as_it_runs_and_not_as_a_restart_would_make_it(shop: Fixture) -> None:
    """Port and durability were changed, and the controller died before the pg was restarted."""
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", durability=Durability.LOCAL, start=True))
    changed = PgIn(name="a", storage_name="shop", durability=Durability.OFF, port=15440)
    pgs.put(shop.site, changed)
    compute = shop.pageservers.store("shop").computes["a"]
    snap = shop.site.snapshot()
    *before, last = plan.plan_reopen(snap, snap.pg("a")).steps
    assert isinstance(last, steps.Open)
    with shop.site.execution(snap) as execution:
        execution.run(steps.Plan((*before, replace(last, wait_s=0.2))))
    assert compute.durability is Durability.LOCAL
    assert pgs.show(shop.site, "a").restart_needed


def test_a_gate_that_takes_long_is_waited_for(shop: Fixture) -> None:
    shop.pageservers.open_blocks_s = 0.3
    out = pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
    assert isinstance(out, tuple)
    assert out[0].state is PgState.RUNNING


def test_a_gate_that_stays_shut_times_out_and_leaves_no_container(shop: Fixture) -> None:
    pgs.put(shop.site, PgIn(name="a", storage_name="shop"))
    shop.pageservers.never_opens = True
    snap = shop.site.snapshot()
    *others, last = plan.plan_start(snap, snap.pg("a")).steps
    assert isinstance(last, steps.Open)
    short = steps.Plan((*others, replace(last, wait_s=0.2)))
    shop.engine.said = ["LOG:  redo in progress, elapsed time: 890.00 s"]
    with pytest.raises(TimedOut) as caught, shop.site.execution(snap) as execution:
        execution.run(short)
    error = caught.value
    assert (error.code, error.message) == ("not_opened", 'pg "a" did not open within 0 s')
    assert "Waited for" in error.detail
    assert "redo in progress" in error.detail
    assert "pg start a" in error.hint
    assert "logs -f pg_a" in error.hint
    assert "t_pg_a" not in shop.engine.boxes
    assert shop.site.snapshot().pg("a") == snap.pg("a")


def test_starting_what_runs_is_success(shop: Fixture) -> None:
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
    before = shop.engine.contents()
    out = pgs.act(shop.site, "a", PgAction(action=PgVerb.START))
    assert out.state is PgState.RUNNING  # type: ignore[union-attr]
    assert shop.engine.contents() == before
