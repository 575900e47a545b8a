"""In which order WAL is looked for."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from neon_compose.model.lsn import Lsn
from neon_compose.pageserver.ways import Source, ways

SIZE = 10


def source(name: str, oldest: int) -> Source:
    def read(start: Lsn, end: Lsn) -> Iterator[bytes]:
        yield name.encode() * (end.value - start.value)

    return Source(name, read, Lsn(oldest))


ARCHIVE = source("A", 0).read


def tried(lacking: list[tuple[int, int]], holders: list[Source], archived: int | None) -> list[str]:
    """What each way gives, one letter a byte."""
    stretches = [(Lsn(start), Lsn(end)) for start, end in lacking]
    upto = Lsn(archived) if archived is not None else None
    return [
        "".join(b"".join(part.read(part.start, part.end)).decode() for part in way.parts)
        for way in ways(stretches, holders, ARCHIVE, upto, SIZE)
    ]


def test_safekeepers_come_first_then_the_archive_for_all_it_has() -> None:
    assert tried([(20, 30)], [source("s", 0), source("t", 0)], None) == ["s" * 10, "t" * 10]
    assert tried([(20, 30)], [source("s", 0)], 26) == ["s" * 10, "AAAAAAssss"]
    assert tried([(20, 30)], [source("s", 0)], 40) == ["s" * 10, "A" * 10]


def test_what_a_safekeeper_trimmed_comes_from_the_archive() -> None:
    assert tried([(15, 35)], [source("s", 23)], 30) == ["A" * 5 + "s" * 15, "A" * 15 + "s" * 5]
    assert tried([(15, 35)], [source("s", 23)], 19) == []
    assert tried([(5, 8), (25, 35)], [source("s", 23)], 20) == ["AAA" + "s" * 10]


def test_without_safekeepers_it_is_the_archive_or_nothing() -> None:
    assert tried([(15, 30)], [], 30) == ["A" * 15]
    assert tried([(15, 31)], [], 30) == []
    assert tried([(15, 30)], [], None) == []


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=2),
    st.lists(st.integers(0, 60), max_size=3),
    st.none() | st.integers(0, 90),
)
def test_every_way_is_whole_and_nobody_is_asked_for_what_it_lacks(
    lacking: list[tuple[int, int]], oldest: list[int], archived: int | None
) -> None:
    stretches = [(Lsn(start), Lsn(start + size)) for start, size in lacking]
    holders = [source(str(n), one) for n, one in enumerate(oldest)]
    upto = Lsn(archived) if archived is not None else None
    for way in ways(stretches, holders, ARCHIVE, upto, SIZE):
        got = {lsn for part in way.parts for lsn in range(part.start.value, part.end.value)}
        assert got == {lsn for start, end in stretches for lsn in range(start.value, end.value)}
        for part in way.parts:
            if part.read is ARCHIVE:
                assert upto is not None
                assert part.end <= upto
            else:
                holder = next(one for one in holders if one.read is part.read)
                assert part.start.value >= holder.oldest.value // SIZE * SIZE
