"""Lives of a branch, each recorded, each ended by many power cuts that are judged one by one."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from neon_compose.compute.paths import ComputePaths
from tests.power import branch, folder, log
from tests.power.log import Kind, Record
from tests.power.model import Model

LIVES = 3
IMAGES = 17  # of one life
CALLS = 120
_LOG_BYTES = 1 << 28


@dataclass
class Judged:
    images: int = 0
    lost_blocks: int = 0


def cut_positions(records: list[Record], images: int, rng: random.Random) -> set[int]:
    """Half of them just before a sync begins or just after it ended, half anywhere."""
    syncs = [n for n, record in enumerate(records) if record.kind is Kind.SYNC_BEGIN]
    syncs += [n + 1 for n, record in enumerate(records) if record.kind is Kind.SYNC_END]
    chosen = set(rng.sample(syncs, min(len(syncs), images // 2)))
    others = [n for n in range(len(records) + 1) if n not in chosen]
    return chosen | set(rng.sample(others, images - len(chosen)))


def live(home: Path, programs: branch.Programs, seed: int) -> tuple[Judged, list[str]]:
    """A branch in the new folder `home`, its lives one after the other; what was judged, what was wrong.

    Each life begins with the last image of the one before.
    """
    rng = random.Random(seed)
    made, root, contents = branch.make(home, programs, rng)
    judged = Judged()
    assert made.contents(root) == contents
    for number in range(LIVES):
        record = home / "log"
        log.make(record, _LOG_BYTES)
        disk = folder.load(root, ComputePaths(root).overlay)
        numbers = {
            str(path.relative_to(root)): path.stat().st_ino for path in root.rglob("*") if path.is_file()
        }
        model = Model(numbers, contents)
        arguments = (str(2 + 10_000 * number), str(rng.randrange(1 << 30)), str(CALLS))
        inode = root.stat().st_ino
        made.run(root, "write", *arguments, log=record)
        records = list(log.read(record))
        cuts = cut_positions(records, IMAGES, rng)
        image = root
        for n in range(len(records) + 1):
            if n in cuts:
                image = home / f"{number}-{n}"
                found = folder.store(disk.crash(rng), inode, image)
                contents = made.contents(image)
                judged.images += 1
                judged.lost_blocks += model.lost(contents)
                if complaints := model.complaints(found, contents):
                    where = f"seed {seed}, life {number}, record {n} of {len(records)}"
                    return judged, [f"{where}: {complaint}" for complaint in complaints]
                if n != max(cuts):
                    shutil.rmtree(image)
            if n < len(records):
                disk.feed(records[n])
                model.feed(records[n], disk)
        root = image
    shutil.rmtree(home)
    return judged, []
