"""One line per event on stderr: time, level, logger, message. Nothing secret is ever passed to it."""

from __future__ import annotations

import logging
import sys


def configure(level: str = "INFO") -> None:
    """Set up the root logger of a component; called from composition roots only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def get(name: str) -> logging.Logger:
    return logging.getLogger(name)
