"""A stack's safekeepers: made before all else, later more and never fewer, and what pgs do with them."""

from __future__ import annotations

from typing import Any

import pytest

from neon_compose.controller import pgs, stack
from neon_compose.engine.runtime import ContainerSpec, ContainerState, Kind
from neon_compose.errors import Invalid
from neon_compose.model.states import Component, Durability
from neon_compose.wire.rest import PgAction, PgIn, PgOut, PgVerb, StackIn, StackOut
from tests.site import Fixture

CONFIG: dict[str, Any] = {
    "name": "t",
    "minio": False,
    "storages": {"main": {}},
    "pgs": {"main": {"storage_name": "main"}},
}


def up(fixture: Fixture, **more: Any) -> StackOut:
    """Without a problem."""
    out = stack.apply(fixture.site, StackIn(config=CONFIG | more))
    assert out.problems == []
    return out


def hosts(fixture: Fixture) -> str:
    return str(fixture.engine.boxes["t_storage_main"].spec.env["NEON_SAFEKEEPERS"])


def put(fixture: Fixture, **more: Any) -> PgOut:
    out = pgs.put(fixture.site, PgIn(name="a", storage_name="main", from_="main@init", **more))
    assert isinstance(out, tuple)
    return out[0]


def keepers(fixture: Fixture) -> list[str]:
    return [name for name in sorted(fixture.engine.boxes) if "_safekeeper_" in name]


def test_they_run_before_pageservers_and_at_their_fixed_addresses(bare: Fixture) -> None:
    up(bare, safekeepers=2)
    starts = [call for call in bare.engine.calls if call.startswith("start t_s")]
    assert sorted(starts[:2]) == ["start t_safekeeper_1", "start t_safekeeper_2"]
    (net,) = bare.engine.observe("t", (Kind.NETWORK,)).networks
    prefix = net.subnets[0].removesuffix("0/24")
    ends = [bare.engine.boxes[f"t_safekeeper_{number}"].joined["t_net"] for number in (1, 2)]
    assert ends == [f"{prefix}2", f"{prefix}3"]
    assert hosts(bare) == "safekeeper-1,safekeeper-2"


def test_a_stack_without_any_has_pgs_that_keep_their_own(bare: Fixture) -> None:
    up(bare, safekeepers=0)
    assert keepers(bare) == []
    assert hosts(bare) == ""
    assert put(bare).durability is Durability.LOCAL
    with pytest.raises(Invalid) as caught:
        put(bare, durability=Durability.QUORUM)
    assert caught.value.code == "no_safekeepers"
    assert "safekeepers: 1" in caught.value.hint


def test_one_more_is_made_and_every_pageserver_is_told(bare: Fixture) -> None:
    up(bare, safekeepers=0)
    up(bare)
    assert keepers(bare) == ["t_safekeeper_1"]
    assert hosts(bare) == "safekeeper-1"
    assert {doc.durability for doc in bare.site.documents.read().pgs.values()} == {Durability.LOCAL}


def test_asking_for_fewer_removes_none_and_says_so(bare: Fixture) -> None:
    up(bare, safekeepers=2)
    (note,) = up(bare, safekeepers=0).notes
    assert "keeps its 2 safekeepers" in note
    assert keepers(bare) == ["t_safekeeper_1", "t_safekeeper_2"]
    assert hosts(bare) == "safekeeper-1,safekeeper-2"
    bare.engine.remove(Kind.CONTAINER, "t_safekeeper_2")
    stack.bring_back(bare.again())
    assert bare.engine.running("t_safekeeper_2")


def test_newer_ones_take_turns_so_that_most_of_them_are_always_up(bare: Fixture) -> None:
    up(bare, safekeepers=3)
    bare.engine.stop("t_safekeeper_2", 1)
    doc = bare.site.documents.read().stack
    bare.site.documents.put(doc.model_copy(update={"images": {**doc.images, "safekeeper": "newer:2"}}))
    seen = len(bare.engine.calls)
    up(bare, safekeepers=3)
    news = [call for call in bare.engine.calls[seen:] if "safekeeper" in call and "volume" not in call]
    assert news == [
        f"{what} t_safekeeper_{number}"
        for number in (2, 1, 3)  # the one that is down anyway comes first
        for what in ("stop", "remove container", "create", "start")
    ]


