"""Packing: a cleanly stopped PGDATA becomes the three files of an image layer.

Owns the order in which they get their names. What goes in is cluster's, the formats are index's, pages'
and meta's. Invariant: the index comes last, so a layer with an index is whole and durable; a crash leaves
at most a .pages or .meta file of an id that nothing names, and aside files that `durable.sweep` removes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neon_compose import durable
from neon_compose.errors import Conflict, Invalid
from neon_compose.layer.cluster import CleanStop, Cluster, read_clean_stop, scan
from neon_compose.layer.index import Kind, LayerIndex, Segment, encode
from neon_compose.layer.keys import BLOCK
from neon_compose.layer.meta import write_meta
from neon_compose.layer.pages import PageWriter
from neon_compose.model.lsn import Lsn

__all__ = ["CleanStop", "LayerFiles", "pack_image", "read_clean_stop"]

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


def _silent(_done: int, _total: int) -> None:
    return


@dataclass(frozen=True)
class LayerFiles:
    """The three files of one layer."""

    pages: Path
    index: Path
    meta: Path

    @classmethod
    def of(cls, folder: Path, layer_id: UUID) -> LayerFiles:
        return cls(
            pages=folder / f"{layer_id}.pages",
            index=folder / f"{layer_id}.index",
            meta=folder / f"{layer_id}.meta.tar.zst",
        )


def pack_image(
    pgdata: Path,
    dst_dir: Path,
    layer_id: UUID,
    storage_id: UUID,
    redo: Lsn,
    consistent: Lsn,
    progress: Progress = _silent,
) -> LayerFiles:
    """Pack the cleanly stopped cluster in `pgdata` into a new image layer in the existing `dst_dir`.

    `redo` and `consistent` are where its shutdown checkpoint record begins and ends, as
    `read_clean_stop` tells; anything else is refused. Durable on return. A failure leaves nothing.
    Raises as `cluster.scan`, and `Conflict` code "exists" if the layer is there: layers never change.
    """
    cluster = scan(pgdata)
    _check_moment(cluster.stop, redo, consistent)
    files = LayerFiles.of(dst_dir, layer_id)
    with ExitStack() as undo:
        pages = undo.enter_context(durable.aside(files.pages))
        meta = undo.enter_context(durable.aside(files.meta))
        index = undo.enter_context(durable.aside(files.index))
        index.write(encode(_write_pages(cluster, pages, layer_id, storage_id, consistent, progress)))
        write_meta(pgdata, cluster, meta)
        name_all((pages, meta, index))
    return files


def _write_pages(
    cluster: Cluster,
    out: durable.Aside,
    layer_id: UUID,
    storage_id: UUID,
    consistent: Lsn,
    progress: Progress,
) -> LayerIndex:
    writer = PageWriter(out, _counted(progress, sum(cluster.sizes.values())))
    segments = tuple(
        Segment(key, cluster.sizes[key] // BLOCK, writer.add_file(path, cluster.sizes[key]))
        for key, path in cluster.segments.items()
    )
    return LayerIndex(
        layer_id=layer_id,
        storage_id=storage_id,
        redo=cluster.stop.redo,
        consistent=consistent,
        kind=Kind.IMAGE,
        timeline=cluster.stop.control.timeline,
        pages=len(writer.page_crcs),
        content_hash=writer.content_hash,
        segments=segments,
        dropped=(),
        page_crcs=writer.page_crcs,
    )


def _check_moment(stop: CleanStop, redo: Lsn, consistent: Lsn) -> None:
    if redo == stop.redo and stop.redo <= consistent <= stop.end:
        return
    raise Invalid(
        "the cluster was not shut down at the moment given",
        detail=f"Its shutdown checkpoint is [{stop.redo}, {stop.end}), given were {redo} and {consistent}.",
        code="wrong_moment",
    )


def name_all(files: tuple[durable.Aside, ...]) -> None:
    """Give the files their names in this order; all or, unless killed, none."""
    named: list[Path] = []
    try:
        for file in files:
            file.link()
            named.append(file.target)
    except BaseException as error:
        for path in named:
            path.unlink()
        if isinstance(error, FileExistsError):
            raise Conflict(f'"{file.target}" exists', detail="Layers never change.", code="exists") from error
        raise


def _counted(progress: Progress, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance
