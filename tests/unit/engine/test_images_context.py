"""What a build context holds, and that only real changes change it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from neon_compose.engine import context, surroundings
from neon_compose.engine.context import ContextFile


def test_the_same_files_make_the_same_bytes_in_any_order() -> None:
    files = [ContextFile("b", b"2"), ContextFile("a", b"1", executable=True)]
    assert context.tar(files) == context.tar(reversed(files))
    assert context.digest(files) == context.digest(reversed(files))


def test_path_content_and_mode_each_change_the_hash() -> None:
    one = context.digest([ContextFile("a", b"1")])
    others = [[ContextFile("b", b"1")], [ContextFile("a", b"2")], [ContextFile("a", b"1", executable=True)]]
    assert len({one, *map(context.digest, others), context.digest([ContextFile("a", b"1")], "parent")}) == 5


def test_times_and_owners_of_files_leave_no_trace(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    before = context.tar(context.folder_files(tmp_path))
    os.utime(tmp_path / "Dockerfile", (1, 1))
    assert context.tar(context.folder_files(tmp_path)) == before
    with tarfile.open(fileobj=io.BytesIO(before)) as archive:
        assert [(m.name, m.mode, m.uid, m.mtime) for m in archive] == [("Dockerfile", 0o644, 0, 0)]


def test_what_compilers_leave_is_left_out(tmp_path: Path) -> None:
    for name in ("shim.c", "shim.o", "libneonshim.so", "__pycache__/x.pyc", "build/y.c", "deep/z.h"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [file.path for file in context.folder_files(tmp_path)] == ["deep/z.h", "shim.c"]


def test_images_and_stack_files_are_found_at_the_root_of_a_checkout() -> None:
    assert (context.data_root() / "images" / "base" / "Dockerfile").is_file()
    assert (context.data_root() / "compose").is_dir()


def test_requirements_are_pinned() -> None:
    lines = context.requirements().content.decode().splitlines()
    assert lines == sorted(lines)
    assert all("==" in line for line in lines)


def test_the_bundle_is_the_one_that_tools_are_told_to_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("ours")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert surroundings.certificate_bundle() == b"ours"


def test_a_bundle_that_is_gone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in surroundings.BUNDLE_VARIABLES:
        monkeypatch.setenv(name, "/nowhere/ca.pem")
    assert b"BEGIN CERTIFICATE" in surroundings.certificate_bundle()


def test_an_index_of_pips_own_configuration_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.example/simple\n")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert surroundings.build_args()["PIP_INDEX_URL"] == "https://a.example/simple"


@pytest.mark.parametrize(
    ("args", "needed"),
    [
        ({}, False),
        ({"https_proxy": "http://proxy.example:3128"}, False),
        ({"https_proxy": "http://127.0.0.1:3128"}, True),
        ({"https_proxy": "localhost:3128"}, True),
        ({"GOPROXY": "http://localhost:3000,direct"}, True),
        ({"no_proxy": "localhost,127.0.0.1"}, False),
    ],
)
def test_a_proxy_on_the_loopback_needs_the_hosts_network(args: dict[str, str], needed: bool) -> None:
    assert surroundings.needs_host_network(args) is needed