def test_a_newer_one_that_does_not_come_up_keeps_the_others_as_they_are(
    bare: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neon_compose.controller.execute._HEALTHY_S", 0.1)
    up(bare, safekeepers=3)
    bare.engine.program = lambda spec: (1, ["no such symbol"]) if spec.image == "newer:2" else None
    request = StackIn(config=CONFIG | {"safekeepers": 3}, images={"safekeeper": "newer:2"})
    titles = [problem["title"] for problem in stack.apply(bare.site, request).problems]
    assert [title.partition(":")[0] for title in titles] == [f"safekeeper {number}" for number in (1, 2, 3)]
    assert "another safekeeper is down" in titles[1]
    assert bare.engine.running("t_safekeeper_2")
    assert bare.engine.running("t_safekeeper_3")


def test_the_plan_shows_those_that_will_be_made(bare: Fixture) -> None:
    rows = stack.dry_run(bare.site, StackIn(config=CONFIG | {"safekeepers": 1})).rows()
    assert ("create container", "t_safekeeper_1") in [(row["action"], row["target"]) for row in rows]
    assert keepers(bare) == []


def test_one_that_can_not_start_is_told_and_the_others_go_on(bare: Fixture) -> None:
    bare.engine.images = {"neon-compose-base:1", "neon-compose-pageserver:1", "neon-compose-compute:1"}
    out = stack.apply(bare.site, StackIn(config=CONFIG | {"safekeepers": 1}))
    (problem,) = out.problems
    assert problem["title"].startswith("safekeeper 1: ")
    assert bare.engine.running("t_pg_main")


def test_one_that_ends_at_once_is_left_to_the_engine(bare: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neon_compose.controller.execute._HEALTHY_S", 0.1)

    def broken(spec: ContainerSpec) -> tuple[int, list[str]] | None:
        return (1, ["control file is damaged"]) if spec.component is Component.SAFEKEEPER else None

    bare.engine.program = broken
    (problem,) = stack.apply(bare.site, StackIn(config=CONFIG)).problems
    assert "control file is damaged" in problem["detail"]
    assert bare.engine.boxes["t_safekeeper_1"].state is ContainerState.RESTARTING
    stack.stop(bare.site)
    assert bare.engine.boxes["t_safekeeper_1"].state is ContainerState.EXITED


def test_one_that_dies_needs_nobody_to_come_back(bare: Fixture) -> None:
    up(bare)
    bare.engine.end("t_safekeeper_1")
    assert bare.engine.running("t_safekeeper_1")


def test_a_pg_is_safe_with_them_by_default_and_stays_as_it_was_made(bare: Fixture) -> None:
    up(bare)
    assert put(bare, start=True).durability is Durability.QUORUM
    assert bare.pageservers.store("main").computes["a"].durability is Durability.QUORUM
    changed = put(bare, durability=Durability.LOCAL)
    assert (changed.durability, changed.restart_needed) == (Durability.LOCAL, True)
    assert put(bare).durability is Durability.LOCAL
    pgs.act(bare.site, "a", PgAction(action=PgVerb.RESTART))
    assert bare.pageservers.store("main").computes["a"].durability is Durability.LOCAL
    assert pgs.show(bare.site, "a").restart_needed is False


def test_what_a_stack_file_says_of_durability_holds_for_a_pg_that_is_there(bare: Fixture) -> None:
    up(bare)
    main = {"storage_name": "main", "durability": "local"}
    up(bare, pgs={"main": main})
    assert bare.site.documents.read().pgs["main"].durability is Durability.LOCAL
    up(bare)
    assert bare.site.documents.read().pgs["main"].durability is Durability.LOCAL
