"""The real controller kills itself at every step of create, branch and destroy (NEON_FAULTS).

Started again it finishes what was begun, by itself; the same request again finds it done, and nothing is
left over. Each case has a pg, and so moments, of its own: one that fails leaves the others alone, and no
moment comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from neon_compose.wait import Deadline, until
from tests.e2e.stack import Stack

DOCUMENT = "write document pg {pg}"


@dataclass(frozen=True)
class Case:
    request: str
    moment: str

    @property
    def pg(self) -> str:
        """A name of the case's own."""
        return f"k{ALL.index(self)}"

    @property
    def at(self) -> str:
        return self.moment.format(pg=self.pg, stack="{stack}")

    def __str__(self) -> str:
        return f"{self.request}, killed {self.moment.format(pg='X', stack='S')}"


ALL = [
    Case("create", f"before {DOCUMENT}"),
    Case("create", f"after {DOCUMENT}"),
    Case("create", "after make branch branch main/{pg}"),
    Case("branch", f"before {DOCUMENT}"),
    Case("branch", f"after {DOCUMENT}"),
    Case("branch", "after prepare pg {pg}"),
    Case("branch", "after create container {stack}_pg_{pg}"),
    Case("branch", "after lay out pg {pg}"),
    Case("branch", "after start and open pg {pg}"),
    Case("destroy", "before delete data of pg {pg}"),
    Case("destroy", "after delete data of pg {pg}"),
    Case("destroy", "after remove container {stack}_pg_{pg}"),
    Case("destroy", "after remove document pg {pg}"),
]


@pytest.fixture(scope="module")
def stack(module_stack: Stack) -> Iterator[Stack]:
    """Its controller is armed with the moments of all cases; at the end it is replaced by a harmless one."""
    faults = ";".join(case.at.format(stack=module_stack.name) for case in ALL)
    ran = module_stack.run("up", "-d", env={"NEON_FAULTS": faults})
    assert ran.code == 0, ran.err
    yield module_stack
    module_stack.up()


def ask(stack: Stack, case: Case) -> httpx.Response:
    body: dict[str, Any] = {"name": case.pg, "storage_name": "main", "from": "main@init"}
    with stack.http() as http:
        match case.request:
            case "create":
                return http.put("/pgs", json=body)
            case "branch":
                return http.put("/pgs", json=body | {"start": True})
            case _:
                return http.delete(f"/pgs/{case.pg}", params={"discard_writes": "true"})


def revive(stack: Stack) -> None:
    """Start the dead controller, and wait until it has brought back what documents want.

    The engine would do it too, each time after a longer pause.
    """
    controller = stack.container("controller")
    controller.kill()
    stack.wait_until(lambda: stack.container("controller").status == "exited")
    controller.start()

    def serves() -> bool:
        try:
            with stack.http() as http:
                return http.get("/status").json()["busy"] is None
        except httpx.TransportError:
            return False

    stack.wait_until(serves)


def asked_again(stack: Stack, case: Case) -> httpx.Response:
    """The answer that isn't "busy": a new controller may be at it still."""

    def answer() -> httpx.Response | None:
        got = ask(stack, case)
        return None if got.status_code == 409 and got.json()["code"] == "busy" else got

    return until(f"an answer to {case}", answer, Deadline.after(60), last_words=stack.logs)


def pg_state(stack: Stack, pg: str) -> str | None:
    with stack.http() as http:
        answer = http.get(f"/pgs/{pg}")
    return None if answer.status_code == 404 else answer.json()["state"]


def clean_up(stack: Stack, case: Case) -> None:
    """Best effort: what a failed case leaves must not fail the others."""
    with suppress(httpx.TransportError), stack.http() as http:
        http.post(f"/pgs/{case.pg}/actions", json={"action": "stop"})
        http.delete(f"/pgs/{case.pg}", params={"discard_writes": "true"})
        http.delete(f"/storages/main/branches/{case.pg}")


def branches(stack: Stack) -> list[str]:
    with stack.http() as http:
        return [str(one["name"]) for one in http.get("/storages/main/branches").json()]


def make_one_with_writes(stack: Stack, case: Case) -> None:
    with stack.http() as http:
        body = {"name": case.pg, "storage_name": "main", "from": "main@init", "start": True}
        assert http.put("/pgs", json=body).status_code == 201
        stack.sql(case.pg, "create table gone as select 1 as n")
        assert http.post(f"/pgs/{case.pg}/actions", json={"action": "stop"}).status_code == 200


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_killed_controller_comes_back_and_finishes_what_it_had_begun(stack: Stack, case: Case) -> None:
    try:
        if case.request == "destroy":
            make_one_with_writes(stack, case)
        with pytest.raises(httpx.TransportError):
            ask(stack, case)
        revive(stack)
        begun = not case.moment.startswith("before write")
        expected = {"create": "created", "branch": "running", "destroy": None}[case.request]
        stack.wait_until(lambda: pg_state(stack, case.pg) == (expected if begun else None))
        answer = asked_again(stack, case)
        assert answer.status_code in ({404} if expected is None else {200, 201}), answer.text
        assert pg_state(stack, case.pg) == expected
        assert stack.misplaced() == []
        if expected == "running":
            assert stack.sql(case.pg, "select count(*) from pg_class where relname = 'pg_class'") == [(1,)]
        assert case.pg in branches(stack)
    finally:
        clean_up(stack, case)
