"""What a protected branch says to whoever would end it, or change what its name means."""

from __future__ import annotations

from neon_compose.errors import Conflict


def protected(name: str) -> Conflict:
    """Code "branch_protected"."""
    return Conflict(
        f'branch "{name}" is protected',
        detail="It isn't deleted, restored, reset or refreshed, and doesn't expire.",
        hint=f"If you mean it: neon-compose branch unprotect {name}",
        code="branch_protected",
    )
