"""From what is and what is asked to steps. Pure: same snapshot and request, same plan.

Refusals that need nothing but the snapshot are raised here; those that need a pageserver's knowledge
come from its first step, which changes nothing when it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from neon_compose.controller import specs
from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc, StorageDoc
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.sources import MAIN
from neon_compose.controller.specs import ComputePlace, Secret
from neon_compose.controller.steps import Plan
from neon_compose.engine import labels as label
from neon_compose.engine.runtime import Container, ContainerSpec, ContainerState, Kind, VolumeSpec
from neon_compose.errors import Conflict, Unavailable
from neon_compose.model.source import Source
from neon_compose.model.states import Component, Durability, Wanted


def secret(snap: Snapshot, name: str) -> Secret:
    return Secret(f"{snap.state_path}/secrets/{name}", name)


# ---- containers that serve


def plan_service(spec: ContainerSpec, seen: Container | None) -> Plan:
    """Make `seen` what `spec` says: create, start, or replace an outdated one."""
    start = do.StartContainer(spec.name)
    if seen is None:
        return Plan((do.CreateContainer(spec, why="it is not there"), start))
    if seen.labels.get(label.SPEC) != spec.labels.get(label.SPEC) or seen.image != spec.image:
        why = "its image or settings have changed"
        return _replace(spec, seen, why)
    if seen.running and not any(end.network == spec.network and end.ip for end in seen.endpoints):
        return _replace(spec, seen, "it is not in the stack's network any more")
    return Plan() if seen.running else Plan((replace(start, why=f"it is {seen.state}"),))


def _replace(spec: ContainerSpec, seen: Container, why: str) -> Plan:
    stop = do.StopContainer(seen.name, spec.stop_timeout_s or 10, why=why)
    return Plan((stop, do.Remove(seen.name), do.CreateContainer(spec), do.StartContainer(spec.name)))


def plan_pageserver(snap: Snapshot, doc: StorageDoc) -> Plan:
    """The storage's pageserver runs and answers, its storage is initialised; nothing if that is so.

    Without a container its volumes may be gone too. The engine would make them as that names them, without
    our labels, and no `down -v` would find them.
    """
    steps = _plan_pageserver(snap, doc)
    if snap.pageserver(doc.name) is not None:
        return steps
    return Plan(tuple(do.MakeVolume(spec, fresh=False) for spec in _volumes(snap, doc))) + steps


def _plan_pageserver(snap: Snapshot, doc: StorageDoc) -> Plan:
    token = secret(snap, "internal_token")
    spec = specs.pageserver_spec(snap.stack, doc, snap.image("pageserver"), token, len(snap.safekeepers))
    service = plan_service(spec, snap.pageserver(doc.name))
    if not service.steps:
        return service
    return service + Plan((do.AwaitPageserver(doc.name, spec.name),))


def _volumes(snap: Snapshot, doc: StorageDoc) -> list[VolumeSpec]:
    """Those of a storage."""
    work = specs.work_volume(snap.stack, doc.name)
    return [work] if doc.host_path is not None else [work, specs.storage_volume(snap.stack, doc.name)]


def plan_safekeeper(snap: Snapshot, number: int, subnet: IPv4Network) -> Plan:
    """The safekeeper runs and answers; nothing if that is so. For its volume see `plan_pageserver`."""
    image, token = snap.image("safekeeper"), secret(snap, "internal_token")
    spec = specs.safekeeper_spec(snap.stack, number, image, subnet, token)
    seen = snap.safekeeper(number)
    service = plan_service(spec, seen)
    if not service.steps:
        return service
    volume = do.MakeVolume(specs.safekeeper_volume(snap.stack, number), fresh=False)
    return Plan(() if seen else (volume,)) + service + Plan((do.AwaitSafekeeper(spec.name),))


# ---- storages


def plan_attach(snap: Snapshot, doc: StorageDoc, content: do.Content) -> Plan:
    """A new storage, marked `attaching` until its content is whole. The snapshot has volumes."""
    fresh = {one.name for one in snap.world.volumes}
    begun = doc.model_copy(update={"attaching": True})
    steps: list[do.Step] = [do.PutDocument(begun)]
    steps += [do.MakeVolume(spec, fresh=spec.name not in fresh) for spec in _volumes(snap, doc)]
    steps += _plan_pageserver(snap, doc).steps
    steps += [content, do.PutDocument(doc, before=begun, why="its content is whole")]
    return Plan(tuple(steps))


def plan_refresh(snap: Snapshot, doc: StorageDoc, content: do.Content) -> Plan:
    """`main` gets another content; all else stays. Refused while a pg has data of main."""
    pg = next((pg.name for pg in snap.desired.pgs_of(doc.name) if pg.branch == MAIN and pg.started), None)
    if pg is not None:
        raise Conflict(
            f'branch "{doc.name}/{MAIN}" has the pg "{pg}"',
            detail="It would stay with the old content under the name of the new.",
            hint=f"Destroy it first: neon-compose pg destroy -n {pg}\n"
            "Pgs on other branches stay as they are.",
            code="branch_in_use",
        )
    return plan_pageserver(snap, doc) + Plan((content,))


def plan_detach(snap: Snapshot, doc: StorageDoc, *, purge: bool) -> Plan:
    """Container and work volume go, the data stays unless `purge`. Refused while pgs are on it."""
    pgs = [pg.name for pg in snap.desired.pgs_of(doc.name)]
    if pgs:
        names = ", ".join(f'"{name}"' for name in sorted(pgs))
        raise Conflict(
            f'storage "{doc.name}" has pgs',
            detail=f"These are on it: {names}.",
            hint=f"Destroy them first: neon-compose pg destroy -n {sorted(pgs)[0]}",
            code="storage_in_use",
        )
    ending = doc.model_copy(update={"ending": "purge" if purge else "keep"})
    steps: list[do.Step] = [do.PutDocument(ending, before=doc)] if ending != doc else []
    if (seen := snap.pageserver(doc.name)) is not None:
        steps += [do.StopContainer(seen.name, specs.PAGESERVER_STOP_S), do.Remove(seen.name)]
    steps.append(do.Remove(specs.work_volume(snap.stack, doc.name).name, Kind.VOLUME))
    if purge and doc.host_path is not None:
        steps.append(do.PurgeFolder(doc.host_path, made=doc.made))
    elif purge:
        steps.append(do.Remove(specs.storage_volume(snap.stack, doc.name).name, Kind.VOLUME))
    return Plan((*steps, do.DropDocument(doc)))


def plan_abandon(snap: Snapshot, doc: StorageDoc) -> Plan:
    """What a controller that died in the middle of an attach or a detach left behind goes."""
    purge = doc.ending == "purge" if doc.ending else doc.fresh
    return plan_detach(snap, doc, purge=purge)


# ---- pgs


@dataclass(frozen=True)
class BranchStart:
    """Where a pg's branch starts; `there`: it exists, so the start is only compared."""

    origin: Source
    there: bool


