"""What went wrong: text on stderr, a kind's exit code, nothing on stdout."""

from __future__ import annotations

import httpx
import pytest

from neon_compose.cli import access
from neon_compose.cli.access import Access
from neon_compose.cli.session import Outside
from neon_compose.controller.steps import Open
from neon_compose.errors import KINDS, Conflict, NeonError
from neon_compose.model.names import Name
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import TOKEN, URL, FakeServer


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.kind != "unauthorised"])
def test_a_problem_document_ends_with_the_exit_code_of_its_kind(
    cli: Cli, server: FakeServer, kind: type[NeonError]
) -> None:
    server.refuse["POST", "/pgs/main/actions"] = kind("it is so", detail="More.", hint="Do that.")
    ran = cli("pg", "stop", "main")
    assert (ran.code, ran.out) == (kind.exit_code, "")
    assert ran.err == "error: it is so\ndetail: More.\nhint: Do that.\n"


def test_only_what_is_known_is_said(cli: Cli, server: FakeServer) -> None:
    server.refuse["GET", "/pgs"] = Conflict("no")
    assert cli("pg", "list").err == "error: no\n"


def answering(response: httpx.Response | Exception) -> httpx.MockTransport:
    def answer(_request: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.ConnectError("refused"), 5),
        (httpx.ReadTimeout("slow"), 6),
        (httpx.RemoteProtocolError("cut"), 5),
        (httpx.Response(502, text="<html>bad gateway"), 5),
        (httpx.Response(500, json={"other": 1}), 5),
    ],
)
def test_a_controller_that_does_not_answer_well_is_unavailable(
    cli: Cli, response: httpx.Response | Exception, code: int
) -> None:
    ran = cli("pg", "list", transport=answering(response))
    assert ran.code == code
    assert ran.err.startswith("error: ")
    assert "hint: " in ran.err


def test_who_only_looks_waits_less_long_than_who_stops_a_busy_server(cli: Cli) -> None:
    asked: dict[str, float] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        asked[request.method] = request.extensions["timeout"]["read"]
        return httpx.Response(200, json=[] if request.method == "GET" else {})

    cli("pg", "list", transport=httpx.MockTransport(answer))
    cli("pg", "stop", "main", transport=httpx.MockTransport(answer))
    assert asked["GET"] <= 30 < asked["POST"]


@pytest.mark.parametrize("line", ["pg start main", "pg restart main", "branch create x --from main"])
def test_whoever_starts_a_pg_waits_until_the_controller_says_why_it_did_not_open(cli: Cli, line: str) -> None:
    asked: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            asked.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"name": "main", "storage_name": "main", "url": "postgres://x"})

    cli(*line.split(), transport=httpx.MockTransport(answer))
    assert min(asked) > Open.__dataclass_fields__["wait_s"].default + 60


def test_a_refused_token_is_an_error_when_no_engine_can_tell_the_right_one(cli: Cli) -> None:
    access.write(Name("neon"), Access(URL, "old"))
    assert cli("pg", "list").code == 5


def test_a_bug_prints_one_line_and_how_to_see_more(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> object:
        raise ZeroDivisionError("a bug of ours")

    ran = cli("doctor", images=broken)
    assert ran.code == 70
    assert "--debug" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in cli("doctor", "--debug", images=broken).err
    monkeypatch.setenv("NEON_DEBUG", "1")
    assert "Traceback" in cli("doctor", images=broken).err


def test_an_interrupted_call_exits_130(cli: Cli, outside: Outside) -> None:
    def interrupted(_argv: list[str], _env: object) -> int:
        raise KeyboardInterrupt

    assert cli("psql", "main", run=interrupted).code == 130
    assert outside.folder.exists()


def test_what_the_http_library_says_ends_with_one_full_stop(cli: Cli) -> None:
    said = "Server disconnected without sending a response."
    ran = cli("pg", "list", transport=answering(httpx.RemoteProtocolError(said)))
    assert f"detail: {said}\n" in ran.err


def test_no_token_is_ever_shown_by_an_error(cli: Cli) -> None:
    ran = cli("pg", "list", "--debug", transport=answering(httpx.ConnectError("refused")))
    assert TOKEN not in ran.err
