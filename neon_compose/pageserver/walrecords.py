"""Moments' and the chronicle's `Records` by pg_waldump, over WAL that was walked before."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime

from neon_compose.model.lsn import Lsn
from neon_compose.postgres.commits import Commit
from neon_compose.postgres.versions import Version
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Found, commits, find_time


@dataclass(frozen=True)
class WalRecords:
    version: Version

    def at_time(self, wal: WalFolder, start: Lsn, upto: Lsn, moment: datetime) -> Found:
        return find_time(self.version, wal, start, upto, moment)

    def commits(self, wal: WalFolder, start: Lsn, upto: Lsn) -> Generator[Commit]:
        return commits(self.version, wal, start, upto)
