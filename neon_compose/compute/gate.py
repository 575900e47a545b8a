"""The gate: a started compute lets clients in only once it is known to be what it should be.

Until then pg_hba admits neon_admin over the Unix socket alone, and safekeepers. If SQL has locked it out,
it is let in again first (readmission.py). What is checked:
  - it is its branch's cluster (system identifier);
  - it stands at the checkpoint its control file promised before the start, or at a later one that it has
    made itself since: crash recovery that ended short, or a server over other files, fails here;
  - in the first run over a branch opened at a moment, recovery ended exactly there (moment.py);
  - if commits wait for safekeepers, a majority of those has all WAL there is.
Then pg_hba is replaced and reloaded. The postmaster, on SIGHUP, re-reads its settings, signals its
children and loads pg_hba in one go before it accepts another connection; so once the load time seen by
our own session has changed, the next client meets the open pg_hba.

A kill -9 between any two steps leaves a closed gate or an open one, and `open` may be repeated on both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import psycopg

from neon_compose import wait
from neon_compose.compute import command, readmission
from neon_compose.compute.moment import Moment
from neon_compose.compute.paths import ComputePaths
from neon_compose.errors import Corrupt, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.refusals import DATABASE, is_locked_out
from neon_compose.postgres.server import ADMIN

_RELOAD_S = 10.0
_RECEIVED_S = 60.0
_LONGEST_PAUSE_S = 0.005  # a start takes about 40 ms: pauses may cost a tenth of that
_STATUS_LINE, _READY = 7, "ready"  # LOCK_FILE_LINE_PM_STATUS of miscadmin.h, PM_STATUS_READY
_CONNECT_S = 2
_CLOCK_GRAIN = timedelta(seconds=1)  # pg_control keeps whole seconds

_STANDING = """
SELECT s.system_identifier, c.checkpoint_lsn::text, c.checkpoint_time, pg_postmaster_start_time(),
       pg_current_wal_lsn()::text, pg_conf_load_time()
FROM pg_control_system() s, pg_control_checkpoint() c"""

_RECEIVED = """
SELECT coalesce(array_agg(application_name::text), '{{}}') FROM pg_stat_replication
WHERE application_name IN ({names}) AND flush_lsn >= '{end}'"""


class Session(Protocol):
    """A connection as neon_admin, in autocommit. `row` raises `Unavailable` when the server goes away."""

    def row(self, sql: str) -> tuple[Any, ...]: ...

    def close(self) -> None: ...


Connect = Callable[[], Session]


@dataclass(frozen=True)
class Expected:
    """What the compute must be: whose cluster, and the checkpoint its control file promised, or the moment
    it was laid out for while nothing has shown yet that recovery reached that."""

    system_identifier: int
    checkpoint: Lsn
    moment: Moment | None = None


@dataclass(frozen=True)
class Standing:
    """What a running server says of itself."""

    system_identifier: int
    checkpoint: Lsn
    checkpoint_time: datetime
    started: datetime
    lsn: Lsn
    conf_loaded: datetime


class NotYet(Exception):
    """The server doesn't take connections yet; says why. Never leaves this package."""


class SocketSession:
    """A `Session` through the compute's Unix socket; making one raises `NotYet` while nothing answers."""

    def __init__(self, paths: ComputePaths, port: int, password: str) -> None:
        # A connection that is refused costs the server a fork and a line in its log; its pid file is free.
        if (status := postmaster_status(paths)) != _READY:
            raise NotYet(f'It says "{status}".' if status else "It has not begun to start.")
        try:
            self._connection = _connection(paths, port, password)
        except psycopg.OperationalError as error:
            refusal = str(error).strip()
            if not is_locked_out(refusal):
                raise NotYet(refusal) from error
            readmission.readmit(paths, port, password, refusal)
            self._connection = _once_more(paths, port, password)

    def row(self, sql: str) -> tuple[Any, ...]:
        try:
            found = self._connection.execute(sql.encode()).fetchone()
        except psycopg.Error as error:
            raise Unavailable(
                "the compute went away while its gate opened", detail=str(error).strip()
            ) from error
        assert found is not None, sql
        return found

    def close(self) -> None:
        self._connection.close()


