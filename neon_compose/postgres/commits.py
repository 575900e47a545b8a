"""What pg_waldump says of a commit: when it was made, and whether it changed the system catalogs.

Owns: reading the description of a COMMIT (xactdesc.c: time; rels; subxacts; dropped stats; inval msgs; sync;
origin). Does not do: records themselves, or telling *what* was changed.

With wal_level replica a commit lists the cache entries that other sessions and standbys have to forget, one
or more for each row it changed in a system catalog: that is how DDL is told. So are GRANT, CREATE ROLE,
temporary tables and TRUNCATE. ANALYZE changes catalogs too, autovacuum's all the time in a busy database; its
commits are known by the statistics' cache and don't count. VACUUM has a commit record only where it shortens
a table, which counts then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from neon_compose.model.lsn import Lsn
from neon_compose.postgres.waldump import Line

_COMMIT = re.compile(r"COMMIT(?:_PREPARED)? (?:\d+: )?(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_INVALIDATIONS = "; inval msgs:"
_CATCACHE = re.compile(r"catcache (\d+)")
_OTHERS = re.compile(r"catalog|snapshot|relmap|unrecognized")  # but for relcache, smgr


@dataclass(frozen=True)
class _Analyze:
    """Numbers of `enum SysCacheIdentifier` (syscache_ids.h), which is sorted by name and differs by major."""

    statistics: frozenset[int]  # STATRELATTINH, STATEXTDATASTXOID
    relations: frozenset[int]  # RELNAMENSP, RELOID: pg_class, for reltuples and relpages


_ANALYZE = {17: _Analyze(statistics=frozenset({60, 63}), relations=frozenset({54, 55}))}


@dataclass(frozen=True)
class Commit:
    """A record that commits: in WAL up to `end` it is included, in WAL up to `start` it isn't."""

    start: Lsn
    end: Lsn
    at: datetime  # UTC, by the clock of the compute
    changed_catalogs: bool


def parse_commit(line: Line, segment_size: int, major: int) -> Commit | None:
    """None if the record is no commit."""
    match = _COMMIT.match(line.description)
    if match is None:
        return None
    at = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    return Commit(line.start, line.end(segment_size), at, _changed_catalogs(line.description, major))


def _changed_catalogs(description: str, major: int) -> bool:
    _, found, rest = description.partition(_INVALIDATIONS)
    if not found:
        return False
    messages = rest.partition(";")[0]
    analyze = _ANALYZE.get(major)
    if analyze is None or _OTHERS.search(messages):
        return True
    caches = set(map(int, _CATCACHE.findall(messages)))
    return caches.isdisjoint(analyze.statistics) or not caches <= analyze.statistics | analyze.relations
