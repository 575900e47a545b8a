"""Tips kept in memory, and what a layout is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from neon_compose.compute.layout import Tip, Tips
from tests.unit.pageserver.storage import World


def test_a_tip_has_all_folders_parents_first(tmp_path: Path) -> None:
    world = World(tmp_path)
    prepared = world.prepare("one", "main")
    world.computes.layout("one", prepared.generation, 5432, {})
    data = world.generations.paths("one", prepared.generation).data
    assert (data / "PG_VERSION").read_text() == "17\n"
    assert {path.name for path in data.iterdir() if path.is_dir()} >= {"base", "global", "pg_wal", "pg_xact"}
    assert {path.stat().st_mode & 0o777 for path in data.rglob("*") if path.is_file()} == {0o600}


def test_the_least_recently_used_tip_is_forgotten(tmp_path: Path) -> None:
    real = World(tmp_path)
    loaded: list[UUID] = []
    [layers] = [one.layers for one in [real.branches.find("main")]]
    from neon_compose.pageserver.__main__ import load_tip

    tip = load_tip(real.store, real.work / "maps", layers[-1], layers)

    def load(layer: UUID, _: Sequence[UUID]) -> Tip:
        loaded.append(layer)
        return tip

    tips = Tips(load, keep=2)
    a, b, c = uuid4(), uuid4(), uuid4()
    for one in (a, b, a, c, a, b):
        tips.get([one])
    assert loaded == [a, b, c, b]
