"""A storage's branches and snapshots: what exists, and how it comes and goes without being half there.

The face of storages, branches, snapshots and pins, and the argument why their order of writes is right.
Does not do: layers' files (layer), computes' directories (pageserver).

Every function is a sequence of atomic store calls. Stopped after any of them, what readers see is the
state before or after the whole, and calling it again finishes it (tests stop it at every call):
- **Claim.** A name is claimed first (create-only), so two makers never both believe they have it. A claim
  alone is *unfinished* and no reader shows it: a branch is there once its manifest is, a snapshot once its
  branch's manifest has its pin. The claim says what its maker wanted. A repeat with the same wish takes
  the same ids and finishes; another wish is a conflict until the claim is deleted, because taking it over
  from a maker that may be alive would let both report success.
- **Pin.** A child's pin is in the parent's manifest before the child's manifest exists. At worst it is
  the pin of a child that never came: it keeps too much, and goes when the claim is finished or deleted.
- **Fence.** Deleting a branch first sets `deleted` in its manifest (or makes such a manifest, if its
  maker has not come that far), in the same compare-and-swap that sees no pins but dormant ones and no writer:
  later pins, writers and manifests fail.
- **Tombstone.** Then the name's document is marked deleted by its etag, not deleted: a plain delete could
  hit a name that was made anew meanwhile, and S3 has no conditional delete. The name is free from then on.
  Then the parent's pin is marked dormant. The tombstone keeps the ids, so a repeat, or who claims the name
  next, cleans up first what a maker left that came late.
- **Kept.** Manifest, layers, parent's pin and WAL stay for a day, and an undelete lifts the fence
  (undeletes). After that the branch is gone (burials): its pin goes, then its manifest. A branch whose
  children are all deleted can be deleted: they stay kept, and keep it, since who keeps less long goes first.
- **Look again.** A maker reads its claim again at its end. If it was buried meanwhile, either the maker
  sees that and takes its own pin and manifest back, or the deleter, whose cleaning comes after the
  burial, does.
- **Refresh.** `main` gets another content by one compare-and-swap in its manifest (refreshes).
- **Restore.** A name gets another branch by one compare-and-swap of its document (restores).
- **Storage.** It exists once storage.json does (create-only: one of many makers wins). Its first branch and
  snapshot are written in it as `initial` and named right after; who opens the storage finishes that.
"""

from neon_compose.objectstore.branches import (
    MAIN,
    branch_ids,
    branch_start,
    create_branch,
    dead_branches,
    delete_branch,
    deleted_branches,
    end_deleted,
    list_branches,
    list_eras,
    read_branch,
    read_eras,
)
from neon_compose.objectstore.burials import KEPT_S, end_branch, forgotten
from neon_compose.objectstore.marks import expire_branch, protect_branch, unprotect_branch
from neon_compose.objectstore.pins import read_manifest, update_manifest
from neon_compose.objectstore.refreshes import (
    begin_refresh,
    commit_refresh,
    is_refreshing,
    refuse_refresh,
    settle_refresh,
)
from neon_compose.objectstore.restores import (
    origin_of,
    refuse_taken,
    restore_branch,
    settle_restore,
    settle_restores,
)
from neon_compose.objectstore.snapshots import (
    Snapshot,
    create_snapshot,
    delete_snapshot,
    list_snapshots,
    read_snapshot,
    snapshot_point,
)
from neon_compose.objectstore.storages import create_storage, discard_unborn, read_storage
from neon_compose.objectstore.undeletes import count_down, settle_deleted, undelete_branch

__all__ = [
    "KEPT_S",
    "MAIN",
    "Snapshot",
    "begin_refresh",
    "branch_ids",
    "branch_start",
    "commit_refresh",
    "count_down",
    "create_branch",
    "create_snapshot",
    "create_storage",
    "dead_branches",
    "delete_branch",
    "delete_snapshot",
    "deleted_branches",
    "discard_unborn",
    "end_branch",
    "end_deleted",
    "expire_branch",
    "forgotten",
    "is_refreshing",
    "list_branches",
    "list_eras",
    "list_snapshots",
    "origin_of",
    "protect_branch",
    "read_branch",
    "read_eras",
    "read_manifest",
    "read_snapshot",
    "read_storage",
    "refuse_refresh",
    "refuse_taken",
    "restore_branch",
    "settle_deleted",
    "settle_refresh",
    "settle_restore",
    "settle_restores",
    "snapshot_point",
    "undelete_branch",
    "unprotect_branch",
    "update_manifest",
]
