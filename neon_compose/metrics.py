"""Figures in Prometheus's text format, version 0.0.4: families of samples, and the meters that count.

Names carry their unit (`_seconds`, `_bytes`) and counters end in `_total`, as Prometheus wants it. Written
by hand, since the format is a page long and its library keeps a registry per process, not per controller;
the tests read it with that library's parser.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from neon_compose.wait import monotonic_s

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "neon_compose_"

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

Labels = Mapping[str, str]
_Key = tuple[tuple[str, str], ...]


class Type(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass
class Family:
    """Samples of one name. `name` is without the prefix; a counter's is whole, with its `_total`."""

    name: str
    type: Type
    help: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)  # suffix, labels, value

    def add(self, value: float, labels: Labels | None = None, suffix: str = "") -> None:
        self.samples.append((suffix, labels or {}, value))


def gauge(name: str, help_: str, *samples: tuple[Labels, float]) -> Family:
    return Family(name, Type.GAUGE, help_, [("", labels, value) for labels, value in samples])


def counter(name: str, help_: str, *samples: tuple[Labels, float]) -> Family:
    return Family(name, Type.COUNTER, help_, [("", labels, value) for labels, value in samples])


def expose(families: Iterable[Family]) -> str:
    """The text of an answer."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = PREFIX + family.name
    help_ = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {family.type}"
    for suffix, labels, value in family.samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{suffix}{{{pairs}}} {_number(value)}" if pairs else f"{name}{suffix} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


class Durations:
    """A histogram of seconds by labels. Thread-safe; as large as there are combinations of labels."""

    def __init__(self, name: str, help_: str) -> None:
        self._name, self._help = name, help_
        self._mutex = threading.Lock()
        self._counts: dict[_Key, list[int]] = {}
        self._sums: dict[_Key, float] = {}

    def took(self, seconds: float, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        with self._mutex:
            counts = self._counts.setdefault(key, [0] * (len(BUCKETS_S) + 1))
            counts[next((i for i, most in enumerate(BUCKETS_S) if seconds <= most), len(BUCKETS_S))] += 1
            self._sums[key] = self._sums.get(key, 0.0) + seconds

    @contextmanager
    def timed(self, **labels: str) -> Iterator[None]:
        """As `took`, of the time in here, however it is left."""
        begun_s = monotonic_s()
        try:
            yield
        finally:
            self.took(monotonic_s() - begun_s, **labels)

    def family(self) -> Family:
        found = Family(self._name, Type.HISTOGRAM, self._help)
        with self._mutex:
            known = [(dict(key), list(counts), self._sums[key]) for key, counts in self._counts.items()]
        for labels, counts, total in known:
            seen = 0
            for most, count in zip((*BUCKETS_S, math.inf), counts, strict=True):
                seen += count
                found.add(seen, {**labels, "le": "+Inf" if math.isinf(most) else f"{most:g}"}, "_bucket")
            found.add(total, labels, "_sum")
            found.add(seen, labels, "_count")
        return found


class Count:
    """A counter by labels. Thread-safe."""

    def __init__(self, name: str, help_: str) -> None:
        self._name, self._help = name, help_
        self._mutex = threading.Lock()
        self._counts: dict[_Key, int] = {}

    def one(self, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        with self._mutex:
            self._counts[key] = self._counts.get(key, 0) + 1

    def family(self) -> Family:
        with self._mutex:
            return counter(self._name, self._help, *((dict(key), n) for key, n in self._counts.items()))
