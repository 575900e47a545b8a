"""Runs one case of a pageserver killed at every change of a file. A program, since it forks: no threads here.

    python -m tests.kills.cut CASE HOW FOLDER EVERY FIRST

HOW is "kill", or a power cut: "nothing", "names". Every EVERYth moment is tried, from number FIRST on.

Python tells an audit hook of every call that makes, names or removes a file, before it is made; there the
process that serves kills itself. For a power cut it first writes down what would be on disk then:
    nothing  only what was synced: contents by fsync of the file, names by fsync of their folder
    names    every name, but contents only where they were synced: a journal of names alone
Prints a line of JSON: how many moments there were, and what was wrong after which.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from neon_compose.errors import NeonError, NotFound
from neon_compose.objectstore import manifests
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.__main__ import Outside, make_service
from neon_compose.pageserver.dump import Format
from neon_compose.pageserver.service import Service
from neon_compose.postgres.versions import Version
from neon_compose.wait import Deadline, until
from neon_compose.wire import pageserver as wire
from tests.kills import replaying
from tests.unit.pageserver.scratch import FakeScratch, FakeVisited, quiet_job
from tests.unit.pageserver.storage import END_OF_WAL, FakeSession

DUMP = b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (a int);\n-- PostgreSQL database dump complete\n"
COMMITS = "echo 'rmgr: Transaction … desc: COMMIT 2026-01-01'"
KILL, NOTHING, NAMES = "kill", "nothing", "names"


# ---- cases


def initialise(service: Service) -> None:
    service.initialise(quiet_job())


def import_dump(service: Service) -> None:
    """Repeated when it had come to its end, it is refused."""
    if service.status().snapshots == ["import"]:
        return
    _import(service, wire.ImportAs.NEW)


def refresh(service: Service) -> None:
    """Repeated when it had come to its end, it would be another one."""
    if "import" not in service.status().snapshots:
        _import(service, wire.ImportAs.REFRESH)


def _import(service: Service, what: wire.ImportAs) -> None:
    spool = service.open_spool(what)
    spool.feed(DUMP)
    spool.finish()
    service.import_spooled(spool, Format.PLAIN, what, quiet_job())


def create_branch(service: Service) -> None:
    service.create_branch("b", wire.BranchRequest(from_branch="main", moment="init"))


def delete_branch(service: Service) -> None:
    try:
        service.delete_branch("b")
    except NotFound:
        if "b" in service.status().branches:
            raise


def undelete_branch(service: Service) -> None:
    service.undelete_branch("b", wire.UndeleteRequest())


def start(service: Service) -> None:
    """Prepare, lay out and open, and wait until it is all on disk."""
    asked = wire.PrepareRequest(branch="a", from_branch="main", moment="init")
    generation = service.prepare("a", asked).generation
    service.layout("a", wire.LayoutRequest(generation=generation, port=5432))
    service.open("a", wire.OpenRequest(generation=generation, port=5432, wait_s=30))
    until("the marker", lambda: not service.compute("a").settling, Deadline.after(60))


def delete_compute(service: Service) -> None:
    service.delete_compute("a", discard_writes=True)


def restore(name: str) -> Callable[[Service], None]:
    """Repeated when it had come to its end, it finds that."""

    def request(service: Service) -> None:
        service.restore_branch(name, wire.RestoreRequest(moment="init", keep="kept"))

    return request


def write(root: Path) -> None:
    """A client commits, and says ALTER SYSTEM; both are on disk by Postgres's own doing."""
    waldump(root, COMMITS)
    [data] = (root / "work/pg/a").glob("*/data")
    auto = data / "postgresql.auto.conf"
    auto.write_text("work_mem = '64MB'\nport = '1'\n")


def redo(service: Service) -> None:
    service.redo("main", quiet_job())


def nothing(_: Path) -> None:
    pass


@dataclass(frozen=True)
class Case:
    before: tuple[Callable[[Service], None], ...]
    request: Callable[[Service], None]
    then: Callable[[Path], None] = nothing


