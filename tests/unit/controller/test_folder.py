from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.controller.folder import UID, Claimed, claim, main
from neon_compose.controller.hostpath import check_host_path
from neon_compose.errors import Conflict, Invalid, NeonError

ROOT = os.geteuid() == 0


@pytest.fixture
def host() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="neon-host-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def ours(path: Path) -> Path:
    path.mkdir()
    if ROOT:
        os.chown(path, UID, UID)
    return path


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_missing_folder_is_made_with_its_parents_and_is_ours(host: Path) -> None:
    assert claim(host, "a/b", "/srv/a/b", "shop") == Claimed("/srv/a/b", made=True)
    made = (host / "a/b").stat()
    assert made.st_mode & 0o777 == 0o700
    assert not ROOT or made.st_uid == UID


def test_an_empty_folder_becomes_the_storage(host: Path) -> None:
    assert claim(ours(host / "x"), "", "/srv/x", "shop") == Claimed("/srv/x", made=False)


def test_a_folder_with_other_things_gets_one_in_it(host: Path) -> None:
    folder = ours(host / "x")
    (folder / "notes.txt").touch()
    assert claim(folder, "", "/srv/x", "shop") == Claimed("/srv/x/neon-shop", made=True)
    assert tree(folder) == ["neon-shop", "notes.txt"]
    assert claim(folder, "", "/srv/x", "shop") == Claimed("/srv/x/neon-shop", made=False)


def test_the_folder_in_it_must_be_a_storage_or_empty(host: Path) -> None:
    folder = ours(host / "x")
    ours(folder / "neon-shop")
    (folder / "neon-shop" / "stranger").touch()
    with pytest.raises(Conflict, match="not empty"):
        claim(folder, "", "/srv/x", "shop")


def test_a_storage_is_attached_again(host: Path) -> None:
    folder = ours(host / "x")
    (folder / "storage.json").write_text('{"format": 1, "storage_id": "abc"}')
    assert claim(folder, "", "/srv/x", "shop") == Claimed("/srv/x", made=False, storage_id="abc")


@pytest.mark.parametrize(
    ("document", "code"),
    [('{"format": 2, "storage_id": "a"}', "newer_format"), ("{", "bad_storage"), ("[]", "bad_storage")],
)
def test_a_newer_or_broken_storage_is_refused(host: Path, document: str, code: str) -> None:
    folder = ours(host / "x")
    (folder / "storage.json").write_text(document)
    with pytest.raises(NeonError) as caught:
        claim(folder, "", "/srv/x", "shop")
    assert caught.value.code == code


def test_a_postgres_data_directory_is_refused_with_the_way_to_import_it(host: Path) -> None:
    folder = ours(host / "x")
    (folder / "PG_VERSION").write_text("17")
    with pytest.raises(Invalid) as caught:
        claim(folder, "", "/srv/x", "shop")
    assert caught.value.code == "data_directory"
    assert "--import" in caught.value.hint


@pytest.mark.parametrize("rest", ["", "below"])
def test_a_file_is_refused(host: Path, rest: str) -> None:
    (host / "x").touch()
    with pytest.raises(Invalid) as caught:
        claim(host / "x", rest, "/srv/x" + ("/below" if rest else ""), "shop")
    assert caught.value.code == "path_is_file"
    assert '"/srv/x"' in caught.value.message


@pytest.mark.skipif(not ROOT, reason="only root can try another user's access")
def test_a_folder_of_somebody_else_is_refused_with_the_chown_line(host: Path) -> None:
    (host / "x").mkdir(0o755)
    with pytest.raises(Invalid) as caught:
        claim(host / "x", "", "/srv/x", "shop")
    assert caught.value.code == "not_writable"
    assert caught.value.hint == "sudo chown -R 10001:10001 /srv/x"
    assert tree(host) == ["x"]
    assert os.geteuid() == 0


def test_purging_removes_a_storages_files_and_nothing_else(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ours(host / "x")
    (folder / "storage.json").write_text("{}")
    (folder / "layers").mkdir()
    (folder / "layers" / "one").touch()
    (folder / "notes.txt").touch()
    main(["purge", str(host), "x", "/srv/x", "-"])
    assert tree(host) == ["x", "x/notes.txt"]
    (folder / "notes.txt").unlink()
    main(["empty", str(host), "x", "/srv/x", "-"])
    assert tree(host) == ["x"]
    main(["purge", str(host), "x", "/srv/x", "-"])
    assert tree(host) == []
    assert capsys.readouterr().out.count("folder") == 3


def test_a_refusal_is_printed_as_a_problem(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (host / "x").touch()
    main(["claim", str(host / "x"), "", "/srv/x", "shop"])
    assert '"problem"' in capsys.readouterr().out


@pytest.mark.parametrize("path", ["/srv/x", "//srv///x/", "/srv/./x"])
def test_an_absolute_path_is_made_normal(path: str) -> None:
    assert check_host_path(path) == "/srv/x"


@pytest.mark.parametrize("path", ["", "x", "./x", "~/x", "/", "//", "/srv/../etc", "/a\0b", "/" + "x" * 2000])
def test_a_path_that_can_not_be_one_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        check_host_path(path)
