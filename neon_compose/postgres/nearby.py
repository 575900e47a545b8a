"""Where records end shortly before an LSN, without walking there: by what page headers say.

A page's header says how much of a record that began before goes on in it: behind that the next one begins. So
a walk over a few pages finds the last record before an LSN, where the WAL before was, or will be, checked by
others. Reads nothing but headers; what it finds may be wrong where WAL is damaged, and the walk says so.
"""

from __future__ import annotations

from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import PAGE, after_page_header, rest_of_record
from neon_compose.postgres.walfolder import WalFolder

_HEADER = 24
BACK = 64 * PAGE  # how far before: enough that even a long record rarely spans it


def boundary_before(wal: WalFolder, lsn: Lsn, back: int = BACK) -> Lsn | None:
    """The end of a record in the last `back` bytes before `lsn`, in the segment that holds what precedes it;
    None if none ends there. Raises `Corrupt` if the segment is missing."""
    number = wal.number(Lsn(lsn.value - 1))
    page = max(wal.begin(number).value, (lsn.value - back) // PAGE * PAGE)
    with wal.open(number) as file:
        while page < lsn.value:
            file.seek(page % wal.segment_size)
            rest = rest_of_record(file.read(_HEADER))
            behind = after_page_header(Lsn(page), wal.segment_size).value + (rest + 7 & ~7)
            if not rest or behind < page + PAGE:
                found = behind if rest else page
                return Lsn(found) if found <= lsn.value else None
            page += PAGE
    return None
