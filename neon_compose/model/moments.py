"""Moments as people write them: an LSN, a time with its zone, how long ago, or a snapshot's name. Pure.

Owns the words and what they mean as text; which LSN of which branch one is, only the pageserver can say.
`str` of a moment parses to an equal one. `Ago` means another moment every time it is looked at, so it is
`settled` to a time once, where a request comes in, and only that time is stored, compared or passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from neon_compose.errors import Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.model.names import PATTERN as NAME
from neon_compose.model.names import Name, parse_name

_AGO = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"  # RFC 3339, and the seconds may be left out
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]" + _CLOCK + r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
_LSN = r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}"
PATTERN = f"{NAME}|{_AGO.pattern}|{_LSN}|{_TIME}"
_EXAMPLES = "5m (or s, h, d: how long ago), 2026-11-28T10:00:00Z, 0/1A2B3C4D, or the name of a snapshot"


@dataclass(frozen=True)
class Time:
    """A moment on the clock, in UTC; `str` is RFC 3339."""

    at: datetime

    def __str__(self) -> str:
        return self.at.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Ago:
    """So long before whenever it is settled."""

    text: str
    ago: timedelta

    def __str__(self) -> str:
        return self.text


Settled = Lsn | Time | Name
Moment = Settled | Ago


def parse_moment(text: str) -> Moment:
    """`text` as a moment; raises `Invalid` code "bad_moment" with examples."""
    try:
        if match := _AGO.fullmatch(text):
            return Ago(text, timedelta(seconds=int(match[1]) * _SECONDS[match[2]]))
        if re.fullmatch(_TIME, text):
            return Time(datetime.fromisoformat(text.upper()).astimezone(UTC))
        return Lsn.parse(text) if re.fullmatch(_LSN, text) else parse_name(text, "snapshot")
    except (Invalid, ValueError, OverflowError) as error:
        raise Invalid(
            f"{text[:60]!a} is not a moment",
            detail=_why_no_time(text) if re.match(r"\d{4}-\d\d", text) else "",
            hint=f"A moment is {_EXAMPLES}.",
            code="bad_moment",
        ) from error


def _why_no_time(text: str) -> str:
    if not re.search(r"([Zz]|[+-][0-9]{2}:?[0-9]{2})$", text[10:]):
        return "A time needs its zone."
    return "There is no such time." if re.fullmatch(_TIME, text) else ""


def settled(moment: Moment, now: datetime) -> Settled:
    """`moment` without a word that depends on when it is read. Raises `Invalid` code "future_moment"."""
    if isinstance(moment, Ago):
        try:
            return Time(now - moment.ago)
        except OverflowError as error:
            raise Invalid(
                f"{moment} ago is before all time", hint=f"A moment is {_EXAMPLES}.", code="bad_moment"
            ) from error
    if isinstance(moment, Time) and moment.at > now:
        raise Invalid(
            f"moment {moment} is in the future",
            detail=f"Here it is {Time(now.replace(microsecond=0))}.",
            hint="The latest is 0s; a new branch or snapshot has it without a moment, too.",
            code="future_moment",
        )
    return moment


def parse_since(text: str, now: datetime) -> datetime:
    """`2026-11-28T10:00:00Z` or `10m`, in UTC. Raises `Invalid`; a time without a zone is none."""
    try:
        if match := _AGO.fullmatch(text):
            return now - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        f"{text[:60]!a} is not a moment",
        hint="Say how long ago (30s, 10m, 2h, 1d), or when (2026-11-28T10:00:00Z).",
        code="bad_moment",
    )
