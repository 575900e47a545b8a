"""What documents and stack file want is made to run: network, safekeepers, storages, pods, pgs, MinIO, in
that order.

Each storage and pg is brought up on its own, under the lock of its name: one that fails is reported
and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from pydantic import SecretStr

from neon_compose.controller import keeping, minio, network, pgs, plan, pods, purging, specs, storages
from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc, StorageDoc
from neon_compose.controller.progress import Progress
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.engine.runtime import EVERYTHING
from neon_compose.model.stackfile import PgSpec, StackFile, StorageSpec
from neon_compose.model.states import Wanted
from neon_compose.wait import Deadline, until
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageIn

NO_PASSWORDS: Mapping[str, SecretStr] = MappingProxyType({})
D = TypeVar("D", StorageDoc, PgDoc)

_MINIO_S = 30.0


def bring_up(
    site: Site,
    documents: StackFile,
    file: StackFile | None,
    progress: Progress,
    passwords: Mapping[str, SecretStr] = NO_PASSWORDS,
) -> None:
    """Bring back what documents want, with the settings of `documents`; and with `file`, a new stack
    file, make what it names and no document does. `passwords` are those of servers to import from."""
    work = partial(network.ensure_network, site.engine, site.stack, site.image("base"), site.me)
    subnet = progress.emit_around(f"network {specs.network_name(site.stack)}", work)
    keep = partial(keeping.bring_up, site, progress, subnet)
    site.locks.run_unasked("bring up safekeepers", keep, alone=frozenset({"safekeepers"}))
    asked = file.storages if file is not None else {}
    elsewhere = {name for name, doc in site.documents.read().storages.items() if _is_elsewhere(doc, asked)}
    _serve_all(site, progress, lambda name: name not in elsewhere)
    for storage in (storage_in(*named, passwords.get(named[0])) for named in asked.items()):
        attach = partial(storages.attach, site, storage, progress.emit)
        progress.attempt(f"storage {storage.name}", attach)
    _serve_all(site, progress, lambda name: name in elsewhere)
    progress.attempt("what purged storages had", partial(purging.forget_all, site))
    _restore_pods(site, progress)
    if file is not None:
        for pg in (pg_in(*named) for named in file.pgs.items()):
            progress.attempt(f"pg {pg.name}", partial(pgs.put, site, pg))
    named = file.pgs if file is not None else {}
    half = [pg for pg in site.documents.read().pgs.values() if pg.ending or pg.wanted is Wanted.STOPPED]
    _each(site, progress, "pg", half, lambda pg: pgs.finish(site, pg.name))
    wanted = [pg for pg in site.documents.read().pgs.values() if _wanted(pg) and pg.name not in named]
    _each(site, progress, "pg", wanted, partial(_start, site))
    _bring_minio(site, documents, progress)


def _each(site: Site, progress: Progress, what: str, docs: Iterable[D], work: Callable[[D], object]) -> None:
    """Beside each other."""
    list(site.crowd.map(lambda doc: progress.attempt(f"{what} {doc.name}", partial(work, doc)), docs))


def _is_elsewhere(doc: StorageDoc, asked: Mapping[str, StorageSpec]) -> bool:
    """Whether its folder may have been moved: then the attach finds out before it is served."""
    spec = asked.get(doc.name)
    return spec is not None and spec.path is not None and spec.path not in (doc.path, doc.host_path)


def _serve_all(site: Site, progress: Progress, which: Callable[[str], bool]) -> None:
    docs = [doc for doc in site.documents.read().storages.values() if which(doc.name)]
    _each(site, progress, "storage", docs, partial(_serve, site))


def _serve(site: Site, doc: StorageDoc) -> None:
    """The pageserver of a document runs; an attach that a crash cut off is undone, a detach finished."""

    def work() -> None:
        site.refuse_while_stopping()
        snap = site.snapshot()
        now = snap.desired.storages.get(doc.name)
        if now is None:
            return
        # What it is now: `doc` was read before the lock, and an attach may have ended meanwhile.
        if now.attaching or now.ending:
            purging.abandon(site, snap, now)
            return
        with site.execution(snap) as execution:
            execution.run(plan.plan_pageserver(snap, now))

    site.locks.run_unasked(f"serve {doc.name}", work, alone=frozenset({f"storage/{doc.name}"}))


def _restore_pods(site: Site, progress: Progress) -> None:
    for name, error in pods.restore(site, site.documents.read().pgs.values()).items():
        progress.failed(f"pg {name}", error)
    progress.attempt("pod", partial(pods.top_up, site))
    progress.attempt("pod", partial(pods.trim, site))


def _wanted(doc: PgDoc | None) -> bool:
    return doc is not None and doc.wanted is Wanted.RUNNING and not doc.ending


def _start(site: Site, doc: PgDoc) -> None:
    """`doc` was read a while ago: a request that stopped or destroyed the pg since then is not undone."""
    snap = site.snapshot()
    if not _wanted(snap.desired.pgs.get(doc.name)):
        return
    seen = snap.compute(doc.name)
    if seen is None or not seen.running or snap.cut_off(seen):
        pgs.act(site, doc.name, PgAction(action=PgVerb.START))
        return

    def reopen() -> None:
        snap = site.snapshot()
        now, seen = snap.desired.pgs.get(doc.name), snap.compute(doc.name)
        if now is None or not _wanted(now) or seen is None or not seen.running:
            return
        with site.execution(snap) as execution:
            execution.run(plan.plan_reopen(snap, now))

    site.locks.run_unasked(
        f"reopen {doc.name}",
        reopen,
        alone=frozenset({f"pg/{doc.name}"}),
        shared=frozenset({f"storage/{doc.storage_name}"}),
    )


# ---- MinIO


def _bring_minio(site: Site, documents: StackFile, progress: Progress) -> None:
    """Its image may come later: then the next PUT /stack starts it."""
    snap = site.snapshot()
    seen = snap.minio()
    if documents.minio and snap.images.get("minio"):
        progress.attempt("minio", partial(_start_minio, site))
    elif not documents.minio and seen is not None:
        stop = Plan((do.StopContainer(seen.name, specs.MINIO_STOP_S), do.Remove(seen.name)))
        progress.attempt("minio", partial(site.execution(snap).run, stop))


def _start_minio(site: Site) -> None:
    site.refuse_while_stopping()
    snap = site.snapshot(EVERYTHING)
    user, password = plan.secret(snap, "minio_root_user"), plan.secret(snap, "minio_root_password")
    spec = specs.minio_spec(site.stack, snap.image("minio"), user, password)
    volume = specs.minio_volume(site.stack)
    make = Plan((do.MakeVolume(volume, fresh=snap.world.volume(volume.name) is None),))
    with site.execution(snap) as execution:
        execution.run(make + plan.plan_service(spec, snap.minio()))
        address = until(
            "MinIO",
            lambda: _healthy_minio(site),
            Deadline.after(_MINIO_S),
            last_words=lambda: "\n".join(site.engine.logs(spec.name)),
        )
        minio.set_up(address, site.secrets)


def _healthy_minio(site: Site) -> str | None:
    snap = site.snapshot()
    address = snap.address(snap.minio())
    return address if address is not None and minio.healthy(address) else None


# ---- what a stack file asks for


def storage_in(name: str, spec: StorageSpec, password: SecretStr | None = None) -> StorageIn:
    """`password` is that of a server to import from."""
    return StorageIn(
        name=name,
        type=spec.type,
        path=spec.path,
        import_=spec.import_,
        import_password=password,
        history=spec.history,
        history_size=spec.history_size,
    )


def pg_in(name: str, spec: PgSpec) -> PgIn:
    """What the file doesn't say stays as a request has set it."""
    return PgIn(
        name=name,
        storage_name=spec.storage_name,
        branch=spec.branch,
        from_=spec.from_,
        port=spec.port,
        settings=dict(spec.settings) or None,
        durability=spec.durability,
        start=spec.start,
    )
