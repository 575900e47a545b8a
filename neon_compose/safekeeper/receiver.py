"""One receiver: upstream's pg_receivewal for one branch and term, kept running over a folder of segments.

Owns: verifying the primary, the slot, starting, watching, restarting, ending. Does not do: choosing where to
start (the folder says, `Segments.seed` or `adopt` put it there), adopting terms, catching up from peers.

Whose WAL comes in: two histories on one timeline look the same on the wire, and the address of a dead
primary may be another's next moment. So a session asks the server for its branch and term first; and the
slot that the receiver names bears both, and is made only over that session. A server that took the address
since has no such slot, and pg_receivewal ends. `--create-slot` would undo this.

A server may be of the right term and yet have less than was received from it: its own disk lost WAL, and its
recovery ended there. It would write other WAL over what was acknowledged. A primary sends only what it has
synced, so one that has flushed less than lies here is refused; a new term goes on from what is here.

What may be acknowledged: pg_receivewal --synchronous syncs the segment before it says "flushed", and what it
said is what `flushed` gives: the primary's own record of it, read over that same session. Of a receiver
that has ended nothing is asked: `Segments.settle`, then the walk, say what is there.

How it ends: SIGKILL and reaping, always. It has nothing to finish: what it hasn't synced isn't acknowledged.
Should the supervisor die, the kernel kills the receiver (setpriv --pdeathsig); should that come too late, the
folder's lock, which the receiver holds too, keeps the next supervisor out until it is gone.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from neon_compose import log, wait
from neon_compose.errors import Conflict, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.programs import tail
from neon_compose.postgres.refusals import DATABASE, is_locked_out
from neon_compose.postgres.versions import Version
from neon_compose.safekeeper.condition import Condition, Ended, State, state_after
from neon_compose.safekeeper.segments import Segments
from neon_compose.safekeeper.subject import Primary, Subject

_log = log.get(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.025, 5.0
_EAGER_S = 3.0  # after it was asked for: a primary is about to come up, and its clients wait for this
_STEADY_S = 10.0  # a receiver that ran that long begins with short pauses again
_ASKING_S = 5.0
_REAP_S = 30.0  # one that waits for a dying disk can't be killed sooner

# Whatever the server, database or role is set to, and its login triggers, must not keep us out.
_OPTIONS = "-c event_triggers=off -c search_path=pg_catalog -c idle_session_timeout=0"
_IDENTITY = """
SELECT current_setting('neon.branch', true), current_setting('neon.term', true), pg_is_in_recovery(),
       (SELECT timeline_id FROM pg_control_checkpoint()),
       (SELECT bytes_per_wal_segment FROM pg_control_init())"""
_WROTE = "SELECT pg_current_wal_flush_lsn()"
_AWAITED = "SELECT current_setting('synchronous_standby_names') <> ''"
_SLOT = "SELECT slot_type = 'physical', wal_status FROM pg_replication_slots WHERE slot_name = %s"
_MAKE_SLOT = "SELECT pg_create_physical_replication_slot(%s, immediately_reserve => true)"
_DROP_SLOT = "SELECT pg_drop_replication_slot(%s)"
_FLUSHED = """
SELECT w.flush_lsn FROM pg_replication_slots s JOIN pg_stat_replication w ON w.pid = s.active_pid
WHERE s.slot_name = %s"""


class Receiver:
    """See the module. `said` is a file for pg_receivewal's words, not on the disk that the WAL is on.

    `changed` is called with each new state, from the supervising thread; it must not block.
    """

    def __init__(
        self,
        version: Version,
        segments: Segments,
        subject: Subject,
        primary: Primary,
        said: Path,
        changed: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._version = version
        self._segments = segments
        self._subject = subject
        self._primary = primary
        self._said = said
        self._changed = changed
        self._mutex = threading.Lock()
        self._ending = threading.Event()
        self._wanted = threading.Event()  # to receive: not only expected to
        self._wake = threading.Event()  # cuts a pause short
        self._eager = wait.Deadline.after(_EAGER_S)
        self._ran = False  # since the folder was settled
        self._has_run = False
        self._process: subprocess.Popen[bytes] | None = None
        self._session: psycopg.Connection[tuple[object, ...]] | None = None
        self._asking = threading.Lock()
        self._state = State(Condition.CONNECTING)
        # The thread that starts the receiver must live as long as it: --pdeathsig means that thread.
        self._thread = threading.Thread(target=self._supervise, name=subject.name, daemon=True)

    @property
    def state(self) -> State:
        is_receiving = self._wanted.is_set() and not self._ending.is_set()
        return self._state if is_receiving else State(Condition.STOPPED)

    @property
    def has_ended(self) -> bool:
        """Whether pg_receivewal ran and doesn't now: what it synced last was heard by nobody."""
        return self._has_run and self._process is None

    def expect(self) -> None:
        """Verify the primary and make the slot, and wait for `start`."""
        self._thread.start()

    def start(self) -> None:
        """Begin to receive, from what lies in the settled folder; it must have been seeded."""
        self._wanted.set()
        if self._thread.is_alive():
            self._wake.set()
        else:
            self._thread.start()

    def nudge(self) -> None:
        """Try again now: the primary has come up, or there is room on the disk."""
        self._wake.set()

    def stop(self) -> None:
        """End it: on return nothing of it runs, and nobody but the caller changes the folder.

        Raises `Unavailable` if it can't be killed: then the folder is not to be touched.
        """
        # From here on the thread neither starts one nor touches the folder. It may still wait for its
        # session, on which nothing here depends.
        with self._mutex:
            self._ending.set()
            process = self._process
        self._wake.set()
        self._wanted.set()
        if process is None:
            return
        process.kill()
        try:
            process.wait(_REAP_S)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f'receiver "{self._subject.name}" does not end',
                detail="It was killed; most likely it waits for its disk.",
                code="receiver_stuck",
            ) from error

    def flushed(self) -> Lsn | None:
        """Up to where WAL is on our disk by the primary's record; None while nothing is received.

        A lower bound: more may be there, and after a restart it begins with a segment again. Waits for the
        primary, and as long as that is frozen.
        """
        if not self._asking.acquire(timeout=_ASKING_S):
            return None
        try:
            return self._ask(self._session) if self._session else None
        except psycopg.Error:
            return self._ask_anew()
        finally:
            self._asking.release()

    def _ask(self, session: psycopg.Connection[tuple[object, ...]]) -> Lsn | None:
        row = session.execute(_FLUSHED, (self._subject.name,)).fetchone()
        return Lsn.parse(str(row[0])) if row and row[0] is not None else None

    def _ask_anew(self) -> Lsn | None:
        """Over another session, for ours has ended. Often the primary is gone; but pg_terminate_backend ends
        the session and spares the stream, and then commits go on being acknowledged of which we knew nothing.
        If the primary won't let us in any more, receiving ends, for the same reason; what it said is told.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return None
        try:
            session = _connect(self._primary, self._subject.name)
        except psycopg.Error as error:
            if is_locked_out(str(error)):
                process.kill()
            return None
        try:
            self._verify(session)
            flushed = self._ask(session)
        except (psycopg.Error, Conflict):
            session.close()
            return None
        self._session = session
        return flushed

    # ---- the supervising thread

    def _supervise(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._ending.is_set():
            began_s = wait.monotonic_s()
            try:
                self._receive()
            except (
                Exception
            ) as error:  # whatever it was, the next attempt may do better, and people read of it
                self._become(state_after(error))
            if wait.monotonic_s() - began_s > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            if self._wake.wait(pause_s):
                self._eager = wait.Deadline.after(_EAGER_S)
            self._wake.clear()
            awaited = self._state.condition is Condition.UNREACHABLE and not self._eager.passed
            pause_s = _FIRST_PAUSE_S if awaited else min(pause_s * 2, _LONGEST_PAUSE_S)

    def _receive(self) -> None:
        """One life of pg_receivewal; raises what it ended with."""
        here = self._prepare()
        name = self._subject.name
        with _connect(self._primary, name) as session:
            self._verify(session)
            self._refuse_less(session, here)
            _ensure_slot(session, name)
            self._wanted.wait()  # what is expected comes to be wanted, or is ended
            process = self._spawn()
            if process is not None and session.execute(_AWAITED).fetchone() != (True,):
                _yield(process)
            try:
                if process is not None:
                    self._watch(process, session)
            finally:
                self._end()
                with self._asking:
                    asked, self._session = self._session, None
                if asked is not None:
                    asked.close()
        if process is not None and not self._ending.is_set():
            raise Ended(tail(self._said) or f"It exited with {process.returncode}.")

    def _prepare(self) -> Lsn:
        """Make the folder one that pg_receivewal goes on from where it should; up to where it holds WAL."""
        with self._mutex:
            if self._ending.is_set():
                return Lsn(0)
            if self._ran:
                self._segments.settle()
                self._ran = False
            held, folder = self._segments.held(), self._segments.folder
            if held is None:
                raise Conflict(f'"{folder.path}" was not seeded', code="not_seeded")
            return folder.last_byte(held.whole, folder.number(held.limit) - 1)

    def _refuse_less(self, session: psycopg.Connection[tuple[object, ...]], here: Lsn) -> None:
        row = session.execute(_WROTE).fetchone()
        assert row is not None
        wrote = Lsn.parse(str(row[0]))
        if wrote < here:
            raise Conflict(
                f"{self._primary.host}:{self._primary.port} has less WAL than was received from it",
                detail=f"It ends at {wrote}, {here} is here: its own disk has lost some.",
                hint="Give its data directory up, which is then made again from what is here: "
                "neon-compose doctor --discard-cache PG",
                code="primary_behind",
            )

    def _verify(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        row = session.execute(_IDENTITY).fetchone()
        assert row is not None
        folder, subject = self._segments.folder, self._subject
        found = dict(zip(("branch", "term", "in recovery", "timeline", "segment size"), row, strict=True))
        wanted = {
            "branch": str(subject.branch),
            "term": str(subject.term),
            "in recovery": False,
            "timeline": folder.timeline,
            "segment size": folder.segment_size,
        }
        wrong = [
            f"{what} {found[what]}, not {wanted[what]}" for what in wanted if found[what] != wanted[what]
        ]
        if wrong:
            raise Conflict(
                f"{self._primary.host}:{self._primary.port} is not the primary of this branch and term",
                detail=f"It has {'; '.join(wrong)}.",
                code="other_primary",
            )

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start it, unless the end was called for. Under the mutex, so `stop` finds it or it never starts."""
        parameters = self._primary.parameters(self._subject.name)
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            str(self._version.program("pg_receivewal")),
            f"--directory={self._segments.folder.path}",
            f"--dbname={psycopg.conninfo.make_conninfo('', **parameters)}",
            f"--slot={self._subject.name}",
            *("--synchronous", "--no-loop", "--no-password"),
        ]
        with self._mutex, self._said.open("wb") as said:
            if self._ending.is_set():
                return None
            self._ran = self._has_run = True
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
                pass_fds=[self._segments.lock],
            )
            return self._process

    def _watch(
        self, process: subprocess.Popen[bytes], session: psycopg.Connection[tuple[object, ...]]
    ) -> None:
        """Wait for its end, and say when the primary has it as a standby."""
        name = self._subject.name

        def connected() -> bool:
            return process.poll() is not None or session.execute(_FLUSHED, (name,)).fetchone() is not None

        wait.until("the receiver to connect", connected, wait.Deadline.after(_LONGEST_PAUSE_S * 2))
        if process.poll() is None:
            with self._asking:
                self._session = session
            self._become(State(Condition.RECEIVING))
        process.wait()

    def _end(self) -> None:
        """Kill and reap."""
        with self._mutex:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _become(self, state: State) -> None:
        before, self._state = self._state, state
        if state.trouble and (before.trouble is None or before.trouble.message != state.trouble.message):
            _log.warning("%s: %s: %s", self._subject.name, state.trouble.message, state.trouble.detail)
        if state.condition is not before.condition:
            self._changed(state)


def _yield(process: subprocess.Popen[bytes]) -> None:
    """No commit waits for what it receives: have it take the CPU from nobody when there is more.

    It then receives and syncs in fewer, larger pieces. It keeps its share, so it doesn't fall behind.
    """
    with suppress(OSError):  # it has ended, or the engine's rules for system calls forbid it
        os.sched_setscheduler(process.pid, os.SCHED_BATCH, os.sched_param(0))


def _connect(primary: Primary, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        **primary.parameters(f"{name}_watch"), dbname=DATABASE, autocommit=True, options=_OPTIONS
    )


def _ensure_slot(session: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """Make the slot or find it: the primary keeps WAL for it until we have flushed that.

    One that the primary gave up is made anew. Should WAL be gone that we need, pg_receivewal is told so.
    """
    row = session.execute(_SLOT, (name,)).fetchone()
    if row is not None and row[0] is not True:
        raise Conflict(f'slot "{name}" is none of ours', code="other_primary")
    if row is not None and row[1] == "lost":
        session.execute(_DROP_SLOT, (name,))
    if row is None or row[1] == "lost":
        session.execute(_MAKE_SLOT, (name,))
