from datetime import UTC, datetime

import pytest

from neon_compose.controller.desired import Desired, PgDoc, StorageDoc
from neon_compose.controller.sources import resolve
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.source import parse_source

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pg(name: str, storage: str, branch: str) -> PgDoc:
    return PgDoc(name=name, storage_name=storage, branch=branch, port=1, ports="1", created_at=NOW)


DESIRED = Desired(
    storages={name: StorageDoc(name=name, created_at=NOW) for name in ("shop", "crm")},
    pgs={
        one.name: one
        for one in (pg("web", "shop", "main"), pg("try1", "shop", "try1"), pg("crm", "shop", "other"))
    },
)
BRANCHES = {"shop": ["main", "try1", "other", "lone", "both"], "crm": ["main", "both"]}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("web", "shop/main"),
        ("try1", "shop/try1"),
        ("shop", "shop/main"),
        ("shop@init", "shop/main@init"),
        ("lone", "shop/lone"),
        ("shop/lone@init", "shop/lone@init"),
        ("crm/both", "crm/both"),
    ],
)
def test_a_source_is_a_pg_else_a_storage_else_a_branch(text: str, meaning: str) -> None:
    assert str(resolve(parse_source(text), DESIRED, BRANCHES)) == meaning


@pytest.mark.parametrize(
    ("text", "forms"),
    [("crm", ["crm/main", "shop/other"]), ("both", ["crm/both", "shop/both"])],
)
def test_a_name_with_two_meanings_is_a_conflict_that_lists_the_full_forms(
    text: str, forms: list[str]
) -> None:
    with pytest.raises(Conflict) as caught:
        resolve(parse_source(text), DESIRED, BRANCHES)
    assert caught.value.code == "ambiguous_source"
    assert all(form in caught.value.detail for form in forms)


def test_main_means_the_pg_or_storage_of_that_name_though_every_storage_has_such_a_branch() -> None:
    desired = Desired(
        storages={"main": StorageDoc(name="main", created_at=NOW), **DESIRED.storages}, pgs=DESIRED.pgs
    )
    branches = {"main": ["main"], **BRANCHES}
    assert str(resolve(parse_source("main@init"), desired, branches)) == "main/main@init"
    with pytest.raises(Conflict):
        resolve(parse_source("main"), DESIRED, BRANCHES)


@pytest.mark.parametrize(
    ("text", "hint"), [("shpo", '"shop"'), ("nowhere/x", ""), ("shop/tri1", '"try1"'), ("cmr/main", '"crm"')]
)
def test_what_is_not_there_is_said_with_the_nearest_known_name(text: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        resolve(parse_source(text), DESIRED, BRANCHES)
    assert hint in caught.value.hint
