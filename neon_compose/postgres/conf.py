"""Settings of a Postgres: our defaults, what is pinned, and which user settings are let in.

A compute gets three layers, weakest first: `DEFAULTS` and the user's settings in postgresql.conf,
the database's own ALTER SYSTEM, and `PINNED` as `-c` on the command line, which nothing undoes.
A user's setting is checked before anything starts: its name here, its value by the real binary
(`postgres -C`), so that enums, units and ranges are exactly Postgres's own.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from neon_compose.errors import Invalid, Unavailable
from neon_compose.model.nearest import nearest
from neon_compose.postgres.versions import Version

Value = str | bool | int | float

DEFAULTS: dict[str, str] = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    # Recovery stops at a prepared transaction that it has no room for; a branch's is over its parent's WAL.
    "max_prepared_transactions": "100",
    # Small WAL: a redo job ends at a checkpoint, a new branch is charged for its WAL (DESIGN 6, 14).
    "max_wal_size": "256MB",
    "min_wal_size": "8MB",
    "checkpoint_timeout": "1min",
    # What a safekeeper that was away still finds; one that is away longer fills up from another.
    "wal_keep_size": "64MB",
    "max_slot_wal_keep_size": "1GB",
    "wal_sender_timeout": "5s",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # What initdb would have written; layers carry no configuration files.
    "timezone": "Etc/UTC",
    "log_timezone": "Etc/UTC",
    "datestyle": "iso, mdy",
    "default_text_search_config": "pg_catalog.english",
    "lc_messages": "C.UTF-8",
    "lc_monetary": "C.UTF-8",
    "lc_numeric": "C.UTF-8",
    "lc_time": "C.UTF-8",
    "dynamic_shared_memory_type": "posix",
}

_SAFETY = "A compute's crash safety rests on it."
_OURS = "neon-compose sets it."
_REPLICATION = "Durability and replication are set by neon-compose."
_SAFEKEEPERS = "Each safekeeper takes one of the ten there are, and a pg without them never opens."
_RECOVERY = "Recovery is driven by neon-compose."

PINNED: dict[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "data_sync_retry": "off",
    "debug_io_direct": "",
    "wal_level": "replica",
    "synchronous_standby_names": "",
    "archive_mode": "off",
    "listen_addresses": "*",
    "unix_socket_permissions": "0777",
    "allow_in_place_tablespaces": "off",
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
    "log_destination": "stderr",
    "restore_command": "",
    "recovery_target": "",
    "recovery_target_lsn": "",
    "recovery_target_name": "",
    "recovery_target_time": "",
    "recovery_target_xid": "",
    "primary_conninfo": "",
}

FORBIDDEN: dict[str, str] = {
    "fsync": _SAFETY + " The durability of a pg is its own option.",
    "full_page_writes": _SAFETY,
    "data_sync_retry": _SAFETY,
    "debug_io_direct": "The copy-on-write layer can't read past the page cache.",
    "wal_level": _REPLICATION,
    "synchronous_standby_names": _REPLICATION,
    "archive_mode": _REPLICATION,
    "archive_command": _REPLICATION,
    "archive_library": _REPLICATION,
    "max_wal_senders": _SAFEKEEPERS,
    "max_replication_slots": _SAFEKEEPERS,
    "primary_conninfo": _REPLICATION,
    "primary_slot_name": _REPLICATION,
    "max_logical_replication_workers": "Subscriptions don't run in branches.",
    "listen_addresses": _OURS
    + " A pg listens in its pod; the stack's bind option says where that is published.",
    "port": "The port of a pg is its own option.",
    "unix_socket_directories": _OURS,
    "unix_socket_group": _OURS,
    "unix_socket_permissions": _OURS,
    "external_pid_file": _OURS,
    "data_directory": _OURS,
    "config_file": _OURS,
    "hba_file": _OURS,
    "ident_file": _OURS,
    "allow_in_place_tablespaces": "Tablespaces have no place in a branch.",
    "logging_collector": "The log of a pg is its container's log.",
    "log_destination": "The log of a pg is its container's log.",
    "restore_command": _RECOVERY,
    "archive_cleanup_command": _RECOVERY,
    "recovery_end_command": _RECOVERY,
    "io_method": "Only worker and sync can be seen by the copy-on-write layer; the default is right.",
    "wal_segment_size": "It is fixed when a storage is made.",
}
_FORBIDDEN_PREFIXES = {"recovery_target": _RECOVERY, "neon.": "The prefix neon is ours."}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")
_LOG_PREFIX = re.compile(r"^.*?(?=(?:LOG|FATAL|HINT|DETAIL|WARNING|ERROR):  )")
_CHECK_S = 20.0


def known_names(version: Version) -> frozenset[str]:
    """Names of the settings a configuration file may hold, as the binary itself lists them."""
    command = [str(version.program("postgres")), "--describe-config"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_CHECK_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("could not ask postgres for its settings", detail=str(error)) from error
    return frozenset(line.split("\t", 1)[0] for line in listed.stdout.splitlines() if line)


def check_names(settings: Mapping[str, Value], known: Collection[str]) -> dict[str, str]:
    """The settings as text, lower-cased names. Raises `Invalid` with every unknown or forbidden one."""
    checked: dict[str, str] = {}
    problems: list[str] = []
    hints: list[str] = []
    for raw, value in settings.items():
        name = raw.lower()
        why = _refusal(name, known, hints)
        if not why and name in checked:
            why = f'setting "{name}" is given twice'
        if why:
            problems.append(why)
        else:
            checked[name] = as_text(name, value)
    if problems:
        raise _refused(problems, hints)
    return checked


def _refusal(name: str, known: Collection[str], hints: list[str]) -> str:
    """Why a setting of that name is refused, or an empty text."""
    if not _NAME.fullmatch(name):
        return f"setting name {name[:60]!a} is not valid"
    reason = FORBIDDEN.get(name) or next(
        (r for p, r in _FORBIDDEN_PREFIXES.items() if name.startswith(p)), ""
    )
    if reason:
        hints.append(reason)
        return f'setting "{name}" can\'t be changed'
    if name in known or "." in name:  # an extension's settings are known only once it is loaded
        return ""
    near = nearest(name, known)
    if near is not None:
        hints.append(f'Did you mean "{near}"?')
    return f'setting "{name}" does not exist'


def _refused(problems: list[str], hints: list[str]) -> Invalid:
    detail = " ".join(f"{problem[0].upper()}{problem[1:]}." for problem in problems[1:])
    return Invalid(problems[0], detail=detail, hint=" ".join(dict.fromkeys(hints)), code="bad_setting")


def as_text(name: str, value: Value) -> str:
    """A value as Postgres writes it. Raises `Invalid` for what a configuration line can't hold."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
        raise Invalid(f'the value of setting "{name}" has control characters', code="bad_setting")
    if len(text) > 4096:
        raise Invalid(f'the value of setting "{name}" is longer than 4096 characters', code="bad_setting")
    return text


