"""A flipped byte in a file of a stack's volumes: refused by name, never a guess, and well once it is back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import psycopg
import pytest

from neon_compose.model.lsn import Lsn
from tests.e2e.flipping import PYTHON, flipped, flipped_wal
from tests.e2e.stack import Ran, Stack

STORAGE, PG = "hurt", "victim"
NEEDLE = "needle in the haystack"
CORRUPT = 7
_HEALTHY = "import urllib.request as r; r.urlopen('http://127.0.0.1:6400/healthz', timeout=2)"


class Hurt:
    """A storage with one branch and its pg."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def flip(self, root: str, pattern: str, needle: str = "") -> AbstractContextManager[str]:
        return flipped(self.stack.container(f"storage_{STORAGE}"), root, pattern, needle)

    def restart(self) -> None:
        """A pageserver that remembers nothing of what it read before."""
        self.stack.container(f"storage_{STORAGE}").restart()
        self.stack.wait_until(self._answers)

    def _answers(self) -> bool:
        container = self.stack.container(f"storage_{STORAGE}")
        return container.exec_run([PYTHON, "-c", _HEALTHY]).exit_code == 0

    def branch(self) -> Ran:
        return self.stack.run("branch", "create", "another", "--from", f"{STORAGE}/main@import")

    def refused(self, what: Callable[[], Ran], named: str, code: int = CORRUPT) -> Ran:
        ran = what()
        assert ran.code == code, (ran, self.stack.logs())
        assert named in ran.err, ran.err
        assert "another" not in self.stack.cli("pg", "list")
        return ran


@pytest.fixture(scope="module")
def hurt(shared: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hurt]:
    dump = tmp_path_factory.mktemp("dump") / "dump.sql"
    dump.write_text(
        "--\n-- PostgreSQL database dump\n--\n"
        f"CREATE TABLE hay (t text); INSERT INTO hay VALUES ('{NEEDLE}');\n"
        "--\n-- PostgreSQL database dump complete\n--\n"
    )
    shared.cli("storage", "attach", STORAGE, "--import", str(dump))
    shared.cli("branch", "create", PG, "--from", f"{STORAGE}/main@import")
    yield Hurt(shared)
    shared.cli("pg", "stop", PG)
    shared.cli("pg", "destroy", PG, "--discard-writes")
    shared.cli("storage", "detach", STORAGE, "--purge")


@pytest.mark.parametrize(
    ("root", "pattern", "named"),
    [("/work/maps", "*.map", "map"), (f"/work/pg/{PG}", "*/overlay", "overlay")],
)
def test_a_compute_does_not_start_over_a_damaged_map_or_overlay(
    hurt: Hurt, root: str, pattern: str, named: str
) -> None:
    stack = hurt.stack
    stack.cli("pg", "stop", PG)
    with hurt.flip(root, pattern, "NEONOVL1" if named == "overlay" else ""):
        ran = hurt.refused(lambda: stack.run("pg", "start", PG), named, code=5)
        assert "neonshim: " in ran.err
    stack.cli("pg", "start", PG)
    assert stack.sql(PG, "select t from hay") == [(NEEDLE,)]


def test_a_damaged_page_of_a_layer_is_an_error_and_not_a_row(hurt: Hurt) -> None:
    stack = hurt.stack
    stack.cli("pg", "restart", PG)  # nothing of it in its buffers
    with hurt.flip("/storage/layers", "*.pages", NEEDLE), pytest.raises(psycopg.errors.DataCorrupted):
        stack.sql(PG, "select t from hay")
    assert stack.sql(PG, "select t from hay") == [(NEEDLE,)]


@pytest.mark.parametrize("pattern", ["*.index", "*.meta.tar.zst"])
def test_no_branch_is_made_of_a_layer_whose_index_or_archive_is_damaged(hurt: Hurt, pattern: str) -> None:
    with hurt.flip("/storage/layers", pattern) as name:
        hurt.restart()
        hurt.refused(hurt.branch, name)
        assert hurt.stack.sql(PG, "select t from hay") == [(NEEDLE,)]  # what runs goes on


def test_a_damaged_manifest_is_refused_and_status_and_doctor_say_it(hurt: Hurt) -> None:
    stack = hurt.stack
    with hurt.flip("/storage/refs/branches", "main.json", '"branch_id": "') as name:
        said = hurt.refused(hurt.branch, name).err
        assert "is damaged" in said
        [storage] = [one for one in stack.json("status")["storages"] if one["name"] == STORAGE]
        assert storage["state"] == "failed"
        assert name in storage["note"]
        doctor = stack.run("doctor", "-o", "json")
        assert doctor.code != 0
        [finding] = [one for one in json.loads(doctor.out) if one["kind"] == "storage_damaged"]
        assert (finding["what"], finding["verdict"]) == (STORAGE, "wrong")
        assert name in finding["found"]
    assert "main" in stack.json("storage", "show", STORAGE)["branches"]


def test_a_flipped_digit_of_a_document_is_no_other_id(hurt: Hurt) -> None:
    """It is still well-formed, and only the checksum knows."""
    stack = hurt.stack
    with stack.http() as http:
        branch = http.get(f"/storages/{STORAGE}/branches/main").json()["id"]
    with hurt.flip("/storage/refs/branches", "main.json", branch) as name:
        hurt.refused(hurt.branch, name)
    assert stack.sql(PG, "select t from hay") == [(NEEDLE,)]


def test_a_flipped_byte_of_wal_is_named_and_never_taken_for_its_end(hurt: Hurt) -> None:
    """With one safekeeper nobody else has it whole: what lies before it opens, nothing after it does."""
    stack, at = hurt.stack, []
    for what in ("before", "straw in the WAL", "after"):
        stack.sql(PG, f"insert into hay values ('{what}')")
        at.append(stack.sql(PG, "select pg_current_wal_flush_lsn()::text")[0][0])
    before, _, after = at

    def branch(moment: str) -> Ran:
        return stack.run("branch", "create", "another", "--from", f"{STORAGE}/{PG}{moment}")

    with flipped_wal(stack, "safekeeper_1", "straw in the WAL") as segment:
        for moment in (f"@{after}", ""):
            said = hurt.refused(partial(branch, moment), segment.removesuffix(".partial")).err
            found = re.search("damaged at ([0-9A-F]+/[0-9A-F]+)", said)
            assert found is not None, said
            assert Lsn.parse(before) <= Lsn.parse(found[1]) < Lsn.parse(at[1])
        assert branch(f"@{before}").code == 0
        assert stack.sql("another", "select t from hay") == [(NEEDLE,), ("before",)]
        drop(stack, "another")
    assert branch("").code == 0
    assert len(stack.sql("another", "select t from hay")) == 4
    drop(stack, "another")


def drop(stack: Stack, pg: str) -> None:
    stack.cli("pg", "stop", pg)
    stack.cli("branch", "delete", f"{STORAGE}/{pg}", "--discard-writes")
