"""Text for people: tables, sizes, times, steps."""

from __future__ import annotations

import io

import pytest

from neon_compose.cli.progress import Plain, step
from neon_compose.cli.render import as_facts, as_table, seconds, size
from neon_compose.wire.ndjson import Step


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows: list[dict[str, object]] = [{"a": "long word", "b": None}, {"a": "x", "b": ["p", "q"]}]
    assert as_table(rows, {"A": "a", "B": "b"}) == "A          B\nlong word  -\nx          p, q"


def test_no_rows_leave_the_heads() -> None:
    assert as_table([], {"A": "a"}) == "A"


def test_control_characters_never_reach_the_terminal() -> None:
    assert "\x1b" not in as_table([{"a": "\x1b[31mred\n"}], {"A": "a"})


def test_facts_leave_out_what_is_empty() -> None:
    assert (
        as_facts({"name": "x", "size_bytes": 0, "path": None, "settings": {}})
        == "name:       x\nsize bytes: 0"
    )


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 60, "1048576.0 TiB"),
    ],
)
def test_sizes_are_told_in_powers_of_1024(size_bytes: int | None, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(("duration_s", "text"), [(0.0421, "42 ms"), (3.14, "3.1 s"), (125, "2 min 5 s")])
def test_times_are_told_in_the_unit_that_fits(duration_s: float, text: str) -> None:
    assert seconds(duration_s) == text


def test_plain_progress_is_a_line_at_both_ends_and_bytes_now_and_then() -> None:
    out = io.StringIO()
    now_s = [100.0]
    show = Plain(out, lambda: now_s[0])
    show.emit(Step(name="send", state="start"))
    for sent in range(4):
        now_s[0] += 2
        show.emit(Step(name="send", state="progress", bytes=sent << 20, total_bytes=4 << 20))
    show.emit(Step(name="send", state="done", ms=8000))
    assert out.getvalue().splitlines() == ["send …", "send … 2.0 MiB of 4.0 MiB (50 %)", "send 8.0 s"]


def test_plain_progress_tells_every_note() -> None:
    out = io.StringIO()
    with Plain(out, lambda: 100.0) as show:
        show.emit(Step(name="adopt", state="start"))
        for note in ("a subscription is left out", "2 unlogged tables are empty"):
            show.emit(Step(name="adopt", state="progress", note=note))
    assert out.getvalue().splitlines() == [
        "adopt …",
        "adopt: a subscription is left out",
        "adopt: 2 unlogged tables are empty",
    ]


def test_a_step_with_nothing_in_between_is_one_line() -> None:
    out = io.StringIO()
    with Plain(out) as show:
        show.emit(Step(name="engine", state="done", note="Docker answers"))
        show.emit(Step(name="initdb", state="start"))
        show.emit(Step(name="initdb", state="done", ms=812))
        show.emit(Step(name="pg main", state="start"))
    assert out.getvalue() == "engine: Docker answers\ninitdb … 812 ms\npg main …\n"


def test_a_step_that_fails_is_never_told_as_done() -> None:
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError), step(Plain(out), "divide"):
        raise ZeroDivisionError
    assert out.getvalue() == "divide …"
