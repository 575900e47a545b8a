"""The WAL of branches, as the pageserver reads it: fetched, checked once, kept in /work/wal.

Owns one folder per branch, its *view*: the segments from the redo LSN of the layers it opens from up to what
was asked for. A branch's own WAL begins at its start point; what comes before is its ancestors', the same
segments. Everything in a view is committed or decided, so it never changes: only the last segment grows.

A view is a cache: it isn't synced, and is emptied when the pageserver starts. `forget` gives it another
folder without its oldest segments; the one before stays for those who read it, for as long as anything they
do may take. What arrives is walked once (postgres/walk.py), from where the last walk ended. It comes from
safekeepers, and from the archive where they trimmed it. A damaged segment is taken from another place; if
none has it whole the error names it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import UUID

from neon_compose import log, wait
from neon_compose.compute.layout import Tip, Tips
from neon_compose.errors import Conflict, Corrupt, NeonError, Unavailable
from neon_compose.layer.history import stack_for
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.archive import Archive
from neon_compose.pageserver.quorum import Quorum
from neon_compose.pageserver.ways import Part, Source, Way, ways
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.nearby import boundary_before
from neon_compose.postgres.versions import Version
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Walked, walk

_log = log.get(__name__)
_WAL = "pg_wal/"
_NOWHERE = Lsn(0)
_WORTH = 256 << 20  # bytes of WAL that are worth being forgotten
_LEFT_S = 3600.0  # longer than any read of a folder takes
_FAR = 2 << 20  # bytes of WAL: to fetch and walk less than this is as quick as to look for its end


@dataclass(frozen=True)
class Records:
    """Where those that were walked end, and where the last one and the last checkpoint's begin, if known."""

    end: Lsn
    last: Lsn | None = None
    checkpoint: Lsn | None = None

    def then(self, walked: Walked) -> Records:
        """With what follows."""
        last, checkpoint = walked.last_record or self.last, walked.last_checkpoint or self.checkpoint
        return Records(walked.end, last, checkpoint)


_NOTHING = (_NOWHERE, _NOWHERE, Records(_NOWHERE))


@dataclass(frozen=True)
class Committed:
    """WAL records from `start`, the redo LSN of the layers asked with, to `end`, the end of a record; where
    the last of them and the last checkpoint begin, if there is one."""

    folder: WalFolder
    start: Lsn
    end: Lsn
    last_record: Lsn | None = None
    last_checkpoint: Lsn | None = None


@dataclass
class _View:
    """What is known of a branch's folder: of its own WAL [`begin`, `have`) was fetched, from the begin of a
    segment on; the records from `first` on were walked."""

    mutex: threading.RLock = field(default_factory=threading.RLock)
    turn: int = 0  # how often it got another folder
    begin: Lsn = _NOWHERE
    have: Lsn = _NOWHERE
    first: Lsn = _NOWHERE
    walked: Records = Records(_NOWHERE)
    last: tuple[Lsn, Lsn, Records] = _NOTHING  # asked for, and found

    def lacking(self, begin: Lsn, end: Lsn) -> list[tuple[Lsn, Lsn]]:
        """What to fetch to have [`begin`, `end`); nothing between that and what is there already, unless the
        two touch: redo jobs leave the WAL below their layers behind."""
        if begin > self.have or end < self.begin:
            return [(begin, end)] if end > begin else []
        parts = (begin, min(self.begin, end)), (max(begin, self.have), end)
        return [(start, stop) for start, stop in parts if stop > start]

    def fetched(self, begin: Lsn, end: Lsn) -> None:
        """[`begin`, `end`) is there too."""
        if begin > self.have:
            self.begin, self.have = begin, end
        elif end >= self.begin:
            self.begin, self.have = min(self.begin, begin), max(self.have, end)


