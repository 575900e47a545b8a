"""A small disk of its own, which a test can fill and make room on: ext4 in a file, through a loop device."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

_STEP = 1 << 16
_SHUTDOWN, _WITHOUT_FLUSH = 0x8004587D, 2  # FS_IOC_SHUTDOWN of <linux/fs.h>
_UID = 10001  # the containers' user


class SmallDisk:
    """Mounted at `root`; `data` is a folder on it that belongs to the containers' user."""

    def __init__(self, folder: Path, mib: int) -> None:
        folder.mkdir()
        self._image, self.root = folder / "image", folder / "disk"
        self._image.touch()
        os.truncate(self._image, mib << 20)
        self.root.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self._image], check=True)
        subprocess.run(["mount", "-o", "loop", self._image, self.root], check=True)
        self.data = self.root / "data"
        self.data.mkdir(0o700)
        os.chown(self.data, _UID, _UID)

    def fill(self, leave_bytes: int = 0) -> None:
        """Leave that much room, and none at all for 0."""
        os.sync()  # what is allocated late is allocated now
        with (self.root / "ballast").open("ab") as ballast:
            if leave_bytes:
                wanted = self.room_bytes() - leave_bytes
                os.posix_fallocate(ballast.fileno(), 0, wanted)
                return
            with suppress(OSError):
                while True:
                    os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, _STEP)
            with suppress(OSError):
                while True:
                    os.write(ballast.fileno(), bytes(512))

    def make_room(self) -> None:
        (self.root / "ballast").unlink(missing_ok=True)

    def room_bytes(self) -> int:
        seen = os.statvfs(self.root)
        return seen.f_bavail * seen.f_frsize

    def die(self) -> None:
        """Every call is an I/O error from now on, and what isn't on disk is lost, as when its cable is
        pulled."""
        fd = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(fd)

    def mend(self) -> None:
        """Plugged in again. Nothing may use it."""
        subprocess.run(["umount", self.root], check=True)
        subprocess.run(["mount", "-o", "loop", self._image, self.root], check=True)

    def scrap(self) -> None:
        subprocess.run(["umount", self.root], check=True)
        self._image.unlink()