CASES = {
    "birth": Case((), initialise),
    "import": Case((), import_dump),
    "refresh": Case((initialise, create_branch), refresh),
    "branch": Case((initialise,), create_branch),
    "take a branch back": Case((initialise, create_branch, delete_branch), undelete_branch),
    "delete a branch": Case((initialise, create_branch), delete_branch),
    "start": Case((initialise,), start),
    "start again": Case((initialise, start), start, write),
    "restore": Case((initialise, create_branch), restore("b")),
    "restore under data": Case((initialise, start), restore("a")),
    "redo": Case((initialise,), redo, replaying.prepare),
    "delete data": Case((initialise, start), delete_compute, write),
}


# ---- a pageserver over folders


def waldump(root: Path, script: str) -> None:
    program = root / "bin/pg_waldump"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def make_folders(root: Path) -> None:
    for name in ("storage", "work", "bin"):
        (root / name).mkdir(parents=True)
    waldump(root, END_OF_WAL)


def serve(root: Path, boot: str, disk: Disk | None = None) -> Service:
    """A pageserver that starts over what is there."""

    def session(paths: Any, _port: int, _password: str) -> Any:
        doc = manifests.read_storage(LocalStore(root / "storage"))
        return FakeSession(paths, doc.system_identifier).connect()

    outside = Outside(
        version=Version(17, root / "bin"),
        boot=boot,
        known_settings=frozenset(),
        make_cluster=FakeScratch,
        make_server=FakeVisited,
        session=session,
        syncing=lambda work: partial(disk.sync, work) if disk else lambda: None,
        wal=replaying.Wal.of(root),
    )
    return make_service(root / "storage", root / "work", "shop", outside)


def look(root: Path, service: Service) -> dict[str, Any]:
    status = service.status()
    return {
        "branches": status.branches,
        "layers": len(manifests.read_branch(LocalStore(root / "storage"), "main").layers),
        "snapshots": status.snapshots,
        "computes": [
            one.model_dump(include={"pg", "branch", "laid_out", "opened", "doubtful", "has_writes"})
            for one in service.computes()
        ],
        "leftovers": [one.model_dump() for one in service.leftovers()],
        "altered": [path.read_text() for path in root.glob("work/pg/*/*/data/postgresql.auto.conf")],
    }


# ---- the disk under it


@dataclass
class Disk:
    """What of `root` would outlive a power cut. Made over a tree that is all on disk."""

    root: Path
    names: dict[int, dict[str, int]] = field(default_factory=dict)  # folder -> name -> what has it
    contents: dict[int, bytes] = field(default_factory=dict)
    modes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sync(self.root)
        real = os.fsync

        def fsync(fd: int) -> None:
            self._note(fd)
            real(fd)

        os.fsync = fsync

    def sync(self, folder: Path) -> None:
        """syncfs(2)."""
        for path in (folder, *folder.rglob("*")):
            fd = os.open(path, os.O_RDONLY)
            self._note(fd)
            os.close(fd)

    def _note(self, fd: int) -> None:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(fd) as entries:
                self.names[found.st_ino] = {one.name: one.inode() for one in entries}
        else:
            self.contents[found.st_ino] = os.pread(fd, found.st_size, 0) if _readable(fd) else _read(fd)

    def survivors(self, target: Path, how: str) -> None:
        """Write to `target` what a power cut leaves of the tree."""
        shutil.rmtree(target, ignore_errors=True)
        kinds = {path.stat().st_ino: path for path in (self.root, *self.root.rglob("*"))}
        folder_modes = {ino for ino, path in kinds.items() if path.is_dir()}
        self._copy(self.root.stat().st_ino, self.root, target, how, folder_modes)

    def _copy(self, ino: int, now: Path, target: Path, how: str, folders: set[int]) -> None:
        target.mkdir(0o700)
        present = {path.name: path.stat().st_ino for path in now.iterdir()} if now.is_dir() else {}
        names = present if how == NAMES else self.names.get(ino, {})
        for name, below in names.items():
            if below in self.names or below in folders:
                self._copy(below, now / name, target / name, how, folders)
            else:
                (target / name).write_bytes(self.contents.get(below, b""))
                (target / name).chmod(0o755 if name in ("pg_waldump", "postgres") else 0o600)


