"""The marker: everything a layout made is on disk.

A layout makes a thousand files and syncs none; one syncfs in the background then does, and only after
it the marker gets its name (written aside, synced, renamed, folder synced). The shim holds the first
write of pg_control until the marker exists, so Postgres never says "checkpointed" over files that a
power cut could still take.

It holds the boot id of the machine. A layout without a marker that was made in this boot is merely not
synced yet: its pages are in the page cache, whoever was killed. One from another boot is doubtful: the
power may have failed before the sync.

A sync that failed is never tried again. The kernel tells of pages it could not write once, and then takes
them for clean: a second sync would succeed over pages that are nowhere. It doesn't say whose pages they
were either. So a failed sync rules out every generation whose layout had begun by then and whose own sync
had not succeeded: it never gets its marker, until a layout makes all of it anew. A file beside the marker
("unsynced") says so to a later pageserver; it need not outlive a power cut, which leaves any generation
without a marker doubtful. Not seen is only what somebody else's sync was told between the death of a
pageserver that had laid out and not yet synced, and the start of the next.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from neon_compose import log
from neon_compose.compute.paths import ComputePaths
from neon_compose.durable import write_file

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_NEVER = -1

_log = log.get(__name__)
_libc = ctypes.CDLL(None, use_errno=True)


class Trust(StrEnum):
    """What is known of a laid-out generation."""

    SETTLED = "settled"  # on disk
    SETTLING = "settling"  # in this boot's page cache
    DOUBTFUL = "doubtful"  # another boot's, never marked


def boot_id(path: Path = BOOT_ID) -> str:
    """Which boot of the machine this is; `path` is a setting so that tests can reboot."""
    return path.read_text().strip()


def trust(marker: Path, laid_out_in: str, boot: str) -> Trust:
    """What the marker says about a layout made in the boot `laid_out_in`."""
    if marker.exists():
        return Trust.SETTLED
    return Trust.SETTLING if laid_out_in == boot else Trust.DOUBTFUL


def syncing(folder: Path) -> Callable[[], None]:
    """syncfs(2) of the file system `folder` is on, through a descriptor opened now and kept for good.

    Raises OSError for every write error on it since the last call, whoever else was told of it: the kernel
    keeps for each open file how far its errors have been reported there (errseq, Linux 5.8). A descriptor
    opened only for the call starts at the last error that anybody was told of: an error that somebody
    else's sync took between a layout and ours would never be seen. So this comes before the first layout.
    The first call may also tell of an older error that nobody was told of.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync() -> None:
        if _libc.syncfs(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))

    return sync


