"""Runs in a short container on the host's network: brings a server's databases into a folder in scratch.

    python -m neon_compose.pageserver.fetch FOLDER

FOLDER is a fetch's (wire.fetching). Events leave on stdout as NDJSON, the last line `result` or `problem`;
one comes at least every half second, so that whoever reads notices when nobody waits any more and ends
this container. What is in FOLDER afterwards counts only with its report.

"localhost" is the machine of the engine, which for most people is their own. The pageserver, in the
stack's network, could not reach that; and whatever a foreign server sends is handled here first, away from
the storage.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from neon_compose import settings, wait
from neon_compose.disks import Disks, Place
from neon_compose.errors import Bug, NeonError, Unavailable
from neon_compose.model.origin import Server
from neon_compose.pageserver import source
from neon_compose.pageserver.folders import take_folder
from neon_compose.pageserver.source import Found
from neon_compose.postgres.programs import ProgramFailed, run
from neon_compose.postgres.versions import Version, version
from neon_compose.wire import ndjson
from neon_compose.wire.fetching import DATA, DUMP, REPORT, REQUEST, SPACES, FetchReport, FetchRequest, Via

MAJOR = 17
_BEAT_S = 0.5
_DONE_KB = re.compile(rb"(\d+)/(\d+) kB")
Count = tuple[int, int | None]  # bytes done, and in all if that is known


class Fetcher:
    """One fetch into `folder`."""

    def __init__(self, folder: Path, postgres: Version, emit: ndjson.Emit) -> None:
        self._folder = folder
        self._postgres = postgres
        self._emit = emit
        self._said = folder / "program.log"
        self._passfile = folder / "pgpass"
        self._last_beat_s = 0.0

    def fetch(self, request: FetchRequest) -> FetchReport:
        """What was asked for is in the folder on return. A folder with a failure in it is of no use."""
        if request.folder is not None:
            with self._step("copy"):
                take_folder(self._folder / DATA, request.folder, self._beat)
            return FetchReport(via=Via.FOLDER)
        server = Server.parse(request.server or "")
        source.write_passfile(self._passfile, request.password)
        try:
            return self._from(server)
        finally:
            self._passfile.unlink()

    def _from(self, server: Server) -> FetchReport:
        found = source.look(server, self._passfile, self._postgres.major)
        for note in found.notes:
            self._note(note)
        if found.via is Via.BACKUP and self._backup(server, found):
            return FetchReport(via=Via.BACKUP, database=found.database)
        self._dump(server)
        return FetchReport(via=Via.DUMP, database=found.database)

    # ---- a base backup

    def _backup(self, server: Server, found: Found) -> bool:
        """Copy and verify all of the server; False if it doesn't let us, but would let a dump through."""
        spaces = self._folder / SPACES
        spaces.mkdir(mode=0o700)
        moved = [f"--tablespace-mapping={_escaped(p)}={spaces / str(n)}" for n, p in found.places.items()]
        args = [
            f"--dbname={source.conninfo(server, self._passfile)}",
            f"--pgdata={self._folder / DATA}",
            *("--wal-method=stream", "--checkpoint=fast", "--no-sync", "--progress", "--no-password"),
            *("--manifest-checksums=CRC32C", *moved),
        ]
        try:
            self._run("base backup", "pg_basebackup", args, self._backup_bytes)
        except ProgramFailed as failure:
            if not source.is_about_replication(failure.last_lines):
                raise self._failed(failure, server) from failure
            why = failure.last_lines.splitlines()[-1].split("error: ")[-1]
            self._note(f"{why}: database {found.database} comes by pg_dump, without the others")
            shutil.rmtree(self._folder / DATA, ignore_errors=True)
            shutil.rmtree(spaces)
            return False
        try:
            self._run("verify", "pg_verifybackup", ["--quiet", str(self._folder / DATA)])
        except ProgramFailed as failure:
            raise Unavailable(
                "the base backup is not what the source sent", detail=failure.last_lines, code="bad_backup"
            ) from failure
        return True

    def _backup_bytes(self) -> Count:
        with self._said.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 400))
            counts = _DONE_KB.findall(log.read())
        if not counts:
            return 0, None
        done, total = (int(one) * 1024 for one in counts[-1])
        return min(done, total), total

    # ---- a dump

    def _dump(self, server: Server) -> None:
        path = self._folder / DUMP
        args = [
            f"--dbname={source.conninfo(server, self._passfile)}",
            f"--file={path}",
            *("--format=custom", "--compress=zstd:1", "--no-password", "--no-subscriptions"),
        ]

        def size() -> Count:
            return (path.stat().st_size if path.exists() else 0), None

        try:
            self._run("pg_dump", "pg_dump", args, size)
        except ProgramFailed as failure:
            raise self._failed(failure, server) from failure

    # ---- both

    def _run(
        self, step: str, program: str, args: list[str], count: Callable[[], Count] = lambda: (0, None)
    ) -> None:
        self._said.write_bytes(b"")
        env = {
            "PATH": f"{self._postgres.bin_dir}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(self._folder),
        }
        command = [str(self._postgres.program(program)), *args]
        with self._step(step):
            run(command, self._said, watch=lambda _: self._beat(step, *count()), env=env, cwd=self._folder)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._emit(ndjson.Step(name=name, state="start"))
        began_s = wait.monotonic_s()
        yield
        ms = round((wait.monotonic_s() - began_s) * 1000, 1)
        self._emit(ndjson.Step(name=name, state="done", ms=ms))

    def _beat(self, step: str, done_bytes: int = 0, total_bytes: int | None = None) -> None:
        now_s = wait.monotonic_s()
        if now_s - self._last_beat_s >= _BEAT_S:
            self._last_beat_s = now_s
            self._emit(
                ndjson.Step(name=step, state="progress", bytes=done_bytes or None, total_bytes=total_bytes)
            )

    def _note(self, text: str) -> None:
        self._emit(ndjson.Step(name="note", state="progress", note=text))

    def _failed(self, failure: ProgramFailed, server: Server) -> NeonError:
        lines = [line for line in failure.last_lines.splitlines() if "kB (" not in line]
        said = "\n".join(lines[-8:])
        return _disks().explain(Unavailable("", detail=said)) or source.refused(said, server)


def _escaped(path: str) -> str:
    return path.replace("=", "\\=")


def _disks() -> Disks:
    """What is fetched needs room there, and the database made of it in the storage."""
    volume = settings.text("NEON_WORK_AT")
    return Disks((Place(Path("/work"), f'volume "{volume}"' if volume else "the work volume"),))


def main(arguments: list[str]) -> int:
    (folder,) = (Path(one) for one in arguments)

    def emit(step: ndjson.Step) -> None:
        sys.stdout.buffer.write(ndjson.encode(step))
        sys.stdout.buffer.flush()

    try:
        request = FetchRequest.model_validate_json((folder / REQUEST).read_bytes())
        with _disks().explained():
            report = Fetcher(folder, version(MAJOR), emit).fetch(request)
            (folder / REPORT).write_text(report.model_dump_json())
        last = ndjson.encode(ndjson.Result(result=report.model_dump(mode="json")))
    except NeonError as error:
        last = ndjson.encode_problem(error)
    except OSError as error:
        last = ndjson.encode_problem(
            Unavailable("the source could not be copied", detail=f"{error}.", code="copy_failed")
        )
    except Exception as error:  # the border of a process: the reader gets a last line, without its values
        last = ndjson.encode_problem(Bug("internal error", detail=f"{type(error).__name__}."))
    sys.stdout.buffer.write(last)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