class BranchWal:
    """See the module. `root` is emptied."""

    def __init__(
        self,
        store: ObjectStore,
        tips: Tips,
        quorum: Quorum,
        archive: Archive,
        version: Version,
        root: Path,
    ) -> None:
        self._store = store
        self._tips = tips
        self._ages = Ages(store)
        self._quorum = quorum
        self._archive = archive
        self._version = version
        self._root = root
        self._views: defaultdict[UUID, _View] = defaultdict(_View)
        self._left: list[tuple[float, Path]] = []  # folders that nobody is given any more, and since when

    def start(self, manifest: Manifest) -> Lsn:
        """Where the branch's own WAL begins."""
        register = manifest.register
        if register is not None and register.decided.history.starts:
            return register.decided.history.starts[0].start
        return manifest.parent.lsn if manifest.parent else self._tips.get(manifest.layers[:1]).end

    def segment_size(self, manifest: Manifest) -> int:
        return self._tips.get(manifest.layers).control.wal_segment_size

    def commit_lsn(self, manifest: Manifest) -> Lsn | None:
        """Up to where it is committed, without fetching any; None if no safekeeper has WAL of the branch."""
        return self._quorum.commit(manifest)

    def committed(self, manifest: Manifest) -> Committed:
        """All that is committed, from the tip's redo LSN on.

        Raises `Unavailable` if safekeepers that have it don't answer, `Corrupt` for damage.
        """
        commit = self._commit(manifest)
        return self.upto(manifest, self.start(manifest) if commit is None else commit)

    def end(self, manifest: Manifest) -> Lsn:
        """The end of the last committed record, where nothing else of the WAL is asked for: a snapshot of a
        busy branch doesn't wait until all is fetched and walked. Whoever opens it does that. Raises as
        `committed`."""
        commit = self._commit(manifest)
        if commit is not None:
            fetched = self._views[manifest.branch_id].have
            found = self._last_end(manifest, commit) if commit.value - fetched.value > _FAR else None
            return found or self.upto(manifest, commit).end
        return self.committed(manifest).end

    def upto(self, manifest: Manifest, end: Lsn) -> Committed:
        """WAL up to the last record that ends by `end`, which is committed or decided."""
        tip = self._tips.get(manifest.layers)
        redo = tip.control.redo
        if end <= tip.end and not tip.replays_at_end:
            return Committed(self._folder(manifest.branch_id, tip), redo, tip.end)
        end = max(end, tip.end)
        folder, view = self._filled(manifest, redo, end)
        with view.mutex:
            found = self._walked(folder, view, redo, end)
        return Committed(folder, redo, found.end, found.last, found.checkpoint)

    def cut(self, manifest: Manifest, at: Lsn) -> Cut | None:
        """What a layout replays to open the branch at `at`, the end of a record; None at its tip's end."""
        tip = self._tips.get(manifest.layers)
        if at == tip.end and not tip.replays_at_end:
            return None
        found = self.upto(manifest, at)
        if found.end != at:
            raise Corrupt(
                f'WAL of branch "{manifest.name}" has no record that ends at {at}',
                detail=f"The last one before it ends at {found.end}.",
                code="wal_damaged",
            )
        return Cut(found.folder.path, at)

    def head(self, manifest: Manifest, at: Lsn) -> bytes:
        """The WAL of the segment that holds `at`, up to there."""
        # Over the layers of then: redo jobs may have put others on top since.
        manifest = self.over(manifest, at)
        tip = self._tips.get(manifest.layers)
        size = tip.control.wal_segment_size
        inside = at.value % size
        if not inside:
            return b""
        if at == tip.end and not tip.replays_at_end:
            name = self._folder(manifest.branch_id, tip).name(at.value // size)
            return _own(tip)[name][:inside]
        folder = self.upto(manifest, at).folder
        return folder.read(folder.number(at))[:inside]

    def over(self, manifest: Manifest, lsn: Lsn) -> Manifest:
        """With the layers that open `lsn`: what is asked for with them has all WAL from there on."""
        return replace(manifest, layers=stack_for(self._ages.of(manifest.layers), lsn))

    def _commit(self, manifest: Manifest) -> Lsn | None:
        """None if no term ever was."""
        register = manifest.register
        if register is None or not register.decided.history.starts:
            return None
        commit = self._quorum.commit(manifest)
        if commit is None:
            raise Unavailable(
                f'the WAL of branch "{manifest.name}" can\'t be read',
                detail="Too few of its safekeepers answer, or their WAL is not the branch's.",
                hint="neon-compose status shows them. If their volumes are gone for good: "
                f"neon-compose branch recover {manifest.name}",
                code="no_majority",
            )
        return commit

    def _last_end(self, manifest: Manifest, commit: Lsn) -> Lsn | None:
        """As the segment of `commit` alone says; None if it doesn't."""
        oldest = self._tips.get(manifest.layers[:1])  # in memory, as the newest need not be after a redo job
        own = self._folder(manifest.branch_id, oldest)
        begin = own.begin(own.number(Lsn(commit.value - 1)))
        if begin <= self.start(manifest):
            return None
        for host, safekeeper, _ in self._quorum.holders(manifest, commit):
            with tempfile.TemporaryDirectory(dir=self._root, prefix="end-") as path:
                folder = replace(own, path=Path(path))
                try:
                    _copy(folder, Part(partial(safekeeper.wal, manifest.branch_id), begin, commit))
                    near = boundary_before(folder, commit)
                    return walk(self._version, folder, near, known=commit, upto=commit).end if near else None
                except (Conflict, Corrupt, Unavailable) as error:
                    _log.warning(
                        "the end of %s from %s: %s (%s)", manifest.name, host, error.message, error.detail
                    )
        return None

    # ---- filling a view

    def forget(self, manifest: Manifest, needed: Lsn) -> None:
        """Free the room of segments before `needed`, a record's begin, if they are many."""
        while self._left and wait.monotonic_s() - self._left[0][0] > _LEFT_S:
            shutil.rmtree(self._left.pop(0)[1], ignore_errors=True)
        view = self._views[manifest.branch_id]
        with view.mutex:
            old = self._folder(manifest.branch_id, self._tips.get(manifest.layers))
            first = old.number(needed)
            if needed > view.have or (first - old.number(view.begin)) * old.segment_size < _WORTH:
                return
            view.turn += 1
            new = self._folder(manifest.branch_id, self._tips.get(manifest.layers))
            new.path.mkdir(mode=0o700)
            for number, path in old.files().items():
                if number >= first:
                    os.link(path, new.complete(number))
            view.begin = new.begin(first)
            if view.first < needed:
                view.first = needed
                if view.walked.end < needed:
                    view.walked = Records(needed)
            view.last = _NOTHING
            self._left.append((wait.monotonic_s(), old.path))

    def _folder(self, branch_id: UUID, tip: Tip) -> WalFolder:
        name = f"{branch_id}.{self._views[branch_id].turn}"
        return WalFolder(self._root / name, tip.control.timeline, tip.control.wal_segment_size)

    def _filled(self, manifest: Manifest, redo: Lsn, end: Lsn) -> tuple[WalFolder, _View]:
        """A folder with [`redo`, `end`): the branch's, or an ancestor's if all is from before its start."""
        start = self.start(manifest)
        if end <= start and manifest.parent is not None:
            parent = manifests.read_manifest(self._store, manifest.parent.branch_id)
            return self._filled(parent, redo, end)
        view, tip = self._views[manifest.branch_id], self._tips.get(manifest.layers)
        with view.mutex:
            folder = self._folder(manifest.branch_id, tip)
            folder.path.mkdir(mode=0o700, exist_ok=True)
            own = folder.number(start)
            self._before(manifest, folder, redo, own)
            self._fetch(manifest, folder, view, redo, end)
        return folder, view

    def _before(self, manifest: Manifest, folder: WalFolder, redo: Lsn, own: int) -> None:
        """The whole segments from that of `redo` to the one before `own`: ancestors', or the layer's."""
        lacking = [n for n in range(folder.number(redo), own) if not folder.complete(n).exists()]
        if not lacking:
            return
        if manifest.parent is None:
            came_with = _own(self._tips.get(manifest.layers[:1]))
            for number in lacking:
                folder.complete(number).write_bytes(came_with[folder.name(number)])
            return
        parent = manifests.read_manifest(self._store, manifest.parent.branch_id)
        theirs, _ = self._filled(parent, redo, folder.begin(own))
        for number in lacking:
            os.link(theirs.complete(number), folder.complete(number))

    def _fetch(self, manifest: Manifest, folder: WalFolder, view: _View, redo: Lsn, end: Lsn) -> None:
        """The branch's own WAL from the segment of `redo` up to `end`, from where it is whole."""
        begin = folder.begin(folder.number(max(redo, self.start(manifest))))
        lacking = view.lacking(begin, end)
        if not lacking:
            return
        failed: NeonError | None = None
        for way in self._ways(manifest, folder.segment_size, lacking):
            try:
                for part in way.parts:
                    _copy(folder, part)
                self._walked(folder, view, redo, end)
                view.fetched(begin, end)
                return
            except (Conflict, Corrupt, Unavailable) as error:
                _log.warning(
                    "WAL of %s from %s: %s (%s)", manifest.name, way.name, error.message, error.detail
                )
                failed = error
        raise failed or Unavailable(
            f'neither a safekeeper nor the archive has the WAL of branch "{manifest.name}" up to {end}',
            hint="neon-compose status shows the safekeepers.",
            code="wal_unavailable",
        )

    def _ways(self, manifest: Manifest, segment_size: int, lacking: list[tuple[Lsn, Lsn]]) -> Iterator[Way]:
        branch = manifest.branch_id
        holders = [
            Source(host, partial(safekeeper.wal, branch), oldest)
            for host, safekeeper, oldest in self._quorum.holders(manifest, lacking[-1][1])
        ]
        archive = partial(self._archive.read, manifest, segment_size)
        return ways(lacking, holders, archive, self._archive.upto(manifest, segment_size), segment_size)

    def _walked(self, folder: WalFolder, view: _View, redo: Lsn, end: Lsn) -> Records:
        """The records that end by `end`, all from `redo` on checked, each once if they come in order."""
        if view.last[:2] == (redo, end):
            return view.last[2]
        goes_on = view.first <= redo <= view.walked.end
        before = view.walked if goes_on and end >= view.walked.end else Records(redo)
        found = before.then(walk(self._version, folder, before.end, known=end, upto=end))
        if found.end >= view.walked.end:
            view.first, view.walked = (view.first if goes_on else redo), found
        view.last = (redo, end, found)
        return found


def _own(tip: Tip) -> dict[str, bytes]:
    """The segments that the layer came with, by name."""
    return {one.name.removeprefix(_WAL): one.data for one in tip.files if one.name.startswith(_WAL)}


def _copy(folder: WalFolder, part: Part) -> None:
    at = part.start.value
    for chunk in part.read(part.start, part.end):
        rest = memoryview(chunk)
        while rest:
            inside = at % folder.segment_size
            piece = rest[: folder.segment_size - inside]
            _put(folder.complete(at // folder.segment_size), folder.segment_size, inside, piece)
            at, rest = at + len(piece), rest[len(piece) :]
    if at != part.end.value:
        raise Unavailable(f"WAL ends at {Lsn(at)}, {part.end} was promised", code="wal_unavailable")


def _put(path: Path, size: int, inside: int, part: memoryview) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)
        while part:
            done = os.pwrite(fd, part, inside)
            inside, part = inside + done, part[done:]
    finally:
        os.close(fd)
