"""Prometheus's text format, as its own parser reads it."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parsed

from neon_compose.metrics import BUCKETS_S, Count, Durations, expose, gauge

# A line end of another kind would end the parser's line, and a label's text is a name or a word of ours.
TEXTS = st.text(st.characters(exclude_categories=("C", "Zl", "Zp"), include_characters="\n"), max_size=30)


@given(TEXTS, TEXTS, st.floats(allow_nan=False))
def test_any_label_help_and_value_is_read_back_as_it_was(label: str, help_: str, value: float) -> None:
    (family,) = parsed(expose([gauge("x", help_, ({"name": label}, value))]))
    (sample,) = family.samples
    assert (sample.name, sample.labels, sample.value) == ("neon_compose_x", {"name": label}, value)


def test_a_counter_counts_by_labels() -> None:
    count = Count("calls_total", "Calls.")
    for outcome in ("ok", "ok", "conflict"):
        count.one(outcome=outcome)
    (family,) = parsed(expose([count.family()]))
    assert family.type == "counter"
    assert {one.labels["outcome"]: one.value for one in family.samples} == {"ok": 2, "conflict": 1}


@given(st.lists(st.floats(0, 1000), max_size=40))
def test_a_histogram_counts_each_duration_in_every_bucket_that_holds_it(durations: list[float]) -> None:
    times = Durations("call_duration_seconds", "Calls.")
    for seconds in durations:
        times.took(seconds, call="x")
    (family,) = parsed(expose([times.family()]))
    buckets = {one.labels["le"]: one.value for one in family.samples if one.name.endswith("_bucket")}
    if durations:
        assert buckets == {f"{most:g}": sum(one <= most for one in durations) for most in BUCKETS_S} | {
            "+Inf": len(durations)
        }
        values = {one.name.rpartition("_")[2]: one.value for one in family.samples}
        assert values["count"] == len(durations)
        assert abs(values["sum"] - sum(durations)) < 1e-6 * max(1, sum(durations))


def test_many_threads_lose_no_count() -> None:
    count, times = Count("calls_total", "Calls."), Durations("call_duration_seconds", "Calls.")

    def work() -> None:
        for _ in range(2000):
            count.one(call="x")
            times.took(0.001, call="x")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.family().samples[0][2] == 16_000
    assert times.family().samples[-1][2] == 16_000
