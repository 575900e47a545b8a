"""The known word nearest to a mistyped one, for hints."""

from __future__ import annotations

from collections.abc import Iterable

_CUTOFF = 0.6


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The word of `known` that looks most like `word`, or None when none comes close."""
    import difflib

    candidates = sorted(known)
    by_letters = {candidate.lower().replace("-", "_"): candidate for candidate in reversed(candidates)}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), by_letters, n=1, cutoff=_CUTOFF)
    return by_letters[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known word, else all of them; empty if none is known."""
    candidates = sorted(known)
    found = nearest(word, candidates)
    if found is not None:
        return f'Did you mean "{found}"?'
    return f"Known: {', '.join(candidates)}." if candidates else ""
