"""What a way to break the shim is: the edits of its source, and the test program that must notice.

An edit's text must occur exactly once in its file, so a mutant can't silently become the original when the
source changes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    name: str
    caught_by: str
    edits: tuple[Edit, ...]


def mutant(name: str, caught_by: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name, caught_by, (Edit(file, old, new),))