def _connection(paths: ComputePaths, port: int, password: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(
        host=str(paths.run),
        port=port,
        user=ADMIN,
        password=password,
        dbname=DATABASE,
        connect_timeout=_CONNECT_S,
        autocommit=True,
        application_name="neon-compose gate",
        # Whatever the database or role is set to, and its login triggers, must not keep us out.
        options="-c event_triggers=off -c search_path=pg_catalog -c statement_timeout=30s",
    )


def _once_more(paths: ComputePaths, port: int, password: str) -> psycopg.Connection[tuple[Any, ...]]:
    """After a readmission, which is tried once: what still refuses won't stop doing so."""
    try:
        return _connection(paths, port, password)
    except psycopg.OperationalError as error:
        raise readmission.locked_out(str(error).strip()) from error


def postmaster_status(paths: ComputePaths) -> str:
    """The last line of postmaster.pid ("starting", "ready", "stopping"); empty when there is none yet."""
    try:
        lines = (paths.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else ""


def is_ready(paths: ComputePaths) -> bool:
    """Whether it says that it takes connections."""
    return postmaster_status(paths) == _READY


def wait_until_up(connect: Connect, deadline: wait.Deadline, still_wanted: Callable[[], None]) -> Session:
    """A session once the server takes one. Raises `TimedOut` with its last refusal as detail."""
    refusal = ""

    def probe() -> Session | None:
        nonlocal refusal
        try:
            return connect()
        except NotYet as why:
            refusal = str(why)
            return None

    return wait.until(
        "the compute to accept connections",
        probe,
        deadline,
        alive=still_wanted,
        last_words=lambda: refusal,
        longest_s=_LONGEST_PAUSE_S,
    )


def standing(session: Session) -> Standing:
    identifier, checkpoint, checkpoint_time, started, lsn, loaded = session.row(_STANDING)
    return Standing(
        system_identifier=identifier,
        checkpoint=Lsn.parse(checkpoint),
        checkpoint_time=checkpoint_time,
        started=started,
        lsn=Lsn.parse(lsn),
        conf_loaded=loaded,
    )


def check(found: Standing, expected: Expected) -> None:
    """Raise `Corrupt` unless the server is what it should be."""
    if found.system_identifier % 2**64 != expected.system_identifier:
        raise Corrupt(
            "the compute runs another cluster's data",
            detail=f"Its system identifier is {found.system_identifier % 2**64}, "
            f"its branch's is {expected.system_identifier}.",
        )
    if expected.moment is not None:
        _check_moment(found, expected.moment)
        return
    its_own = found.checkpoint_time + _CLOCK_GRAIN >= found.started
    if found.checkpoint == expected.checkpoint or (found.checkpoint > expected.checkpoint and its_own):
        return
    raise Corrupt(
        "the compute opened at another place than its control file promised",
        detail=f"Its last checkpoint is {found.checkpoint}, promised was {expected.checkpoint}.",
        hint="Its data is damaged. Clients are not let in; nothing was discarded.",
    )


def _check_moment(found: Standing, moment: Moment) -> None:
    if found.checkpoint >= moment.checkpoint and moment.was_reached():
        return
    raise Corrupt(
        f"the compute did not open at {moment.end}",
        detail=f"Recovery ended at another place; its last checkpoint is {found.checkpoint}. The WAL before "
        f"{moment.end} is damaged there, or no record ends at {moment.end}.",
        hint="Clients are not let in; nothing was discarded.",
        code="not_at_moment",
    )


def waits_for_standbys(session: Session) -> bool:
    """Whether its commits wait for safekeepers."""
    return bool(session.row("SELECT current_setting('synchronous_standby_names')")[0])


def wait_until_received(session: Session, standbys: Sequence[str], needed: int) -> None:
    """Wait until `needed` of the standbys have flushed all WAL there is now, the checkpoint that ended
    recovery with it. Raises `TimedOut` saying who has."""
    (end,) = session.row("SELECT pg_current_wal_flush_lsn()::text")
    names = ", ".join(f"'{one}'" for one in standbys)
    seen: list[str] = []

    def received() -> bool:
        (found,) = session.row(_RECEIVED.format(names=names, end=end))
        seen[:] = found
        return len(seen) >= needed

    wait.until(
        f"{needed} of {len(standbys)} safekeepers to receive WAL up to {end}",
        received,
        wait.Deadline.after(_RECEIVED_S),
        last_words=lambda: f"These do: {', '.join(seen) or 'none'}.",
        longest_s=_LONGEST_PAUSE_S,
    )


def let_clients_in(session: Session, paths: ComputePaths, before: Standing) -> None:
    """Replace pg_hba and wait until the server uses it. Raises `TimedOut`."""
    command.write_hba(paths, command.OPEN_HBA)
    if not session.row("SELECT pg_reload_conf()")[0]:
        raise Unavailable("the compute could not be told to reload its settings", code="reload")

    def reloaded() -> bool:
        return bool(session.row("SELECT pg_conf_load_time()")[0] != before.conf_loaded)

    wait.until("the compute to reload pg_hba", reloaded, wait.Deadline.after(_RELOAD_S), longest_s=0.005)
