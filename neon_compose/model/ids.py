"""UUIDv7 ids (RFC 9562): the time in milliseconds first, so ids sort by age."""

from __future__ import annotations

import os
import time
import uuid


def new_id() -> uuid.UUID:
    """A fresh id, unique without coordination."""
    millis = time.time_ns() // 1_000_000
    rand = int.from_bytes(os.urandom(10), "big")
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (rand >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | rand & (1 << 62) - 1
    return uuid.UUID(int=value)
