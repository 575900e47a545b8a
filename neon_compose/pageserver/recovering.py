"""A branch whose safekeepers are lost for good goes on from what there still is of its WAL.

Not for one that was sealed: that needs nothing. Else what was committed since the archive's end, or the end
of what a surviving safekeeper has, is lost; so it has to be asked for in words. The branch is sealed there,
as if nothing had come after, and its next start takes other safekeepers (register.reseated).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from neon_compose.errors import Conflict
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Sealed
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.archiving import Resting
from neon_compose.pageserver.quorum import Quorum, log_of
from neon_compose.pageserver.seeds import Seeds
from neon_compose.pageserver.wal import Committed
from neon_compose.terms import register as terms


@dataclass(frozen=True)
class Recovering:
    store: ObjectStore
    quorum: Quorum
    seeds: Seeds
    resting: Resting

    def recover(self, name: str, *, accept_loss: bool) -> Manifest:
        """Seal the branch where what is left of its WAL ends. Repeat is success.

        Raises `Conflict` code "not_lost" if its safekeepers answer, "not_confirmed" with where it would go
        on, "running"; `NotFound`, and `Corrupt` if what is left is damaged.
        """
        manifest = manifests.read_branch(self.store, name)
        register = manifest.register
        if manifest.rests_at is not None:
            return manifest
        if register is None or self.quorum.commit(manifest) is not None:
            raise Conflict(
                f'the WAL of branch "{name}" is not lost',
                detail="Its safekeepers answer, or none ever had any.",
                hint="Start its pg.",
                code="not_lost",
            )
        found = self._left(manifest)
        if not accept_loss:
            raise Conflict(
                f'branch "{name}" can go on at {found.end} only',
                detail="Too few of the safekeepers that have its WAL answer. What was committed after that "
                "LSN is on them, and maybe in the data directory of its pg, which goes too.",
                hint=f"If their volumes are gone for good: neon-compose branch recover {name} --accept-loss",
                code="not_confirmed",
            )
        with self.resting(manifest.writer) as rests:
            if not rests:
                raise Conflict(f'the pg of branch "{name}" runs', hint="Stop it first.", code="running")
            self._archive(manifest, found)
            reseated = terms.reseated(register, self.quorum.seats, found.end)
            sealed = Sealed(reseated.claimed.term, found.end)

            def change(now: Manifest) -> Manifest:
                if (now.register, now.writer) != (register, manifest.writer):
                    raise Conflict(f'branch "{name}" was started meanwhile', code="superseded")
                return replace(now, register=reseated, sealed=sealed, durable=True)

            return manifests.update_manifest(self.store, manifest.branch_id, change)

    def _left(self, manifest: Manifest) -> Committed:
        """All whole records that the archive or a surviving safekeeper has."""
        assert manifest.register is not None
        decided = manifest.register.decided
        begin = self.seeds.archived(manifest)
        survivors = (one for _, one in self.quorum.statuses(manifest))
        ends = [
            log_of(one).shared_with(decided.history)
            for one in survivors
            if one.identity in map(str, decided.seats)
        ]
        return self.seeds.wal.upto(self.seeds.wal.over(manifest, begin), max([begin, *ends]))

    def _archive(self, manifest: Manifest, found: Committed) -> None:
        """Up to the end, which may lie within a segment that is archived whole: what follows there is not
        to count."""
        folder, start = found.folder, self.seeds.wal.start(manifest)
        for number in range(folder.number(self.seeds.archived(manifest)), folder.number(found.end)):
            self.seeds.archive.put(manifest, folder, number, folder.begin(number + 1))
        if found.end > max(start, folder.begin(folder.number(found.end))):
            self.seeds.archive.put(manifest, folder, folder.number(found.end), found.end)
