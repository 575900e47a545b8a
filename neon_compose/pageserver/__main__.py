"""Composition root of a storage's pageserver: /storage and /work in, HTTP on port 6400 out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import uvicorn
from fastapi import FastAPI

from neon_compose import durable, log, settings
from neon_compose.compute import marker
from neon_compose.compute.gate import Session, SocketSession
from neon_compose.compute.layout import Tip, Tips, make_tip
from neon_compose.compute.paths import SHIM_IN_CONTAINER, ComputePaths
from neon_compose.compute.writes import WriteScan
from neon_compose.disks import Disks, Place
from neon_compose.errors import Conflict, NeonError, NotFound
from neon_compose.layer.branchmap import build_map, read_map
from neon_compose.layer.index import Kind, read_index
from neon_compose.layer.meta import read_tar_cached
from neon_compose.layer.pack import LayerFiles
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.app import make_app
from neon_compose.pageserver.archive import Archive
from neon_compose.pageserver.archiving import Archiving
from neon_compose.pageserver.birth import Birth, MakeCluster
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.chronicle import Chronicle
from neon_compose.pageserver.claims import Claims
from neon_compose.pageserver.computes import Computes, Surroundings
from neon_compose.pageserver.deleting import Deleting
from neon_compose.pageserver.diffing import Differ
from neon_compose.pageserver.fetches import Fetches
from neon_compose.pageserver.generations import Generations
from neon_compose.pageserver.layering import redo_jobs
from neon_compose.pageserver.moments import Moments, NoSafekeepers
from neon_compose.pageserver.parts import Parts
from neon_compose.pageserver.primaries import Primaries
from neon_compose.pageserver.quorum import Quorum, Safekeeper
from neon_compose.pageserver.recovering import Recovering
from neon_compose.pageserver.redo import Redo
from neon_compose.pageserver.redoing import WalToReplay
from neon_compose.pageserver.restoring import Restoring
from neon_compose.pageserver.seeds import Seeds
from neon_compose.pageserver.service import Service
from neon_compose.pageserver.sizes import Sizes
from neon_compose.pageserver.tending import Tending
from neon_compose.pageserver.visiting import SESSION, MakeServer, Visits
from neon_compose.pageserver.wal import BranchWal
from neon_compose.pageserver.walrecords import WalRecords
from neon_compose.postgres import conf, versions
from neon_compose.postgres.server import Cluster
from neon_compose.postgres.versions import Version
from neon_compose.wire import keepalive
from neon_compose.wire.pageserver import PORT
from neon_compose.wire.safekeeper import ReceiverRequest
from neon_compose.wire.safekeeper_client import SafekeeperClient, address

_log = log.get(__name__)

_GRACE_S = 3
STORAGE = Path("/storage")
WORK = Path("/work")


def main() -> None:
    log.configure()
    token = settings.secret_file("NEON_TOKEN_FILE")
    app = compose(STORAGE, WORK, token)
    uvicorn.run(
        app,
        host="0.0.0.0",
        port=PORT,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=keepalive.SERVER_S,
        timeout_graceful_shutdown=_GRACE_S,  # then running imports are cancelled, and clean up
    )


def compose(storage: Path, work: Path, token: str) -> FastAPI:
    """The whole pageserver over two folders, after cleaning what a dead one left."""
    version = versions.version(int(settings.text("NEON_POSTGRES_MAJOR", "17")))
    outside = Outside(
        version=version,
        boot=marker.boot_id(Path(settings.text("NEON_BOOT_ID_FILE", str(marker.BOOT_ID)))),
        known_settings=conf.known_names(version),
        make_cluster=lambda home: Cluster(version, home),
        make_server=lambda home, environment: Cluster(version, home, environment, SESSION),
    )
    name = settings.text("NEON_STORAGE_NAME")
    service = make_service(storage, work, name, outside, _safekeepers(token))
    return make_app(service, token, _disks(storage, work, name))


def _safekeepers(token: str) -> list[tuple[str, Safekeeper]]:
    """By host name, in the order of their seats."""
    hosts = [host for host in settings.text("NEON_SAFEKEEPERS", "").split(",") if host]
    return [(host, SafekeeperClient(address(host), token)) for host in hosts]


@dataclass(frozen=True)
class Outside:
    """What a pageserver uses beyond its two folders: Postgres's programs, and which boot this is."""

    version: Version
    boot: str
    known_settings: frozenset[str]
    make_cluster: MakeCluster
    make_server: MakeServer
    session: Callable[[ComputePaths, int, str], Session] = SocketSession
    syncing: Callable[[Path], Callable[[], None]] = marker.syncing
    shim: Path = SHIM_IN_CONTAINER
    wal: WalToReplay | None = None  # None: what safekeepers have, if there are any


