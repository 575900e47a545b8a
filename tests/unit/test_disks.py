from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from neon_compose.disks import Disks, Place
from neon_compose.errors import DiskFull, Invalid, NeonError, Unavailable

STORAGE = Place(Path("/storage"), 'folder "/data" of storage "main"')
WORK = Place(Path("/work"), 'volume "neon_work_main"')
ROOM = {STORAGE.folder: 7, WORK.folder: 5}
DISKS = Disks((STORAGE, WORK), ROOM.__getitem__)


def os_error(code: int, path: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), path) if path else OSError(code, os.strerror(code))


def title(error: Exception) -> str:
    found = DISKS.explain(error)
    assert found is not None
    return found.message


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_by_the_path_that_found_it_full(code: int) -> None:
    found = DISKS.explain(os_error(code, "/storage/layers/x.pages"))
    assert isinstance(found, DiskFull)
    assert found.message == 'folder "/data" of storage "main" is full'
    assert found.hint


def test_without_a_path_it_is_the_place_with_the_least_room() -> None:
    assert title(os_error(errno.ENOSPC)) == 'volume "neon_work_main" is full'


def test_what_a_program_said_of_a_full_disk_counts_whatever_error_it_became() -> None:
    said = "PANIC:  could not write to file: No space left on device"
    found = DISKS.explain(Invalid("the dump could not be restored", detail=said))
    assert isinstance(found, DiskFull)
    assert found.detail == said


@pytest.mark.parametrize(
    "said",
    [
        'could not resize shared memory segment "/PostgreSQL.1" to 9 bytes: No space left on device',
        'ERROR: invalid input syntax\nCONTEXT:  COPY t, line 1: "No space left on device"',
        "ERROR: duplicate key\n  DETAIL:  Key (t)=(Input/output error) already exists.",
    ],
)
def test_words_about_no_file_are_not_about_a_disk(said: str) -> None:
    assert DISKS.explain(Invalid("the dump could not be restored", detail=said)) is None


def test_a_failing_disk_is_unavailable_and_not_full() -> None:
    found = DISKS.explain(os_error(errno.EIO, "/work/maps/x.map"))
    assert type(found) is Unavailable
    assert found.message == 'volume "neon_work_main" can\'t be read or written'


@pytest.mark.parametrize(
    "error", [os_error(errno.ENOENT, "/work/x"), Invalid("no"), DiskFull("full", code="disk_full")]
)
def test_what_is_about_no_disk_or_says_so_already_stays_as_it_is(error: Exception) -> None:
    assert DISKS.explain(error) is None
    with pytest.raises((OSError, NeonError)) as caught, DISKS.explained():
        raise error
    assert caught.value is error