def place_of(snap: Snapshot, doc: PgDoc) -> ComputePlace:
    """Where the compute goes; `Unavailable` if its pod or pageserver isn't there."""
    pod, server = snap.pod_of(doc.port), snap.pageserver(doc.storage_name)
    snap.pageserver_address(doc.storage_name)
    work, storage = (server.source_of(at) if server else None for at in ("/work", "/storage"))
    if pod is None or not pod.running or work is None or storage is None:
        raise Unavailable(f'no running pod has port {doc.port} of pg "{doc.name}"', code="no_pod")
    return ComputePlace(pod.name, pod.number, pod.ip, pod.endpoint, work, storage)


def plan_put(snap: Snapshot, doc: PgDoc, branch: BranchStart | None) -> Plan:
    """The document is written, and the branch made if it has to be; nothing starts."""
    before = snap.desired.pgs.get(doc.name)
    steps = check_settings(doc, before)
    if doc != before:
        steps = (*steps, do.PutDocument(doc, before=before))
    if branch is not None:
        origin = branch.origin
        steps = (*steps, do.PutBranch(doc.storage_name, doc.branch, origin, fresh=not branch.there))
    return Plan(steps)


def check_settings(doc: PgDoc, before: PgDoc | None) -> tuple[do.Step, ...]:
    """Refused before anything is written; defaults need no asking."""
    plain = not doc.settings and doc.durability is not Durability.OFF
    same = before is not None and before.given == doc.given
    return () if plain or same else (do.CheckSettings(doc),)


def plan_start(snap: Snapshot, doc: PgDoc, branch: BranchStart | None = None) -> Plan:
    """`doc` runs; an ended or cut-off container is replaced. Nothing if it runs as it should."""
    seen, before = snap.compute(doc.name), snap.desired.pgs.get(doc.name)
    wanted = doc.model_copy(update={"wanted": Wanted.RUNNING, "started": True})
    write = check_settings(doc, before)
    if wanted != before:
        write = (*write, do.PutDocument(wanted, before=before))
    if seen is not None and seen.running and not snap.cut_off(seen):
        return Plan(write)
    if seen is not None and seen.state is ContainerState.PAUSED and not snap.cut_off(seen):
        go_on = do.StartContainer(seen.name, why="it is paused")
        return Plan((*write, go_on)) + plan_reopen(snap, wanted)
    if branch is not None and branch.there:  # succeeds if it started at the same place
        write = (*write, do.PutBranch(doc.storage_name, doc.branch, branch.origin, fresh=False))
    origin = branch.origin if branch is not None and not branch.there else None
    fresh = before is None or not before.started
    clear = _clear_steps(snap, doc, seen)
    return Plan(write + clear + _start_steps(snap, wanted, origin, fresh=fresh))