def make_service(
    storage: Path, work: Path, name: str, outside: Outside, safekeepers: Sequence[tuple[str, Safekeeper]] = ()
) -> Service:
    """The parts over two folders, after cleaning what a dead process left there."""
    version, boot = outside.version, outside.boot
    settler = marker.Settler(boot, outside.syncing(work))  # before the first layout
    scratch, maps, pg, wal = (_folder(work / name) for name in ("scratch", "maps", "pg", "wal"))
    _empty(scratch)
    _empty(wal)
    durable.sweep(maps)

    store = LocalStore(storage)
    birth = Birth(store, scratch, version.major, outside.make_cluster)
    _sweep(birth, store)
    tips = Tips(lambda tip, layers: load_tip(store, maps, tip, layers))
    generations = Generations(pg, scratch)
    quorum = Quorum(store, safekeepers)
    seats = quorum.seats
    scan = WriteScan(version)
    archive = Archive(store, scratch)
    branch_wal = BranchWal(store, tips, quorum, archive, version, wal)
    ages = Ages(store)
    seeds = Seeds(tips, ages, branch_wal, archive)
    around = Surroundings(
        store=store,
        generations=generations,
        tips=tips,
        settler=settler,
        scan=scan,
        version=version,
        boot=boot,
        primaries=Primaries(store, tips, quorum, branch_wal, scan, generations, seeds),
        session=outside.session,
    )
    computes = Computes(around)
    archiving = Archiving(store, quorum, branch_wal, seeds, computes.resting)
    layers = store.local_path("layers")
    records = WalRecords(version)
    committed = branch_wal if seats else NoSafekeepers()
    moments = Moments(store, ages.end, computes.writer_has_writes, committed, records)
    visits = Visits(store, tips, branch_wal.cut, outside.shim, maps, layers, outside.make_server)
    differ = Differ(name, store, moments, visits, scratch)
    job = Redo(version, outside.shim, maps, layers, scratch)
    replayed = outside.wal or (branch_wal if seats else None)
    redo = redo_jobs(store, tips, ages, generations, work, job, archive, replayed, differ.layers_in_use)
    branches = Branches(store, moments)
    restoring = Restoring(store, branches, moments, computes, generations)

    def receiving(manifest: Manifest) -> ReceiverRequest | None:
        return around.primaries.receiving(manifest, manifests.read_storage(store).admin_password)

    tending = Tending(store, quorum, receiving, seeds, archiving) if seats else None
    parts = Parts(
        name=name,
        store=store,
        scratch=scratch,
        version=version,
        birth=birth,
        fetches=Fetches(scratch),
        branches=branches,
        claims=Claims(store, generations, branches, around.scan, boot),
        computes=computes,
        restoring=restoring,
        recovering=Recovering(store, quorum, seeds, computes.resting),
        chronicle=Chronicle(moments, records),
        differ=differ,
        sizes=Sizes(store, computes.writer_own_bytes),
        redo=redo,
        tending=tending,
        deleting=Deleting(
            store,
            restoring.settle,
            redo.suspect if redo else lambda _: None,
            quorum.forget,
            tending.soon if tending else lambda: None,
        ),
        archiving=archiving if seats else None,
        known_settings=outside.known_settings,
        warm_up=lambda: _warm_up(store, tips),
    )
    _settle(restoring)
    computes.resume()
    parts.warm_up()
    return Service(parts)


def _disks(storage: Path, work: Path, name: str) -> Disks:
    """/storage and /work as people know them."""
    kept, worked = settings.text("NEON_STORAGE_AT", ""), settings.text("NEON_WORK_AT", "")
    kind = "folder" if kept.startswith("/") else "volume"
    return Disks(
        (
            Place(storage, f'{kind} "{kept}" of storage "{name}"' if kept else f'storage "{name}"'),
            Place(work, f'volume "{worked}", where storage "{name}" works,'.rstrip(",")),
        )
    )


def load_tip(store: LocalStore, maps: Path, tip: UUID, layers: Sequence[UUID]) -> Tip:
    """What a layout needs of the newest of a branch's layers and those it needs; builds its map if it isn't
    there."""
    folder = store.local_path("layers")
    path = maps / f"{tip}.map"
    top = read_index(LayerFiles.of(folder, tip).index)
    if not path.exists():
        stack = [top]
        for layer in reversed(layers[:-1]):
            if stack[0].kind is Kind.IMAGE:
                break
            stack.insert(0, read_index(LayerFiles.of(folder, layer).index))
        build_map(stack, top.storage_id, path)
    return make_tip(read_map(path), read_tar_cached(LayerFiles.of(folder, tip).meta), top.consistent)


def _sweep(birth: Birth, store: LocalStore) -> None:
    """Remove what dead processes left aside, and an unfinished birth unless somebody is at it now; settle a
    refresh that was cut off."""
    is_done = birth.is_done()
    if is_done and not birth.is_cut_off():
        store.sweep()
        return
    try:
        with suppress(Conflict), store.creating():
            birth.sweep()
    except NeonError as error:
        if not is_done:
            raise
        _log.error("could not settle a refresh: %s (%s)", error.message, error.detail)


def _settle(restoring: Restoring) -> None:
    """Restores that were cut off, before anybody reads."""
    try:
        restoring.settle_all()
    except NeonError as error:  # the next one of that branch tries again
        _log.error("could not settle a restore: %s (%s)", error.message, error.detail)


def _warm_up(store: LocalStore, tips: Tips) -> None:
    """Have main's tip in memory before the first branch asks for it."""
    try:
        tips.get(manifests.read_branch(store, manifests.MAIN).layers)
    except NotFound:
        return
    except NeonError as error:  # whoever uses it gets the error; everything else still works
        _log.error("could not load the tip of main: %s (%s)", error.message, error.detail)


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
