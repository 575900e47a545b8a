"""What can be wrong with a stack file as a whole, though each of its parts is right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from neon_compose.model.nearest import did_you_mean
from neon_compose.model.states import Durability, StorageType

if TYPE_CHECKING:
    from neon_compose.model.stackfile import PgSpec, StorageSpec


def check_storages(storages: Mapping[str, StorageSpec]) -> list[str]:
    """Problems of the storages: types that are not there yet, and two storages in one folder."""
    problems = []
    owners: dict[str, str] = {}
    for name, storage in storages.items():
        at = f"storages.{name}"
        if storage.type is StorageType.S3:
            problems.append(f'{at}.type: type "s3" is not available yet; use "native"')
        problems += [f"{at}.{key}: is empty" for key, value in _paths(storage) if value == ""]
        problems += [f"{at}.{key}: holds a NUL" for key, value in _paths(storage) if "\0" in value]
        if storage.path and owners.setdefault(storage.path, name) != name:
            problems.append(f'{at}.path: storage "{owners[storage.path]}" is already in {storage.path}')
    return problems


def check_pgs(pgs: Mapping[str, PgSpec], storages: Collection[str], safekeepers: int) -> list[str]:
    """Problems of the pgs: unknown storages, two pgs on one port or branch, what needs safekeepers, and
    what is not there yet."""
    problems = []
    ports: dict[int, str] = {}
    branches: dict[tuple[str, str], str] = {}
    for name, pg in pgs.items():
        at = f"pgs.{name}"
        if pg.storage_name not in storages:
            known = did_you_mean(pg.storage_name, [str(storage) for storage in storages])
            problems.append(
                f'{at}.storage_name: no storage "{pg.storage_name}" in this file. {known}'.rstrip()
            )
        if pg.durability is Durability.OFF:
            problems.append(f'{at}.durability: "off" is not available yet; use "quorum" or "local"')
        if pg.durability is Durability.QUORUM and not safekeepers:
            problems.append(
                f'{at}.durability: "quorum" needs safekeepers; say safekeepers: 1, or durability "local"'
            )
        if pg.port and ports.setdefault(pg.port, name) != name:
            problems.append(f'{at}.port: pg "{ports[pg.port]}" already has port {pg.port}')
        branch = pg.branch_for(name)
        if branches.setdefault((pg.storage_name, branch), name) != name:
            owner = branches[pg.storage_name, branch]
            problems.append(f'{at}.branch: pg "{owner}" is already the primary of branch "{branch}"')
    return problems


def _paths(storage: StorageSpec) -> Iterator[tuple[str, str]]:
    for key, value in (("path", storage.path), ("import", storage.import_)):
        if value is not None:
            yield key, value