def _clear_steps(snap: Snapshot, doc: PgDoc, seen: Container | None, why: str = "") -> tuple[do.Step, ...]:
    """The old container goes, and a pod that was there for its port alone."""
    if seen is None:
        return ()
    steps: tuple[do.Step, ...] = (do.Remove(seen.name, why=f"it is {seen.state}"),)
    if seen.running:
        why = why or "its pod was restarted"
        steps = (do.StopContainer(seen.name, specs.COMPUTE_STOP_S, why=why), do.Remove(seen.name))
    if (pod := snap.left_pod(doc)) is not None:
        steps = (*steps, do.Remove(pod.name, why="no pg has its port any more"))
    return steps


def _halt_steps(snap: Snapshot, doc: PgDoc, why: str) -> tuple[do.Step, ...]:
    """Nothing runs on its data; the container of one that is to stay stopped stays too, for its log."""
    seen = snap.compute(doc.name)
    stays = seen is not None and not seen.running and doc.wanted is Wanted.STOPPED
    return () if stays else _clear_steps(snap, doc, seen, why)


def _start_steps(snap: Snapshot, doc: PgDoc, origin: Source | None, *, fresh: bool) -> tuple[do.Step, ...]:
    name = specs.compute_name(snap.stack, doc.name)
    place = place_of(snap, doc)
    create = do.CreateCompute(doc, place, snap.image("compute"), name)
    return (
        do.Prepare(doc, origin=origin, fresh_branch=origin is not None, fresh_compute=fresh),
        do.Together(((create,), (do.Layout(doc),))),
        do.Open(doc, name, place.ip),
    )


def plan_reopen(snap: Snapshot, doc: PgDoc) -> Plan:
    """After a controller's death: a compute that runs may still stand before its gate. It is opened as it was
    started, whatever a request has changed in `doc` since."""
    doc = snap.as_started(doc)
    name = specs.compute_name(snap.stack, doc.name)
    host = snap.compute_host(doc.name)
    return Plan((do.Prepare(doc), do.Open(doc, name, host, why="its gate may be shut")))


def plan_stop(snap: Snapshot, doc: PgDoc) -> Plan:
    """A clean shutdown; the container stays for its log."""
    wanted = doc.model_copy(update={"wanted": Wanted.STOPPED})
    steps: tuple[do.Step, ...] = (do.PutDocument(wanted, before=doc),) if wanted != doc else ()
    seen = snap.compute(doc.name)
    if seen is not None and seen.running:
        steps = (*steps, do.StopContainer(seen.name, specs.COMPUTE_STOP_S))
    return Plan(steps)


def plan_restart(snap: Snapshot, doc: PgDoc) -> Plan:
    """Stop if it runs, then start with what its document says now."""
    seen = snap.compute(doc.name)
    if seen is None or not seen.running:
        return plan_start(snap, doc)
    wanted = doc.model_copy(update={"wanted": Wanted.RUNNING, "started": True})
    put = (do.PutDocument(wanted, before=doc),) if wanted != doc else ()
    clear = _clear_steps(snap, doc, seen, why="to start anew")
    return Plan((*put, *clear, *_start_steps(snap, wanted, None, fresh=False)))


def plan_destroy(snap: Snapshot, doc: PgDoc, *, discard_writes: bool) -> Plan:
    """Its data goes first, since that may be refused; the branch stays. Refused while it runs.

    The document goes last: until then it says what is to be finished, and keeps its port from others.
    """
    seen = snap.compute(doc.name)
    _refuse_running(doc, seen)
    ending = doc.model_copy(update={"ending": "discard" if discard_writes else "refuse"})
    steps: list[do.Step] = [do.PutDocument(ending, before=doc)] if ending != doc else []
    steps.append(do.DeleteCompute(doc, discard_writes=discard_writes))
    if seen is not None:
        steps.append(do.Remove(seen.name))
    pod = snap.pod_of(doc.port)
    if pod is not None and len(pod.ports) == 1:
        steps.append(do.Remove(pod.name, why="it was for this pg's port alone"))
    return Plan((*steps, do.DropDocument(doc)))


