"""Power cuts through Postgres, inside a container of the pageserver's image (test_postgres.py starts it):

    python -m tests.power.inside FOLDER SHIM RECORDER IMAGES TRANSACTIONS SEED

Makes a storage and a branch of it in the empty FOLDER by the package's own code, runs the workload of rows.py
on it under the recorder, and then Postgres on crash images of it. Ends with 0 and a line of numbers, or with
1 and what was wrong.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neon_compose import wait
from neon_compose.compute import command
from neon_compose.compute.layout import lay_out, make_tip, ready_again
from neon_compose.compute.paths import ComputePaths
from neon_compose.layer import branchmap, index, meta
from neon_compose.layer.pack import LayerFiles, pack_image, read_clean_stop
from neon_compose.postgres.server import Cluster
from neon_compose.postgres.versions import version
from tests.power import folder, log, rows
from tests.power.disk import Disk
from tests.power.log import Kind
from tests.power.server import Over

_LAYER = UUID("01900000-0000-7000-8000-000000000001")
_STORAGE = UUID("01900000-0000-7000-8000-00000000000a")
_BRANCH = UUID("01900000-0000-7000-8000-00000000000b")
_AT_ONCE = 2
_LOG_BYTES = 4 << 30

# Much must be written between checkpoints, and checkpoints be many: a tiny cache, little WAL.
_SETTINGS = {
    "shared_buffers": "1MB",
    "bgwriter_delay": "10ms",
    "max_wal_size": "16MB",
    "min_wal_size": "8MB",
    "checkpoint_timeout": "30s",
    "checkpoint_completion_target": "0.1",
    "autovacuum_naptime": "1s",
    "max_connections": "20",
}
_SCRATCH = {"shared_buffers": "16MB", "fsync": "off"}


@dataclass(frozen=True)
class Cut:
    number: int
    position: int
    root: Path
    unsynced: int  # changes that it may have lost


def make_branch(home: Path, over: Over) -> Path:
    """A storage with the tables of rows.py as one layer, and a branch of it laid out: its folder."""
    cluster = Cluster(over.version, home)
    cluster.init("unused", lambda: None)
    with cluster.running(_SCRATCH):
        for statement in rows.SETUP:
            cluster.execute("postgres", statement)
    stop = read_clean_stop(cluster.pgdata)
    pack_image(cluster.pgdata, over.layers, _LAYER, _STORAGE, stop.redo, stop.end)
    files = LayerFiles.of(over.layers, _LAYER)
    branchmap.build_map([index.read_index(files.index)], _STORAGE, over.branch_map)
    tip = make_tip(branchmap.read_map(over.branch_map), meta.read_tar_cached(files.meta), stop.end)
    paths = ComputePaths(home / "branch")
    paths.root.mkdir()
    lay_out(paths, tip, _BRANCH)
    command.write_settings(paths, "power", 5432, _SETTINGS)
    command.write_hba(paths, "local all all trust\n")
    paths.marker.write_text("boot\n")
    return paths.root


def images(disk: Disk, root: Path, record: Path, count: int, rng: random.Random) -> Iterator[Cut]:
    """Crash images of the branch that was at `root`, from the log of what was done to it, as folders."""
    kinds = [one.kind for one in log.read(record)]
    syncs = [n for n, kind in enumerate(kinds) if kind is Kind.SYNC_BEGIN]
    syncs += [n + 1 for n, kind in enumerate(kinds) if kind is Kind.SYNC_END]
    cuts = cut_positions(syncs, len(kinds), count, rng)
    inode = root.stat().st_ino
    for n, one in enumerate(log.read(record)):
        if n in cuts:
            cut = Cut(n, one.at, root.with_name(f"cut-{n}"), disk.unsynced())
            folder.store(disk.crash(rng), inode, cut.root)
            yield cut
        disk.feed(one)


def cut_positions(syncs: list[int], records: int, count: int, rng: random.Random) -> set[int]:
    """Half of them just before a sync begins or just after it ended, half anywhere."""
    chosen = set(rng.sample(syncs, count // 2))
    others = [n for n in range(records) if n not in chosen]
    return chosen | set(rng.sample(others, count - len(chosen)))


def judge(over: Over, ledger: rows.Ledger, cut: Cut) -> list[str]:
    """Recover on one image, look at it, and remove it."""
    ready_again(ComputePaths(cut.root))
    with over.running(cut.root):
        found = rows.complaints(cut.root, ledger, cut.position)
    if not found:
        shutil.rmtree(cut.root)
    return [f"record {cut.number}: {complaint}" for complaint in found]


def main(home: Path, shim: Path, recorder: Path, count: int, transactions: int, seed: int) -> list[str]:
    layers = home / "layers"
    layers.mkdir()
    over = Over(version(17), layers, home / "tip.map", shim, recorder)
    root = make_branch(home, over)
    disk = folder.load(root, ComputePaths(root).overlay)
    record = home / "log"
    log.make(record, _LOG_BYTES)
    ledger = rows.Ledger(lambda: log.end(record))
    with over.running(root, record):
        rows.work(root, ledger, transactions, seed)
    began = wait.monotonic_s()
    complaints: list[str] = []
    unsynced = 0
    waiting: set[Future[list[str]]] = set()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for cut in images(disk, root, record, count, random.Random(seed)):
            unsynced += cut.unsynced
            waiting.add(pool.submit(judge, over, ledger, cut))
            while len(waiting) > _AT_ONCE or (waiting and complaints):
                done = next(as_completed(waiting))
                waiting.remove(done)
                complaints += done.result()
            if complaints:
                break
        for last in waiting:
            complaints += last.result()
    if complaints:
        return complaints
    print(
        f"{count} images, {unsynced // count} unsynced changes each, log of {log.end(record) >> 20} MiB,"
        f" {len(ledger.values)} keys, {wait.monotonic_s() - began:.0f} s"
    )
    if unsynced < 10 * count:
        complaints.append(f"{unsynced} changes in {count} images: the cuts take nothing away")
    return complaints


if __name__ == "__main__":
    folder_, shim_, recorder_, *numbers = sys.argv[1:]
    wrong = main(Path(folder_), Path(shim_), Path(recorder_), *map(int, numbers))
    print("\n".join(wrong[:40]))
    sys.exit(1 if wrong else 0)
