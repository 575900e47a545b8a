"""Full disks: every request says which, leaves nothing half made, and works once there is room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from neon_compose.wait import Deadline, until
from tests.e2e.small_disk import SmallDisk
from tests.e2e.stack import LABEL, Stack
from tests.e2e.writer import Writer

STORAGE = "tiny"
PAGES = 1500
FULL = "No space left on device"
# A row a page, so that an update of all rows is a little WAL and many blocks.
DUMP = f"""\
--
-- PostgreSQL database dump
--
CREATE TABLE wide (id int PRIMARY KEY, n int, filler text) WITH (fillfactor = 10);
INSERT INTO wide SELECT i, 0, repeat('x', 700) FROM generate_series(1, {PAGES}) i;
CREATE EXTENSION amcheck;
--
-- PostgreSQL database dump complete
--
"""


class Disks:
    """A stack, and two small disks: one for a storage's folder, one for its work volume."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.storage, self.work = SmallDisk(folder / "s", 128), SmallDisk(folder / "w", 384)
        self.volume = f"{stack.name}_work_{STORAGE}"
        stack.docker.volumes.create(
            self.volume,
            driver="local",
            driver_opts={"type": "none", "o": "bind", "device": str(self.work.data)},
            labels={LABEL: stack.name, "dev.neon-compose.storage": STORAGE},
        )
        self.dump = folder / "dump.sql"
        self.dump.write_text(DUMP)

    @property
    def attach(self) -> tuple[str, ...]:
        return ("storage", "attach", STORAGE, "--path", str(self.storage.data), "--import", str(self.dump))

    def pgs(self) -> Path:
        return self.work.data / "pg"

    def refused(self, place: str, *command: str) -> None:
        """The command fails as it should on a full disk, which it names."""
        ran = self.stack.run(*command)
        assert ran.code == 9, (ran, self.stack.logs())
        assert place in ran.err
        assert "is full" in ran.err
        assert "hint: Make room" in ran.err

    def scrap(self) -> None:
        for disk in (self.storage, self.work):
            disk.make_room()
            disk.scrap()


@pytest.fixture(scope="module")
def disks(module_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    disks = Disks(module_stack, tmp_path_factory.mktemp("disks"))
    try:
        yield disks
    finally:
        module_stack.down_and_check()  # else the disks are in use
        disks.scrap()


@pytest.fixture
def roomy(disks: Disks) -> Iterator[Disks]:
    yield disks
    disks.storage.make_room()
    disks.work.make_room()


@pytest.fixture
def tiny(roomy: Disks) -> Disks:
    """With the storage imported."""
    if not (roomy.storage.data / "storage.json").exists():
        roomy.stack.cli(*roomy.attach)
    return roomy


def nothing_made(disks: Disks) -> bool:
    with disks.stack.http() as http:
        known = http.get(f"/storages/{STORAGE}").status_code
    ours = disks.stack.docker.containers.list(
        all=True,
        filters={"label": [f"{LABEL}={disks.stack.name}", f"dev.neon-compose.storage={STORAGE}"]},
    )
    return known == 404 and not ours and not list(disks.storage.data.iterdir())


def test_an_import_that_fills_a_disk_leaves_nothing_and_works_once_there_is_room(roomy: Disks) -> None:
    roomy.storage.fill(leave_bytes=2 << 20)
    roomy.refused(f'folder "{roomy.storage.data}"', *roomy.attach)
    assert nothing_made(roomy)
    roomy.storage.make_room()

    roomy.work.fill(leave_bytes=12 << 20)
    roomy.refused(roomy.volume, *roomy.attach)
    assert nothing_made(roomy)
    roomy.work.make_room()

    roomy.stack.cli(*roomy.attach)
    assert (roomy.storage.data / "storage.json").exists()
    assert not list((roomy.work.data / "scratch").iterdir())


@pytest.mark.parametrize("which", ["work", "storage"])
def test_a_branch_that_finds_a_disk_full_is_not_made_and_is_once_there_is_room(
    tiny: Disks, which: str
) -> None:
    stack, name = tiny.stack, f"on-{which}"
    create = ("branch", "create", name, "--from", f"{STORAGE}/main@import")
    disk = tiny.work if which == "work" else tiny.storage
    place = tiny.volume if which == "work" else f'folder "{tiny.storage.data}"'
    disk.fill(leave_bytes=128 << 10 if which == "work" else 0)

    tiny.refused(place, *create)
    assert name not in stack.cli("branch", "list")
    assert name not in stack.cli("pg", "list")
    assert not [one for one in stack.containers("compute") if one.name.endswith(f"_pg_{name}")]
    assert not (tiny.pgs() / name).exists()
    disk.make_room()

    stack.cli(*create)
    assert stack.sql(name, "select count(*) from wide") == [(PAGES,)]
    stack.cli("pg", "stop", name)
    stack.cli("pg", "destroy", name)


def test_a_checkpoint_on_a_full_disk_fails_and_keeps_what_was_committed(tiny: Disks) -> None:
    stack, pg = tiny.stack, "checkpointed"
    stack.cli("branch", "create", pg, "--from", f"{STORAGE}/main@import")
    with psycopg.connect(stack.url(pg), autocommit=True) as session:
        session.execute("set wal_compression = pglz")
        session.execute("checkpoint")
        tiny.work.fill(leave_bytes=5 << 20)
        session.execute("update wide set n = n + 1")
        with pytest.raises(psycopg.Error):
            session.execute("checkpoint")
    said = stack.container(f"pg_{pg}").logs(tail=200).decode()
    assert FULL in said, said

    stack.container(f"pg_{pg}").kill()
    tiny.work.make_room()
    stack.cli("pg", "start", pg)
    assert stack.sql(pg, "checkpoint") == []
    stack.container(f"pg_{pg}").kill()
    stack.cli("pg", "start", pg)
    assert stack.sql(pg, "select count(*), sum(n) from wide") == [(PAGES, PAGES)]
    stack.sql(pg, "select bt_index_check('wide_pkey', true)")


def test_no_acknowledged_row_is_lost_to_a_disk_that_fills_up_under_its_writer(tiny: Disks) -> None:
    stack, pg = tiny.stack, "filled"
    stack.cli("branch", "create", pg, "--from", f"{STORAGE}/main@import")
    url = stack.url(pg)
    writer = Writer(url)
    writer.wait_for_more()
    tiny.work.fill()
    full = full_for(stack, pg, url)
    until("the disk to be full for Postgres", full, Deadline.after(60), last_words=stack.logs)
    writer.stop()
    stack.container(f"pg_{pg}").kill()
    tiny.work.fill()
    tiny.refused(tiny.volume, "pg", "start", pg)
    tiny.work.make_room()
    stack.cli("pg", "start", pg)
    assert writer.lost(lambda query: stack.sql(pg, query)) == set()
    assert stack.sql(pg, "select count(*) from wide") == [(PAGES,)]


def test_no_acknowledged_row_is_lost_to_a_disk_that_dies_and_requests_name_it(tiny: Disks) -> None:
    stack, pg = tiny.stack, "cut"
    stack.cli("branch", "create", pg, "--from", f"{STORAGE}/main@import")
    until("the new pg to be on disk", lambda: is_settled(stack, pg), Deadline.after(60))
    url = stack.url(pg)
    writer = Writer(url)
    writer.wait_for_more()
    stack.sql(pg, "checkpoint")
    writer.wait_for_more(200)
    tiny.work.die()
    until("Postgres to meet the dead disk", lambda: bool(writer.errors), Deadline.after(60))
    writer.stop()
    said = stack.container(f"pg_{pg}").logs(tail=200).decode(errors="replace")
    assert "PANIC" in said, said
    assert "Input/output error" in said, said

    ran = stack.run("branch", "create", "later", "--from", f"{STORAGE}/main@import")
    assert ran.code == 5, ran
    assert f'volume "{tiny.volume}"' in ran.err
    assert "can't be read or written" in ran.err

    stack.cli("down")
    tiny.work.mend()
    stack.up()
    assert writer.lost(lambda query: stack.sql(pg, query)) == set()
    assert stack.sql(pg, "select count(*) from wide") == [(PAGES,)]
    stack.sql(pg, "select bt_index_check('written_pkey', true)")
    assert "later" not in stack.cli("branch", "list")


def is_settled(stack: Stack, pg: str) -> bool:
    with stack.http() as http:
        return http.get(f"/pgs/{pg}").json()["settling"] is False


def full_for(stack: Stack, pg: str, url: str) -> Callable[[], bool]:
    """Whether Postgres has met the full disk; each look gives it something more to write."""

    def told() -> bool:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=3) as session:
                session.execute("select pg_switch_wal()")
                session.execute("update wide set n = n + 1")
        except psycopg.Error as error:
            if FULL in str(error):
                return True
        return FULL in stack.container(f"pg_{pg}").logs(tail=200).decode(errors="replace")

    return told