@dataclass
class _Held:
    """A lock, and how many hold it or wait for it."""

    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Settler:
    """Syncs and marks generations in a thread of its own, several at once when they come close together.

    `sync` and `write` are seams: tests count, hold and fail them. After a failed sync the compute stays
    settling for good (see the module): its pg_control is never written, and the log says why. Where only
    the marker found no room it is tried again until it does: everything else is on disk, and the compute's
    checkpoints wait for it.
    """

    def __init__(
        self,
        boot: str,
        sync: Callable[[], None],
        write: Callable[[Path, bytes], None] = write_file,
        again_s: float = 1.0,
    ) -> None:
        self._boot = boot
        self._sync = sync
        self._write = write
        self._again_s = again_s
        self._waiting: set[Path] = set()
        self._asked = False
        self._busy = False
        self._changed = threading.Condition()
        self._held: dict[Path, _Held] = {}
        self._failures = 0  # syncs that failed; only the thread adds to it
        # Markers that aren't there yet -> how many syncs had failed when the layout of their generation
        # began. That of an earlier process began before all of them.
        self._since: dict[Path, int] = {}

    def laying_out(self, marker: Path) -> None:
        """All of the generation is made anew from now on: earlier failures don't concern it."""
        with self._changed:  # or a failure that comes now would be noted, and the note removed
            _note(marker).unlink(missing_ok=True)
            self._since[marker] = self._failures

    def settle(self, *markers: Path) -> None:
        """Make the markers appear once everything written before this call is on disk; returns at once.

        With none it only syncs: what was wrong with the file system before is told before it can be taken
        for a failure of what comes after.
        """
        with self._changed:
            for marker in markers:
                if not marker.exists():
                    self._since.setdefault(marker, 0)
                    self._waiting.add(marker)
            self._asked = True
            self._changed.notify_all()
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work_off, name="settler", daemon=True).start()

    @contextmanager
    def holding(self, marker: Path) -> Iterator[None]:
        """While it is held, `marker` does not appear: what is written under it either is covered by the
        marker's own sync of compute.json, or sees the marker and has to sync itself.

        Its lock is there as long as anybody holds it or waits for it, so whoever comes meanwhile meets the
        same one; a lock that nobody knows of has nothing to remember.
        """
        with self._changed:
            held = self._held.setdefault(marker, _Held())
            held.users += 1
        try:
            with held.lock:
                yield
        finally:
            with self._changed:
                held.users -= 1
                if not held.users:
                    del self._held[marker]

    def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is being synced; whether that came true. For tests and an orderly end."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout_s)

    def _work_off(self) -> None:
        late: set[Path] = set()  # synced, but there was no room for the marker
        while True:
            with self._changed:
                if late and not self._asked:
                    self._changed.wait(self._again_s)
                batch, self._waiting = self._waiting, set()
                asked, self._asked = self._asked, False
                late -= batch  # to be synced anew before they are marked
                if not asked and not late:
                    self._forget_removed()
                    self._busy = False
                    self._changed.notify_all()
                    return
            if asked:
                late |= self._synced(batch, late)
            late = {marker for marker in late if not self._mark(marker)}

    def _forget_removed(self) -> None:
        """A layout may have failed, or its generation been removed, before anybody asked to settle it."""
        self._since = {one: since for one, since in self._since.items() if one.parent.is_dir()}

    def _synced(self, batch: set[Path], safe: set[Path]) -> set[Path]:
        """Those of `batch` that are known to be on disk; `safe` ones were so before.

        A failure doesn't concern these any more: what is written to them since then every start writes anew,
        Postgres syncs itself, or the marker's own sync covers.
        """
        try:
            self._sync()
        except OSError:
            _log.exception("could not sync the work volume: %d computes stay settling", len(batch))
            with self._changed:
                self._failures += 1
                for marker in self._since.keys() - safe:
                    self._rule_out(marker)
            return set()
        with self._changed:
            good = {
                one for one in batch if self._since.get(one) == self._failures and not _note(one).exists()
            }
            for marker in batch - good:
                _log.error("a sync of %s has failed before: it stays settling", marker.parent)
                self._rule_out(marker)
        return good

    def _rule_out(self, marker: Path) -> None:
        """Note that a sync failed since its layout began. Where that can't be noted, this process knows."""
        try:
            os.close(os.open(_note(marker), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except FileNotFoundError:  # it was removed
            pass
        except OSError:
            _log.exception("could not note that the sync of %s failed", marker.parent)
            self._since[marker] = _NEVER
            return
        self._since.pop(marker, None)

    def _mark(self, marker: Path) -> bool:
        """Whether there is nothing left to do for it."""
        try:
            with self.holding(marker):
                if not self._record_synced(marker):
                    return True
                self._write(marker, self._boot.encode() + b"\n")
        except FileNotFoundError:
            _log.info("compute data was removed while it settled: %s", marker.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _log.warning("no room for the marker %s", marker)
                return False
            _log.exception("could not write the marker %s", marker)
            return True
        with self._changed:
            self._since.pop(marker, None)
        return True

    def _record_synced(self, marker: Path) -> bool:
        """compute.json may have been replaced since the sync began; its folder is synced with the marker."""
        fd = os.open(ComputePaths(marker.parent).record, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError:
            _log.exception("could not sync the record of %s: it stays settling", marker.parent)
            with self._changed:
                self._rule_out(marker)
            return False
        finally:
            os.close(fd)
        return True


def _note(marker: Path) -> Path:
    return ComputePaths(marker.parent).unsynced
