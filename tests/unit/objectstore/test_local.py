from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from pathlib import Path

import pytest

from neon_compose import durable, wait
from neon_compose.errors import Conflict, Unavailable
from neon_compose.objectstore.local import LocalStore
from neon_compose.wait import Deadline

SPAWN = multiprocessing.get_context("spawn")
ROUNDS = 150


def count_up(root: Path, rounds: int) -> None:
    """Add one to the number in "counter", `rounds` times, by compare-and-swap."""
    store = LocalStore(root)
    for _ in range(rounds):
        while True:
            data, etag = store.get("counter")
            try:
                store.put_if("counter", str(int(data) + 1).encode(), etag)
                break
            except Conflict:
                continue


def claim_names(root: Path, who: int, names: int) -> None:
    """Try to be the first at each name; write down the names won."""
    store = LocalStore(root)
    for number in range(names):
        try:
            store.put_new(f"refs/{number}", str(who).encode())
            store.put_new(f"won/{who}-{number}", b"")
        except Conflict:
            continue


def rewrite_until_killed(root: Path) -> None:
    """Replace "doc" by itself in other lengths, for ever."""
    store = LocalStore(root)
    length = 0
    while True:
        length = length % 50 + 1
        _, etag = store.get("doc")
        store.put_if("doc", bytes([length]) * (length * 4000), etag)


def write_aside_until_killed(path: Path) -> None:
    with durable.aside(path) as file:
        file.write(b"half of it")
        os.kill(os.getpid(), signal.SIGSTOP)


def put_as_nobody(root: Path) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)
    with pytest.raises(Unavailable) as caught:
        LocalStore(root).put_new("a", b"")
    assert caught.value.code == "storage_io"


def test_two_processes_count_together_without_losing_one(tmp_path: Path) -> None:
    LocalStore(tmp_path).put_new("counter", b"0")
    workers = [SPAWN.Process(target=count_up, args=(tmp_path, ROUNDS)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert LocalStore(tmp_path).get("counter")[0] == str(2 * ROUNDS).encode()


def test_two_processes_never_both_get_a_name(tmp_path: Path) -> None:
    workers = [SPAWN.Process(target=claim_names, args=(tmp_path, who, ROUNDS)) for who in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    store = LocalStore(tmp_path)
    won = sorted(int(key.split("-")[1]) for key in store.list("won/"))
    assert won == list(range(ROUNDS))
    for key in store.list("won/"):
        who, number = key.removeprefix("won/").split("-")
        assert store.get(f"refs/{number}")[0].decode() == who


def test_a_killed_writer_leaves_a_whole_document_and_no_lock(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("doc", b"\x01" * 4000)
    for delay_s in (0.15, 0.2, 0.25):
        victim = SPAWN.Process(target=rewrite_until_killed, args=(tmp_path,))
        victim.start()
        before = store.get("doc")[1]
        wait.until("the first rewrite", lambda b=before: store.get("doc")[1] != b, Deadline.after(20))
        victim.join(delay_s)
        victim.kill()
        victim.join()
        data, etag = store.get("doc")
        assert data == bytes([data[0]]) * (data[0] * 4000)
        store.put_if("doc", b"\x01" * 4000, etag)
    store.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "doc"]


def test_a_sweep_takes_the_dead_writers_file_and_leaves_the_living_ones(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "layers").mkdir()
    dead = SPAWN.Process(target=write_aside_until_killed, args=(tmp_path / "layers" / "dead",))
    request.addfinalizer(dead.kill)  # a stopped child would be waited for
    dead.start()
    wait.until("its file", lambda: [*tmp_path.glob("layers/.dead.*")], Deadline.after(20))
    store = LocalStore(tmp_path)
    with durable.aside(tmp_path / "living") as living:
        living.write(b"still going")
        wait.until("the stop", lambda: "T" in _state(dead.pid), Deadline.after(20))
        assert store.sweep() == ()  # stopped, not dead
        dead.kill()
        dead.join()
        assert [path.name.split(".")[1] for path in store.sweep()] == ["dead"]
        living.rename()
    assert list(store.list("")) == ["living"]


def test_what_is_written_aside_is_not_listed(tmp_path: Path) -> None:
    with durable.aside(tmp_path / "x"):
        assert list(LocalStore(tmp_path).list("")) == []


def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        LocalStore(tmp_path).put_new("deep/er/doc", b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep/er/doc").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / ".lock").stat().st_mode) == 0o600


def test_only_one_may_be_making_a_storage(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with store.creating():
        with pytest.raises(Conflict) as caught, LocalStore(tmp_path).creating():
            pass
        assert caught.value.code == "busy"
    with store.creating():
        pass


def test_an_error_inside_creating_passes_through(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), LocalStore(tmp_path).creating():
        raise BlockingIOError


def test_a_folder_that_can_not_be_written_is_unavailable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    worker = SPAWN.Process(target=put_as_nobody, args=(tmp_path,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0


def _state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