def render(settings: Iterable[tuple[str, str]], title: str) -> str:
    """postgresql.conf with these settings; a later line of a name wins, as in Postgres."""
    lines = [f"# {title}"]
    lines += [f"{name} = '{_escape(value)}'" for name, value in settings]
    return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def check_values(version: Version, settings: Mapping[str, str]) -> None:
    """Let the real binary parse the settings; raises `Invalid` with its own words.

    `postgres -C` reads the configuration and exits before it looks into the data directory.
    """
    with tempfile.TemporaryDirectory(prefix="conf-") as folder:
        Path(folder, "postgresql.conf").write_text(render(settings.items(), "checked, not used"))
        Path(folder, "postgresql.auto.conf").touch()  # its absence would be the first complaint
        command = [str(version.program("postgres")), "-C", "data_directory", "-D", folder]
        try:
            seen = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_CHECK_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable("could not ask postgres to check settings", detail=str(error)) from error
    if seen.returncode:
        raise _bad_values(seen.stderr)


def _bad_values(stderr: str) -> Invalid:
    """Postgres's complaints as one error: first as message, the rest as detail, its hints as hint."""
    said = [_LOG_PREFIX.sub("", line) for line in stderr.splitlines()]
    problems = [text for tag, text in _tagged(said) if tag in ("LOG", "ERROR")]
    hints = [text for tag, text in _tagged(said) if tag == "HINT"]
    if not problems:
        problems = [text for tag, text in _tagged(said) if tag == "FATAL"] or [stderr.strip()[-500:]]
    return _refused(problems, hints)


def _tagged(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    return [(tag, text) for tag, colon, text in (line.partition(":  ") for line in lines) if colon]
