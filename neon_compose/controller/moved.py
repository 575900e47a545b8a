"""A storage whose folder was moved: the same storage is at the path asked for now, and no longer at the old.

Nothing but the storage's id decides: another storage, a copy beside the original and an empty folder
are all refused, so that nobody's pgs find themselves on other data.
"""

from __future__ import annotations

from neon_compose.controller.desired import StorageDoc
from neon_compose.controller.hostpath import check_unclaimed, look_at_folder
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.site import Site
from neon_compose.engine.runtime import Kind


def followed(site: Site, snap: Snapshot, doc: StorageDoc, path: str) -> StorageDoc | None:
    """The document of the storage at its new place, None if it has not been moved to `path`.

    `Conflict` if another storage has that place. Changes nothing.
    """
    if doc.host_path is None or doc.storage_id is None:
        return None
    now = look_at_folder(site.engine, site.stack, site.probe_image(), path, doc.name)
    if now is None or now.storage_id != doc.storage_id:
        return None
    before = look_at_folder(site.engine, site.stack, site.probe_image(), doc.host_path, doc.name)
    if before is not None and before.storage_id == doc.storage_id:
        return None
    everything = site.engine.observe(None, (Kind.CONTAINER,))
    check_unclaimed(now.path, site.stack, snap.desired, everything, doc.name)
    return doc.model_copy(update={"path": path, "host_path": now.path, "made": False})