def plan_checkout(snap: Snapshot, doc: PgDoc, branch: str) -> Plan:
    """`doc` is on another branch; if it is to run, it is stopped and started again.

    Its data goes before its document changes: a controller that dies in between has it on the old branch,
    which its next start lays out anew.
    """
    up = doc.wanted is Wanted.RUNNING
    if branch == doc.branch:
        return plan_start(snap, doc) if up else Plan()
    made = doc.model_copy(update={"branch": branch, "previous": doc.branch, "home": doc.home or doc.branch})
    stop = _halt_steps(snap, doc, f"to go to branch {branch}")
    start = _start_steps(snap, made, None, fresh=True) if up else ()
    return Plan((*stop, do.DeleteCompute(doc), do.PutDocument(made, before=doc), *start))


def plan_discard_cache(snap: Snapshot, doc: PgDoc) -> Plan:
    """Its data goes, its branch and all else stays. Refused while it runs."""
    _refuse_running(doc, snap.compute(doc.name))
    return Plan((do.DiscardCache(doc),))


def _refuse_running(doc: PgDoc, seen: Container | None) -> None:
    if seen is not None and seen.running:
        raise Conflict(
            f'pg "{doc.name}" is running',
            detail=f"Container {seen.name} is up.",
            hint=f"Stop it first: neon-compose pg stop -n {doc.name}",
            code="pg_running",
        )


# ---- branches


def plan_drop_branch(snap: Snapshot, storage: str, branch: str, *, forever: bool = False) -> Plan:
    """Refused while a pg is bound to it."""
    pgs = sorted(pg.name for pg in snap.desired.pgs_of(storage) if pg.branch == branch)
    if pgs:
        raise Conflict(
            f'branch "{storage}/{branch}" has pgs',
            detail=f"These are bound to it: {', '.join(pgs)}.",
            hint=f"Destroy them first: neon-compose pg destroy -n {pgs[0]}",
            code="branch_in_use",
        )
    return Plan((do.DropBranch(storage, branch, forever),))


def plan_restore(snap: Snapshot, restore: do.RestoreBranch) -> Plan:
    """The branch is another one under its name; a pg that is to run on it is stopped, and started again."""
    check = do.CheckRestore(restore.storage, restore.branch, restore.moment, restore.keep)
    pgs = [pg for pg in snap.desired.pgs_of(restore.storage) if pg.branch == restore.branch]
    why = f"branch {restore.branch} is restored"
    stops = [step for pg in pgs for step in _halt_steps(snap, pg, why)]
    up = [pg for pg in pgs if pg.wanted is Wanted.RUNNING]
    starts = [step for pg in up for step in _start_steps(snap, pg, None, fresh=False)]
    return Plan((check, *stops, restore, *starts))


def plan_drop_line(
    snap: Snapshot,
    storage: str,
    branch: str,
    parents: Mapping[str, str | None],
    snapshots: Mapping[str, str],
    *,
    forever: bool = False,
) -> Plan:
    """The branch with its snapshots and all that was made from it, what is needed last. `parents` are those
    of all branches, `snapshots` the branch of each. Refused as a whole, before anything goes, while a pg is
    bound to one of them."""
    line = _line(branch, parents)
    if MAIN in line:  # below what it was before a restore
        raise Conflict(
            'branch "main" can\'t be deleted', hint="Detach the storage instead.", code="main_branch"
        )
    steps: list[do.Step] = []
    for name in reversed(line):
        steps += [do.DropSnapshot(storage, one) for one, of in sorted(snapshots.items()) if of == name]
        steps += plan_drop_branch(snap, storage, name, forever=forever).steps
    return Plan(tuple(steps))


def _line(branch: str, parents: Mapping[str, str | None]) -> list[str]:
    """The branch, then all below it, each after its parent."""
    found = [branch]
    for name in found:
        found += sorted(child for child, parent in parents.items() if parent == name)
    return found


# ---- the whole stack


def plan_stop_all(snap: Snapshot) -> list[tuple[str, Plan]]:
    """Stages with their names, in order: computes, pageservers (which archive what safekeepers have, before
    they end), safekeepers, MinIO, pods; in each beside each other. A safekeeper that is between two starts
    would come back, and is stopped too."""
    stages = (
        ("computes", Component.COMPUTE, specs.COMPUTE_STOP_S),
        ("pageservers", Component.PAGESERVER, specs.PAGESERVER_STOP_S),
        ("safekeepers", Component.SAFEKEEPER, specs.SAFEKEEPER_STOP_S),
        ("minio", Component.MINIO, specs.MINIO_STOP_S),
        ("pods", Component.POD, 1),
    )
    plans = []
    for name, component, timeout_s in stages:
        lanes = tuple(
            (do.StopContainer(one.name, timeout_s),) for one in snap.world.of(component) if one.goes_on
        )
        if lanes:
            plans.append((name, Plan((do.Together(lanes),))))
    return plans
