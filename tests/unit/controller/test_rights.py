"""What the containers that the controller makes may do: nothing they don't need, the short ones too."""

from __future__ import annotations

from dataclasses import fields

import pytest

from neon_compose.controller import pgs, storages
from neon_compose.controller.secrets import Secrets
from neon_compose.engine.runtime import ContainerSpec
from neon_compose.errors import NeonError
from neon_compose.model.states import StorageType
from neon_compose.wire.rest import PgIn, StorageIn
from tests.site import Fixture
from tests.site import made as made_site

USER = "10001:10001"


@pytest.fixture(scope="module")
def specs() -> dict[str, list[ContainerSpec]]:
    """Every container of a day: a volume, a folder, a dump and a data directory to import, pgs, by role."""
    with made_site() as fixture:
        fixture.engine.program = lambda spec: (1, []) if spec.component is None else None
        (fixture.host / "srv").mkdir()
        (fixture.host / "srv/shop.dump").write_bytes(b"PGDMP")
        (fixture.host / "srv/pgdata").mkdir()
        fixture.bring_safekeepers(1)
        attach(fixture, "volume")
        attach(fixture, "folder", path="/srv/data")
        attach(fixture, "dump", import_="/srv/shop.dump")
        attach(fixture, "server", import_="postgres://me:pw@db.example/shop")
        attach(fixture, "pgdata", import_="/srv/pgdata")
        pgs.put(fixture.site, PgIn(name="a", storage_name="volume", start=True))
        found: dict[str, list[ContainerSpec]] = {}
        for spec in fixture.engine.made:
            found.setdefault(spec.component.value if spec.component else "probe", []).append(spec)
        assert {"pageserver", "safekeeper", "compute", "pod", "probe"} <= found.keys()
        assert len(found["probe"]) >= 3
        return found


def attach(fixture: Fixture, name: str, path: str | None = None, import_: str | None = None) -> None:
    """Whether it succeeds or not: what matters is which containers are made for it."""
    try:
        storages.attach(
            fixture.site, StorageIn(name=name, type=StorageType.NATIVE, path=path, import_=import_)
        )
    except NeonError:
        return


def test_no_container_can_write_to_its_own_file_system(specs: dict[str, list[ContainerSpec]]) -> None:
    for role, made in specs.items():
        assert all(spec.read_only for spec in made), role


def test_what_serves_has_no_capability_and_is_nobody(specs: dict[str, list[ContainerSpec]]) -> None:
    for role, made in specs.items():
        if role != "probe":
            assert all((spec.user, spec.cap_add, spec.group_add) == (USER, (), ()) for spec in made), role


def test_a_probe_that_is_root_has_no_network(specs: dict[str, list[ContainerSpec]]) -> None:
    rooted = [spec for spec in specs["probe"] if spec.user != USER]
    assert rooted
    for spec in rooted:
        assert spec.network == "none", spec
        assert set(spec.cap_add) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID"}, spec


def test_no_container_is_given_the_socket_or_a_secret_in_words(specs: dict[str, list[ContainerSpec]]) -> None:
    for made in specs.values():
        for spec in made:
            assert not any("docker.sock" in mount.source for mount in spec.mounts), spec
            assert "pw" not in repr(spec).replace("/srv/pgdata", ""), spec


def test_secrets_do_not_print_themselves() -> None:
    secrets = Secrets(**{one.name: f"very-{one.name}" for one in fields(Secrets)})
    assert "very" not in f"{secrets} {secrets!r} {[secrets]}"
