from __future__ import annotations

import pytest

from neon_compose.errors import KINDS, NeonError, Unavailable, as_problem, from_problem, sentence

# DESIGN/STYLE's table: kind -> (HTTP status, exit code)
TABLE = {
    "invalid": (422, 2),
    "malformed": (400, 2),
    "too_large": (413, 2),
    "unauthorised": (401, 8),
    "foreign_host": (403, 8),
    "not_found": (404, 3),
    "conflict": (409, 4),
    "unavailable": (503, 5),
    "timeout": (504, 6),
    "disk_full": (507, 9),
    "corrupt": (500, 7),
    "bug": (500, 70),
}


def test_every_kind_has_the_status_and_exit_code_of_the_table() -> None:
    assert {kind: (cls.status, cls.exit_code) for kind, cls in KINDS.items()} == TABLE


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_over_the_wire(kind: str) -> None:
    error = KINDS[kind]("message", detail="A detail.", hint="A hint.", code="some_code")
    back = from_problem(as_problem(error))
    assert type(back) is KINDS[kind]
    assert vars(back) == vars(error)


def test_a_problem_of_an_unknown_kind_is_an_unavailable_peer() -> None:
    error = from_problem({"kind": "quantum", "title": "odd"})
    assert isinstance(error, Unavailable)
    assert isinstance(error, NeonError)


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (
            "Server disconnected without sending a response.",
            "Server disconnected without sending a response.",
        ),
        ("[Errno 111] Connection refused", "[Errno 111] Connection refused."),
        ("", "OSError."),
    ],
)
def test_what_others_say_is_a_sentence_with_one_full_stop(said: str, detail: str) -> None:
    assert sentence(OSError(said)) == detail
