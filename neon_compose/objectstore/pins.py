"""Manifests by id, their pins, and burying names; the steps that branches and snapshots are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import NotFound
from neon_compose.objectstore import cas
from neon_compose.objectstore.documents import (
    BranchRef,
    Manifest,
    Pin,
    PinKind,
    Point,
    SnapshotRef,
    manifest_key,
)
from neon_compose.objectstore.store import ObjectStore

Ref = TypeVar("Ref", BranchRef, SnapshotRef)


def find_manifest(store: ObjectStore, branch_id: UUID) -> Manifest | None:
    """The manifest of a branch, also of a deleted one that is still there; None if there is none."""
    return cas.find(store, manifest_key(branch_id), Manifest)


def in_words(store: ObjectStore, point: Point) -> str:
    """`branch "shop" at 0/1A2B3C4D`, for people; with its id only if nobody knows the name any more."""
    found = find_manifest(store, point.branch_id)
    return f'branch "{found.name if found else point.branch_id}" at {point.lsn}'


def read_manifest(store: ObjectStore, branch_id: UUID) -> Manifest:
    """The manifest of a branch by id. Raises `NotFound` code "no_branch", also if it was deleted."""
    found = find_manifest(store, branch_id)
    if found is None or found.deleted:
        raise _gone(branch_id)
    return found


def update_manifest(store: ObjectStore, branch_id: UUID, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Replace the manifest by `change` of it, by compare-and-swap; returns what is stored now.

    `change` may run several times and may raise to give up. Raises `NotFound` code "no_branch" if the
    branch was deleted, `Unavailable` code "contended" after too many lost races.
    """

    def fenced(manifest: Manifest) -> Manifest:
        if manifest.deleted:
            raise _gone(branch_id)
        return change(manifest)

    try:
        return cas.update(store, manifest_key(branch_id), Manifest, fenced)
    except NotFound as error:
        raise error if error.code != "no_object" else _gone(branch_id) from error


def pin(store: ObjectStore, point: Point, kind: PinKind, holder: UUID) -> None:
    """Keep `point` for `holder`; repeat is success. Raises `NotFound` if the branch is deleted."""
    wanted = Pin(kind, holder, point.lsn)

    def add(manifest: Manifest) -> Manifest:
        there = any((one.kind, one.id, one.lsn) == (kind, holder, point.lsn) for one in manifest.pins)
        return manifest if there else replace(manifest, pins=(*manifest.pins, wanted))

    update_manifest(store, point.branch_id, add)


def unpin(store: ObjectStore, branch_id: UUID, holder: UUID) -> None:
    """Take the pins of `holder` off the branch; repeat is success, and so is a branch that is gone."""

    def remove(manifest: Manifest) -> Manifest:
        kept = tuple(one for one in manifest.pins if one.id != holder)
        return manifest if kept == manifest.pins else replace(manifest, pins=kept)

    try:
        cas.update(store, manifest_key(branch_id), Manifest, remove)
    except NotFound:
        return


def find_pin(store: ObjectStore, parent: Point | None, holder: UUID) -> Pin | None:
    """The pin of the branch `holder`, in its parent."""
    manifest = find_manifest(store, parent.branch_id) if parent is not None else None
    return next((one for one in manifest.pins if one.id == holder), None) if manifest is not None else None


def swap_pin(store: ObjectStore, branch_id: UUID, before: Pin, after: Pin) -> None:
    """Put `after` in the place of `before` if exactly that is there, also in a deleted branch."""

    def swap(manifest: Manifest) -> Manifest:
        return replace(manifest, pins=tuple(after if one == before else one for one in manifest.pins))

    try:
        cas.update(store, manifest_key(branch_id), Manifest, swap)
    except NotFound:
        return


def bury(store: ObjectStore, key: str, ref: Ref) -> None:
    """Mark the name deleted if it is still `ref`; a name made anew meanwhile is not ours to delete."""

    def tombstone(found: Ref) -> Ref:
        return replace(found, deleted=wait.now()) if found == ref else found

    if ref.deleted is None:
        cas.update(store, key, type(ref), tombstone)


def _gone(branch_id: UUID) -> NotFound:
    return NotFound(f"branch {branch_id} does not exist", detail="It was deleted.", code="no_branch")
