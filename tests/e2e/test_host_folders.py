"""Storages in folders of the engine's machine: what is taken, what is refused, what is left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import Stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    os.chown(path, 10001, 10001)  # existing folders must be writable to the containers' user
    return path


def attach(stack: Stack, name: str, path: Path | str) -> httpx.Response:
    with stack.http() as http:
        return http.put("/storages", json={"name": name, "type": "native", "path": str(path)})


def detach(stack: Stack, name: str, *, purge: bool) -> None:
    with stack.http() as http:
        answer = http.delete(f"/storages/{name}", params={"purge": purge})
        assert answer.is_success, answer.text


def test_an_empty_or_missing_folder_becomes_the_storage_and_data_outlives_a_detach(
    shared: Stack, folder: Path
) -> None:
    for name, path in (("empty", folder), ("missing", folder.parent / "new" / "deep")):
        made = attach(shared, name, path)
        assert (made.status_code, made.json()["path"]) == (201, str(path)), made.text
        storage_id = made.json()["storage_id"]
        detach(shared, name, purge=False)
        assert (path / "storage.json").exists()
        again = attach(shared, name, path)
        assert again.json()["storage_id"] == storage_id, again.text
        detach(shared, name, purge=True)
        assert not (path / "storage.json").exists()


def test_a_folder_with_other_things_gets_a_folder_for_the_storage(shared: Stack, folder: Path) -> None:
    (folder / "precious.txt").write_text("keep")
    made = attach(shared, "guest", folder)
    assert made.json()["path"] == str(folder / "neon-guest"), made.text
    detach(shared, "guest", purge=True)
    assert [x.name for x in folder.iterdir()] == ["precious.txt"]


def refused(stack: Stack, path: Path | str, *statuses: int) -> dict[str, str]:
    answer = attach(stack, "refused", path)
    assert answer.status_code in statuses, answer.text
    with stack.http() as http:
        assert http.get("/storages/refused").status_code == 404
    assert not [name for name in stack.leftovers() if "refused" in name]
    problem: dict[str, str] = answer.json()
    assert problem["hint"] or problem["detail"]
    return problem


def test_a_file_is_refused(shared: Stack, folder: Path) -> None:
    (folder / "file").write_text("x")
    refused(shared, folder / "file", 409, 422)


def test_a_postgres_data_directory_is_refused_with_the_hint_to_import(shared: Stack, folder: Path) -> None:
    (folder / "global").mkdir()
    (folder / "PG_VERSION").write_text("17\n")
    (folder / "global/pg_control").write_bytes(b"\0" * 8192)
    assert "import" in refused(shared, folder, 409, 422)["hint"]
    assert sorted(x.name for x in folder.iterdir()) == ["PG_VERSION", "global"]


def test_a_folder_we_may_not_write_is_refused_with_the_chown_line(shared: Stack, folder: Path) -> None:
    (folder / "precious.txt").write_text("keep")
    locked = folder / "locked"
    locked.mkdir(0o755)
    problem = refused(shared, locked, 409, 422)
    assert "chown" in problem["hint"], problem


def test_a_folder_of_another_storage_is_refused(shared: Stack, folder: Path) -> None:
    assert attach(shared, "owner", folder).status_code == 201
    refused(shared, folder, 409)
    detach(shared, "owner", purge=True)


def test_a_storage_of_a_newer_format_is_refused_by_name(shared: Stack, folder: Path) -> None:
    assert attach(shared, "newer", folder).status_code == 201
    detach(shared, "newer", purge=False)
    document = json.loads((folder / "storage.json").read_text())
    (folder / "storage.json").write_text(json.dumps(document | {"format": 99}))
    problem = refused(shared, folder, 409, 422)
    assert "99" in problem["title"] + problem["detail"]
