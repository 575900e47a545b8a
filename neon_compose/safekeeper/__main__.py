"""Composition root of a safekeeper: /safekeeper in, HTTP on port 6401 out."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import uvicorn

from neon_compose import log, settings
from neon_compose.disks import Disks, Place
from neon_compose.model.lsn import Lsn
from neon_compose.postgres import versions, walk
from neon_compose.postgres.versions import Version
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.safekeeper.app import make_app
from neon_compose.safekeeper.receiver import Receiver
from neon_compose.safekeeper.service import Service
from neon_compose.safekeeper.standing import Around
from neon_compose.safekeeper.volume import Volume
from neon_compose.wire import keepalive
from neon_compose.wire.safekeeper import PORT
from neon_compose.wire.safekeeper_client import SafekeeperClient, address

FOLDER = Path("/safekeeper")
_GRACE_S = 3


def main(folder: Path = FOLDER, host: str = "0.0.0.0") -> None:
    """The safekeeper whose volume is at `folder`, until SIGTERM."""
    log.configure()
    # uvicorn raises the signal that ended it once more: then it is to unwind us, not to kill us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    token = settings.secret_file("NEON_TOKEN_FILE")
    version = versions.version(int(settings.text("NEON_POSTGRES_MAJOR", "17")))
    with tempfile.TemporaryDirectory(prefix="neon-said-") as said:
        service = Service(Volume.open(folder), around(version, token, Path(said)))
        service.start()
        try:
            uvicorn.run(
                make_app(service, token, disks(folder)),
                host=host,
                port=PORT,
                log_level="warning",
                access_log=False,
                timeout_keep_alive=keepalive.SERVER_S,
                timeout_graceful_shutdown=_GRACE_S,
            )
        finally:
            service.close()


def around(version: Version, token: str, said: Path) -> Around:
    """Postgres's programs and the other safekeepers. What a receiver says is kept off the WAL's disk."""

    def walked(wal: WalFolder, start: Lsn, known: Lsn, upto: Lsn | None) -> Lsn:
        return walk.walk(version, wal, start, known=known, upto=upto).end

    return Around(
        walk=walked,
        receiver=lambda segments, subject, primary, words: Receiver(
            version, segments, subject, primary, words
        ),
        connect=lambda host: SafekeeperClient(address(host), token),
        said=said,
    )


def disks(folder: Path) -> Disks:
    """/safekeeper as people know it."""
    volume = settings.text("NEON_SAFEKEEPER_AT", "")
    return Disks(
        (Place(folder, f'volume "{volume}" of a safekeeper' if volume else "a safekeeper's volume"),)
    )


if __name__ == "__main__":
    main()
