"""Names on the wire that say which branch, term and member WAL belongs to.

A member's slot and its standby have one name. A primary lists it in synchronous_standby_names, and a receiver
introduces itself by it, so both are made here.
"""

from __future__ import annotations

from uuid import UUID

_MAX_BYTES = 63  # NAMEDATALEN - 1; Postgres truncates longer application names silently


def short(identity: UUID) -> str:
    """12 hex digits for `identity`: its last ones. In a UUIDv7 the first 12 are the time, which two made in
    one millisecond share."""
    return identity.hex[-12:]


def standby_name(branch: UUID, term: int, member: UUID) -> str:
    """Of the slot and of the standby that receives `branch`'s WAL of `term` for `member`."""
    assert term >= 0
    name = f"b{short(branch)}_t{term}_{short(member)}"
    assert len(name) <= _MAX_BYTES, name
    return name
