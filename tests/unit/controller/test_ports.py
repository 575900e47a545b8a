import pytest

from neon_compose.controller.ports import END, format_ports, free_block, parse_ports
from neon_compose.errors import Unavailable


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ((), ""),
        ((15432,), "15432"),
        ((15432, 15433), "15432-15433"),
        ((1, 2, 3, 5, 7, 8), "1-3,5,7-8"),
    ],
)
def test_a_set_of_ports_is_written_short_and_read_back(ports: tuple[int, ...], text: str) -> None:
    assert format_ports(ports) == text
    assert parse_ports(text) == ports


def test_the_lowest_free_block_is_taken() -> None:
    assert free_block(frozenset()) == tuple(range(15432, 15448))
    assert free_block(frozenset({15432})) == tuple(range(15433, 15449))
    assert free_block(frozenset({15440, 15455})) == tuple(range(15456, 15472))


def test_no_block_left_is_said() -> None:
    with pytest.raises(Unavailable):
        free_block(frozenset(range(15432, END)))
