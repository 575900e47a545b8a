"""The marker: everything a layout made is on disk.

A layout makes a thousand files and syncs none; one syncfs in the background then does, and only after
it the marker gets its name (written aside, synced, renamed, folder synced). The shim holds the first
write of pg_control until the marker exists, so Postgres never says "checkpointed" over files that a
power cut could still take.

It holds the boot id of the machine. A layout without a marker that was made in this boot is merely not
synced yet: its pages are in the page cache, whoever was killed. One from another boot is doubtful: the
power may have failed before the sync.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from neon_compose import log
from neon_compose.compute.paths import ComputePaths
from neon_compose.durable import write_file

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

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


def sync_filesystem(folder: Path) -> None:
    """syncfs(2) of the file system `folder` is on; raises OSError, also for earlier write errors on it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(fd)


class Settler:
    """Syncs and marks generations in a thread of its own, several at once when they come close together.

    `sync` and `write` are seams: tests count, hold and fail them. A failed sync leaves no marker: the compute
    stays settling, its pg_control is never written, and the log says why. `settle` is asked again at every
    layout, so a disk that recovers is marked then. Where only the marker found no room it is tried again
    until it does: everything else is on disk, and the compute's checkpoints wait for it.
    """

    def __init__(
        self,
        work: Path,
        boot: str,
        sync: Callable[[Path], None] = sync_filesystem,
        write: Callable[[Path, bytes], None] = write_file,
        again_s: float = 1.0,
    ) -> None:
        self._work = work
        self._boot = boot
        self._sync = sync
        self._write = write
        self._again_s = again_s
        self._waiting: set[Path] = set()
        self._busy = False
        self._changed = threading.Condition()
        self._held: dict[Path, threading.Lock] = {}

    def settle(self, marker: Path) -> None:
        """Make `marker` appear once everything written before this call is on disk; returns at once."""
        with self._changed:
            self._waiting.add(marker)
            self._changed.notify_all()
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work_off, name="settler", daemon=True).start()

    def holding(self, marker: Path) -> threading.Lock:
        """While it is held, `marker` does not appear: what is written under it either is covered by the
        marker's own sync of compute.json, or sees the marker and has to sync itself."""
        with self._changed:
            return self._held.setdefault(marker, threading.Lock())

    def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is being synced; whether that came true. For tests and an orderly end."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout_s)

    def _work_off(self) -> None:
        late: set[Path] = set()  # synced, but there was no room for the marker
        while True:
            with self._changed:
                if late and not self._waiting:
                    self._changed.wait(self._again_s)
                batch, self._waiting = self._waiting, set()
                late -= batch  # to be synced anew before they are marked
                if not batch and not late:
                    self._busy = False
                    self._changed.notify_all()
                    return
            late = {marker for marker in late | self._synced(batch) if not self._mark(marker)}

    def _synced(self, batch: set[Path]) -> set[Path]:
        """`batch` once it is on disk, none of it if that failed."""
        if not batch:
            return batch
        try:
            self._sync(self._work)
        except OSError:
            _log.exception("could not sync the work volume: %d computes stay settling", len(batch))
            return set()
        return batch

    def _mark(self, marker: Path) -> bool:
        """Whether there is nothing left to do for it."""
        try:
            with self.holding(marker):
                if not _record_synced(marker.parent):
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


def _record_synced(generation: Path) -> bool:
    """compute.json may have been replaced since the sync began; its folder is synced with the marker.

    A sync that failed is never tried again: the kernel tells of lost writes once, so the second try would
    succeed. The compute stays settling until its next layout writes all of it anew.
    """
    fd = os.open(ComputePaths(generation).record, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:
        _log.exception("could not sync the record of %s: it stays settling", generation)
        return False
    finally:
        os.close(fd)
    return True
