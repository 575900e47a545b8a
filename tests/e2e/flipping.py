"""A bit inverted in a file inside a container, and inverted again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PYTHON = "/opt/neon/bin/python"
_FLIP = """\
import pathlib, sys
root, pattern, needle = sys.argv[1], sys.argv[2], sys.argv[3].encode()
[path] = [one for one in pathlib.Path(root).glob(pattern) if needle in one.read_bytes()]
raw = path.read_bytes()
at = raw.index(needle) if needle else len(raw) // 2
with path.open("r+b") as file:
    file.seek(at)
    file.write(bytes([raw[at] ^ 1]))
print(path.name)
"""


@contextmanager
def flipped(container: Any, root: str, pattern: str, needle: str = "") -> Iterator[str]:
    """The name of the one file that matches and has `needle` in it. Its first byte, else one in the middle
    of the file, is another until the end."""
    name = _flip(container, root, pattern, needle)
    try:
        yield name
    finally:
        _flip(container, root, pattern, needle and chr(ord(needle[0]) ^ 1) + needle[1:])


def _flip(container: Any, *args: str) -> str:
    done = container.exec_run([PYTHON, "-c", _FLIP, *args])
    assert done.exit_code == 0, done.output
    name: str = done.output.decode().strip()
    return name


def flipped_wal(stack: Any, safekeeper: str, needle: str) -> Any:
    """The same in what a safekeeper has of a branch's WAL; the segment's name."""
    container = stack.container(safekeeper)
    return flipped(container, "/safekeeper/branches", "*/wal/0*", needle)
