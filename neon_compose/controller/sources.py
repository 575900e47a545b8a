"""What a source means: `[STORAGE/]NAME[@MOMENT]` -> a branch of a storage. Pure.

`STORAGE/NAME` is a branch; a bare NAME is a pg (its branch), else a storage (its `main`), else a branch
name unique in the stack. If two of them exist and differ, that is a conflict that lists the full forms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from neon_compose.controller.desired import Desired
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.names import Name
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.source import Source

MAIN = Name("main")


def resolve(source: Source, desired: Desired, branches: Mapping[str, Collection[str]]) -> Source:
    """`source` with its storage. `branches` are the branch names of every storage that answers.

    Raises `NotFound` or `Conflict` (code "ambiguous_source").
    """
    if source.storage is not None:
        return _full(source, desired, branches)
    meanings = _meanings(source.name, desired, branches)
    if not meanings:
        known = {*desired.pgs, *desired.storages, *(name for names in branches.values() for name in names)}
        raise NotFound(
            f'source "{source.name}" does not exist',
            detail="It is neither a pg, nor a storage, nor a branch.",
            hint=did_you_mean(source.name, known),
            code="no_such_source",
        )
    if len(meanings) > 1:
        forms = ", ".join(f"{storage}/{branch}" for storage, branch in sorted(meanings))
        raise Conflict(
            f'source "{source.name}" is ambiguous',
            detail=f"It may mean {forms}.",
            hint="Write it in full: STORAGE/BRANCH.",
            code="ambiguous_source",
        )
    storage, branch = meanings.pop()
    return Source(Name(storage), Name(branch), source.moment)


def _meanings(name: str, desired: Desired, branches: Mapping[str, Collection[str]]) -> set[tuple[str, str]]:
    found = set()
    if name in desired.pgs:
        pg = desired.pgs[name]
        found.add((pg.storage_name, pg.branch))
    if name in desired.storages:
        found.add((name, str(MAIN)))
    if name == MAIN and found:
        return found  # every storage has one: a pg or storage of that name is what is meant
    found.update((storage, name) for storage, names in branches.items() if name in names)
    return found


def _full(source: Source, desired: Desired, branches: Mapping[str, Collection[str]]) -> Source:
    storage = source.storage
    if storage not in desired.storages:
        raise NotFound(
            f'storage "{storage}" does not exist',
            hint=did_you_mean(str(storage), desired.storages),
            code="no_such_storage",
        )
    known = branches.get(str(storage))
    if known is not None and source.name not in known:
        raise NotFound(
            f'branch "{storage}/{source.name}" does not exist',
            hint=did_you_mean(source.name, known),
            code="no_such_branch",
        )
    return source
