"""What is made of two visits; what a real Postgres says at moments is tested in tests/moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neon_compose import wait
from neon_compose.compute.paths import ComputePaths
from neon_compose.disks import Disks
from neon_compose.errors import Corrupt, NotFound, Unavailable
from neon_compose.layer.keys import BLOCK
from neon_compose.layer.overlay import HEADER_SIZE
from neon_compose.model.names import Name
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster
from neon_compose.pageserver.app import make_app
from neon_compose.pageserver.diffing import Differ, Side
from neon_compose.pageserver.jobs import Job
from neon_compose.wire import ndjson
from neon_compose.wire.diff import Change, Diff, DiffSide, Pages
from neon_compose.wire.pageserver_client import PageserverClient
from tests.serving import Switch
from tests.unit.layer.pgdata import page
from tests.unit.pageserver.scratch import FakeVisited, quiet_job
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_app import TOKEN, service_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    """With a branch that is at another moment of its own."""
    found = World(tmp_path)
    found.branches.create("try", "main", None)
    return found


BEFORE, AFTER = Side("main", None), Side("try", None)


Said = Mapping[str, Any]  # how a server differs from the usual one


def visits(world: World, before: Said, after: Said) -> tuple[Differ, list[FakeVisited]]:
    """A differ whose servers say this, in turn; and those that there were."""
    made: list[FakeVisited] = []

    def make(home: Path, environment: Mapping[str, str]) -> FakeVisited:
        server = FakeVisited(home, environment, **(after if made else before))
        made.append(server)
        return server

    return world.differ(make), made


def diffed(world: World, before: Said, after: Said) -> Diff:
    found = visits(world, before, after)[0].diff(BEFORE, AFTER, quiet_job())
    assert not list(world.scratch.iterdir())
    return found


def write(path: str, block: int, data: bytes, bit: int, home: Path) -> None:
    """What recovery does to a page: the file has it, the overlay a bit."""
    paths = ComputePaths(home)
    with (paths.data / path).open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(data)
    with paths.overlay.open("r+b") as overlay:
        overlay.seek(HEADER_SIZE + bit // 8)
        overlay.write(bytes([1 << bit % 8]))


T = ("public.t", "table", "", False, 1259)


def test_without_a_difference_there_is_nothing_to_tell(world: World) -> None:
    found = diffed(world, {}, {})
    assert found.databases == []
    assert (found.before.branch, found.after.branch) == ("main", "try")


def test_one_moment_is_not_even_opened(world: World) -> None:
    differ, made = visits(world, {}, {})
    assert differ.diff(BEFORE, Side(None, Name("init")), quiet_job()).databases == []
    assert made == []


def test_the_schema_is_a_unified_diff_with_both_moments(world: World) -> None:
    (found,) = diffed(world, {}, {"ddl": "CREATE TABLE t ();\nCREATE VIEW \xff;\n"}).databases
    lines = found.ddl.splitlines()
    assert lines[0].startswith("--- shop/main@")
    assert lines[1].startswith("+++ shop/try@")
    assert all(line.endswith(" postgres") for line in lines[:2])
    assert lines[3:] == [" CREATE TABLE t ();", "+CREATE VIEW \xff;"]
    assert found.tables == []


def test_a_page_that_recovery_wrote_is_changed_unless_it_says_the_same(world: World) -> None:
    other = partial(write, "base/5/1259", 1, page(77), 1)
    (found,) = diffed(world, {}, {"on_run": other}).databases
    (table,) = found.tables
    assert (table.name, table.kind, table.change) == ("public.t", "table", Change.CHANGED)
    assert table.pages == Pages(before=2, after=2, changed=1)
    assert table.index_pages == Pages()
    same = partial(write, "base/5/1259", 1, page(2), 1)
    assert diffed(world, {}, {"on_run": same}).databases == []


def test_tables_of_one_side_and_rewritten_ones_count_as_a_whole(world: World) -> None:
    new, moved = ("public.new", "table", "", False, 1259), ("public.t", "table", "", False, 16384)
    changes = {
        Change.ADDED: ([], [T], Pages(after=2, changed=2)),
        Change.REMOVED: ([T], [], Pages(before=2, changed=2)),
        Change.REWRITTEN: ([T], [moved], Pages(before=2, changed=2)),
    }
    for change, (before, after, pages) in changes.items():
        (found,) = diffed(world, {"tables": before}, {"tables": after}).databases
        assert [(one.change, one.pages) for one in found.tables] == [(change, pages)]
    (found,) = diffed(world, {"tables": [T]}, {"tables": [new]}).databases
    assert [(one.name, one.change) for one in found.tables] == [
        ("public.new", Change.ADDED),
        ("public.t", Change.REMOVED),
    ]


def test_an_index_in_another_file_is_told_of_its_table(world: World) -> None:
    def table(index_file: int) -> dict[str, Any]:
        return {"tables": [T, ("public.t", "table", "t_key", True, index_file)]}

    (found,) = diffed(world, table(16384), table(1259)).databases
    (one,) = found.tables
    assert (one.change, one.pages.changed, one.index_pages.changed) == (Change.CHANGED, 0, 2)


def test_databases_of_one_side_are_named_and_closed_ones_opened(world: World) -> None:
    rows = [("a", 1, True), ('clo"sed', 6, False), ("postgres", 5, True)]
    differ, made = visits(world, {"databases": rows[:2]}, {"databases": rows[1:]})
    found = differ.diff(BEFORE, AFTER, quiet_job()).databases
    assert [(one.name, one.change) for one in found] == [("a", Change.REMOVED), ("postgres", Change.ADDED)]
    opened = 'postgres: ALTER DATABASE "clo""sed" ALLOW_CONNECTIONS true'
    assert [one.done for one in made] == [["start", opened, "stop"]] * 2


def test_what_prepared_transactions_have_locked_is_let_go(world: World) -> None:
    differ, made = visits(world, {"prepared": [("postgres", "o'ne")]}, {})
    differ.diff(BEFORE, AFTER, quiet_job())
    assert made[0].done == ["start", "postgres: ROLLBACK PREPARED 'o''ne'", "stop"]


def test_another_clusters_files_are_no_longer_the_same(world: World) -> None:
    """A refresh brings another cluster, in which the same number may be any other file."""
    other = Cluster(4711, "postgres")
    branch = manifests.read_branch(world.store, "try")
    manifests.update_manifest(world.store, branch.branch_id, lambda found: replace(found, cluster=other))
    (found,) = diffed(world, {}, {"identifier": 4711}).databases
    assert [(one.change, one.pages.changed) for one in found.tables] == [(Change.REWRITTEN, 2)]
    with pytest.raises(Corrupt, match="another cluster"):
        diffed(world, {}, {})


@pytest.mark.parametrize(
    "side", [Side(None, Name("nothing")), Side("nowhere", None), Side("try", Name("none"))]
)
def test_a_moment_that_is_none_is_not_found_and_nothing_is_opened(world: World, side: Side) -> None:
    differ, made = visits(world, {}, {})
    for pair in ((BEFORE, side), (side, BEFORE)):
        with pytest.raises(NotFound):
            differ.diff(*pair, quiet_job())
    assert made == []


def test_a_failure_leaves_nothing_and_the_next_one_runs(world: World) -> None:
    def fail(_: Path) -> None:
        raise Corrupt("broken")

    differ, _ = visits(world, {}, {"on_run": fail})
    with pytest.raises(Corrupt):
        differ.diff(BEFORE, AFTER, quiet_job())
    assert not list(world.scratch.iterdir())
    assert differ.layers_in_use() == frozenset()
    assert diffed(world, {}, {}).databases == []


@pytest.mark.parametrize("state", ["start", "done"])
def test_a_call_that_is_given_up_leaves_nothing(world: World, state: str) -> None:
    def emit(step: ndjson.Step) -> None:
        if step.state == state:
            job.cancel()

    job = Job(emit)
    with pytest.raises(Unavailable, match="cancelled"):
        world.differ().diff(BEFORE, AFTER, job)
    assert not list(world.scratch.iterdir())


def test_diffs_come_one_after_the_other_and_their_layers_are_in_use_meanwhile(world: World) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def stay(_: Path) -> None:
        entered.set()
        assert go_on.wait(10)

    differ, made = visits(world, {"on_run": stay}, {})
    threads = [threading.Thread(target=differ.diff, args=(BEFORE, AFTER, quiet_job())) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    assert differ.layers_in_use() == set(manifests.read_branch(world.store, "main").layers)
    given_up = quiet_job()
    given_up.cancel()
    with pytest.raises(Unavailable, match="cancelled"):
        differ.diff(BEFORE, AFTER, given_up)
    assert len(made) == 1
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 4
    assert not differ.layers_in_use()


# ---- over HTTP


@pytest.fixture
def client(server: tuple[Switch, str], world: World) -> Iterator[PageserverClient]:
    switch, address = server
    switch.app = make_app(service_of(world), TOKEN, Disks(()))
    with PageserverClient(address, TOKEN) as client:
        yield client


def test_a_diff_streams_its_steps_and_then_its_result(client: PageserverClient) -> None:
    *steps, last = client.diff(DiffSide(moment="init"), DiffSide(branch="try"))
    names = [one.name for one in steps if isinstance(one, ndjson.Step) and one.state == "done"]
    assert [name.split("@")[0] for name in names] == ["open shop/main", "open shop/try", "compare"]
    assert isinstance(last, ndjson.Result)
    assert Diff.model_validate(last.result).databases == []


def test_a_moment_that_is_none_is_a_problem_and_its_only_line(client: PageserverClient) -> None:
    with pytest.raises(NotFound):
        next(client.diff(DiffSide(moment="nothing"), DiffSide(branch="try")))
    with pytest.raises(NotFound):
        next(client.diff(DiffSide(branch="main", moment="0/1"), DiffSide(branch="try")))


def test_a_client_that_leaves_ends_its_diff(world: World, client: PageserverClient) -> None:
    events = client.diff(DiffSide(moment="init"), DiffSide(branch="try"))
    next(events)
    events.close()
    wait.until("the diff to end", lambda: not list(world.scratch.iterdir()), wait.Deadline.after(10))