def _readable(fd: int) -> bool:
    import fcntl

    return (fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE) != os.O_WRONLY


def _read(fd: int) -> bytes:
    return Path(f"/proc/self/fd/{fd}").read_bytes()


# ---- killing


_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod"}


class Moments:
    """Counts changes of files, and calls `end` before the one numbered `at`."""

    def __init__(self, at: int | None = None, end: Callable[[], None] = lambda: None) -> None:
        self.count, self.at, self.end = 0, at, end
        self._dying = threading.Lock()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        makes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
        if makes or event in _CHANGES:
            self.count += 1
            if self.count == self.at:
                self.die()

    def die(self) -> None:
        self._dying.acquire()  # one thread's moment is the moment: the others stop here
        self.at = None  # `end` makes files too
        while True:
            try:
                self.end()
            except FileNotFoundError:  # the settler's thread goes on meanwhile: the cut came a bit later
                continue
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` gives, done in a process of its own; None if that was killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer: Any = work()
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
            pipe.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return None if os.WIFSIGNALED(status) else json.loads(text)


def run(case: Case, how: str, folder: Path, every: int, first: int) -> dict[str, Any]:
    template = folder / "template"
    make_folders(template)

    def prepare() -> None:
        for request in case.before:
            request(serve(template, "boot-0"))
        case.then(template)

    assert in_child(prepare) is None
    whole = copied(template, folder / "whole")

    def uncut() -> dict[str, Any]:
        moments = Moments()
        service = serve(whole, "boot-0")
        case.request(service)
        return {"count": moments.count, "shape": look(whole, service)}

    expected = in_child(uncut)
    assert "error" not in expected, expected["error"]
    wrong: dict[int, Any] = {}
    tried = killed = doubted = 0
    for at in range(1 + first, expected["count"] + 2, every):  # the last one is right after the request's end
        tried += 1
        root = copied(template, folder / f"cut{at}")
        killed += cut(case, root, how, at)
        found = in_child(lambda root=root: after(case, root, how))
        doubted += bool(found.get("doubted"))
        if found.get("shape") != expected["shape"]:
            wrong[at] = found
        shutil.rmtree(root)
    counts = {"moments": expected["count"], "tried": tried, "killed": killed, "doubted": doubted}
    return {**counts, "expected": expected["shape"], "wrong": wrong}


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def cut(case: Case, root: Path, how: str, at: int) -> bool:
    """Kill the request there; whether it came to that. A power cut leaves `root` as the disk has it."""
    survivors = root.with_name("survivors")

    def work() -> None:
        disk = Disk(root) if how != KILL else None
        moments = Moments(at, lambda: disk.survivors(survivors, how) if disk else None)
        case.request(serve(root, "boot-0", disk))
        moments.die()

    died = in_child(work) is None
    if how != KILL and died:
        shutil.rmtree(root)
        survivors.rename(root)
    return died


def after(case: Case, root: Path, how: str) -> dict[str, Any]:
    """The service starts, and the same request succeeds. A compute that had not settled may be doubtful
    after a power cut: then it is given up, as its hint says, and made anew."""
    boot = "boot-0" if how == KILL else "boot-1"
    settled = any(root.glob("work/pg/*/*/marker"))
    service = serve(root, boot)
    doubted = False
    try:
        case.request(service)
    except NeonError as error:
        if error.code != "doubtful" or how == KILL or settled:
            raise
        doubted = True
        service.delete_compute("a", discard_writes=True)
        case.request(service)
    return {"shape": look(root, service), "doubted": doubted}


if __name__ == "__main__":
    print(json.dumps(run(CASES[sys.argv[1]], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:]))))
