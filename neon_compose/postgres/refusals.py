"""Refusals of a server that don't end by waiting: SQL has changed our role or the database we connect to."""

from __future__ import annotations

import re

DATABASE = "postgres"  # what our sessions connect to; every cluster of ours has it

_LOCKED_OUT = re.compile(
    r"FATAL:  (password authentication failed|role .* (does not exist|is not permitted to log in)"
    rf'|database "{DATABASE}" (does not exist|is not currently accepting connections))'
)


def is_locked_out(refusal: str) -> bool:
    """Whether libpq's words mean that the server won't let us in as things stand."""
    return _LOCKED_OUT.search(refusal) is not None
