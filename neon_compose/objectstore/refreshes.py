"""A newer copy of the source becomes `main`; what main was stays, as the snapshots and branches of it.

Order of writes, each an atomic store call:
    refresh.json -> layer files -> manifest of the new main -> `successor` in the old main's manifest
    -> the name of the new snapshot -> refresh.json goes
The compare-and-swap that sets `successor` is the moment: before it nothing that a reader finds names the
new files, after it `main` is the new one. The same compare-and-swap sees that no pg writes to the old main,
and fences it: nobody becomes its writer afterwards.

refresh.json names all that a refresh makes, so what one that was cut off left is removed, or finished, by
exactly these ids, and never guessed from "nobody names this layer". `settle_refresh` does that; who holds
LocalStore.creating calls it, since a living maker's files look the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from neon_compose import wait
from neon_compose.errors import Conflict
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.model.protection import protected
from neon_compose.objectstore import cas
from neon_compose.objectstore.branches import MAIN, read_branch, read_eras
from neon_compose.objectstore.documents import (
    REFRESH_KEY,
    Cluster,
    Manifest,
    Pin,
    PinKind,
    Refresh,
    SnapshotRef,
    manifest_key,
    snapshot_ref_key,
)
from neon_compose.objectstore.snapshots import is_free
from neon_compose.objectstore.store import ObjectStore

SNAPSHOT = "import"


def refuse_refresh(main: Manifest) -> None:
    """Raise `Conflict` code "branch_protected", or "branch_in_use" if a pg has `main`: it would go on with
    the old content under the name of the new."""
    if main.protected:
        raise protected(main.name)
    if main.writer is not None:
        pg = main.writer.pg
        raise Conflict(
            f'branch "{main.name}" is in use',
            detail=f'Pg "{pg}" writes to it, and would stay with the old content.',
            hint=f"Destroy that first: neon-compose pg destroy -n {pg}\n"
            "Pgs on other branches stay as they are.",
            code="branch_in_use",
        )


def is_refreshing(store: ObjectStore) -> bool:
    """Whether a refresh is under way, or was cut off."""
    return cas.find(store, REFRESH_KEY, Refresh) is not None


def begin_refresh(store: ObjectStore) -> Refresh:
    """The ids of what is to be made. None may be under way: see `settle_refresh`."""
    refresh = Refresh(new_id(), new_id(), new_id(), wait.now())
    if not cas.put_once(store, REFRESH_KEY, refresh):
        raise Conflict("a refresh is under way", code="busy")
    return refresh


def commit_refresh(store: ObjectStore, refresh: Refresh, cluster: Cluster, lsn: Lsn) -> None:
    """Make `main` the branch `refresh` names, on its layer, which is there and durable.

    Raises `Conflict` as `refuse_refresh`, for what came to main meanwhile.
    """
    pin = Pin(PinKind.SNAPSHOT, refresh.snapshot_id, lsn)
    layers, created = (refresh.layer_id,), wait.now()
    made = Manifest(refresh.branch_id, MAIN, None, layers, created, pins=(pin,), cluster=cluster)
    cas.put_once(store, manifest_key(refresh.branch_id), made)
    cas.update(store, manifest_key(read_branch(store, MAIN).branch_id), Manifest, _succeeded_by(made))
    settle_refresh(store)


def settle_refresh(store: ObjectStore) -> None:
    """Finish the refresh that is under way if it came to its moment, else remove all of it."""
    refresh = cas.find(store, REFRESH_KEY, Refresh)
    if refresh is None:
        return
    made = next((one for one in read_eras(store, MAIN) if one.branch_id == refresh.branch_id), None)
    if made is not None:
        _name_snapshot(store, made, refresh)
    else:
        store.delete(manifest_key(refresh.branch_id))
        for key in [key for key in store.list("layers/") if key.startswith(f"layers/{refresh.layer_id}.")]:
            store.delete(key)
    store.delete(REFRESH_KEY)


def _succeeded_by(made: Manifest) -> Callable[[Manifest], Manifest]:
    def change(main: Manifest) -> Manifest:
        refuse_refresh(main)
        if main.successor not in (None, made.branch_id):
            raise Conflict(f'branch "{MAIN}" was refreshed meanwhile', code="branch_refreshed")
        return replace(main, successor=made.branch_id)

    return change


def _name_snapshot(store: ObjectStore, made: Manifest, refresh: Refresh) -> None:
    """`import`, or the next of `import-2`, `import-3`, … that is free or this refresh's already."""
    pin = next((one for one in made.pins if one.id == refresh.snapshot_id), None)
    if pin is None:  # it was named, and deleted since
        return
    wanted = SnapshotRef(made.branch_id, pin.lsn, made.created, refresh.snapshot_id)
    for number in count(1):
        name = SNAPSHOT if number == 1 else f"{SNAPSHOT}-{number}"
        found, _ = cas.claim(store, snapshot_ref_key(name), wanted, lambda ref: is_free(store, ref))
        if found.snapshot_id == refresh.snapshot_id:
            return
