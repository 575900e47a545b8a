"""From where on safekeepers keep a branch's WAL, and what one that is new to it begins with.

What is archived and covered by a layer isn't needed there: opening a moment after that layer reads what
follows its redo LSN, and everything older is in the archive. So that redo LSN is where safekeepers may trim
to, and where a new one begins. It only rises: the archive grows, and a branch's newest layers stay.
"""

from __future__ import annotations

from dataclasses import dataclass

from neon_compose.compute.layout import Tips
from neon_compose.layer.history import stack_for
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.documents import Manifest
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.archive import Archive
from neon_compose.pageserver.quorum import Seed
from neon_compose.pageserver.wal import BranchWal
from neon_compose.terms.history import History
from neon_compose.terms.register import Register


@dataclass(frozen=True)
class Seeds:
    tips: Tips
    ages: Ages
    wal: BranchWal
    archive: Archive

    def archived(self, manifest: Manifest) -> Lsn:
        """Up to where the branch's own WAL is archived; where it begins, if nothing of it is."""
        start = self.wal.start(manifest)
        return max(self.archive.upto(manifest, self.wal.segment_size(manifest)) or start, start)

    def needed(self, manifest: Manifest) -> Lsn:
        """WAL of the branch from there on is needed on safekeepers."""
        start, archived = self.wal.start(manifest), self.archived(manifest)
        if archived == start:
            return start
        covering = self.tips.get(stack_for(self.ages.of(manifest.layers), archived))
        return max(start, covering.control.redo)

    def of(self, manifest: Manifest, register: Register) -> Seed:
        """For an empty volume that takes a seat in `register`; at the end if all seats are empty, since
        nobody has WAL to copy from."""
        rests_at = manifest.rests_at
        if rests_at is not None and not any(register.seats):
            return self._at(manifest, rests_at, register.decided.history)
        return self._at(manifest, self.needed(manifest), None)

    def to_go_on(self, manifest: Manifest) -> Seed:
        """For a member that has less than what the others still have."""
        assert manifest.register is not None
        at = self.needed(manifest)
        return self._at(manifest, at, manifest.register.decided.history.up_to(at))

    def _at(self, manifest: Manifest, lsn: Lsn, history: History | None) -> Seed:
        control = self.tips.get(manifest.layers).control
        before = self.wal.head(manifest, lsn)
        return Seed(lsn, before, control.timeline, control.wal_segment_size, history)
