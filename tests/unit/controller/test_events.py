"""The log of events: bounded, ordered, and deaf to how its readers do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import pytest

from neon_compose.controller import branches, pgs, storages
from neon_compose.controller.events import FOLLOWERS, EventLog
from neon_compose.controller.recorder import Recorder
from neon_compose.engine.watching import Change, ContainerEvent
from neon_compose.errors import NeonError, Unavailable
from neon_compose.model.states import StorageType
from neon_compose.wait import Deadline, until
from neon_compose.wire.events import EventKind, EventOut
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageIn
from tests.fakes_watching import FakeWatching
from tests.site import STACK, Fixture


def all_of(log: EventLog) -> list[EventOut]:
    found: list[EventOut] = []
    while more := log.after(found[-1].id if found else 0):
        found += more
    return found


def told(fixture: Fixture) -> list[tuple[str, str]]:
    return [(one.kind.value, one.name) for one in all_of(fixture.site.events)]


def test_ids_grow_also_when_the_clock_stands_still_or_goes_back() -> None:
    log = EventLog()
    for at_ns in (5_000_000, 5_000_000, 3_000_000, 9_000_000):
        log.tell_container(ContainerEvent(at_ns, Change.STARTED, "c", "id", {}))
    assert [one.id for one in all_of(log)] == [5000, 5001, 5002, 9000]
    assert all_of(log)[2].at == datetime.fromtimestamp(0.003, UTC)


def test_the_log_keeps_the_last_ones_and_says_what_a_slow_reader_missed() -> None:
    log = EventLog(kept=10)
    log.tell(EventKind.PG_STARTED, "first")
    place = log.last
    for number in range(25):
        log.tell(EventKind.PG_STARTED, f"pg{number}")
    lost, *rest = log.after(place)
    assert (lost.kind, lost.id < rest[0].id) == (EventKind.MISSED, True)
    assert [one.name for one in rest] == [f"pg{number}" for number in range(15, 25)]
    assert EventKind.MISSED not in {one.kind for one in log.after(rest[0].id)}
    assert EventKind.MISSED not in {one.kind for one in log.after(0)}  # whoever asks for all there is
    assert log.counts[EventKind.PG_STARTED] == 26


def test_a_long_note_is_cut() -> None:
    log = EventLog()
    log.tell(EventKind.STEP_FAILED, "x", "n" * 10_000)
    assert len(all_of(log)[0].note or "") < 1000


def test_one_follower_too_many_is_refused_and_one_that_left_makes_room() -> None:
    log = EventLog()
    waits = [log.woken(lambda number=number: print(number)) for number in range(FOLLOWERS)]  # type: ignore[misc]
    for wait in waits:
        wait.__enter__()
    with pytest.raises(Unavailable) as caught, log.woken(lambda: None):
        pass
    assert caught.value.code == "too_many_readers"
    waits[0].__exit__(None, None, None)
    with log.woken(lambda: None):
        assert log.followers == FOLLOWERS


def test_what_requests_do_is_told_once_it_is_done(shop: Fixture) -> None:
    site = shop.site
    assert told(shop)[-2:] == [("storage_initialised", "shop"), ("storage_attached", "shop")]
    before = len(told(shop))
    pgs.put(site, PgIn(name="a", storage_name="shop", from_="shop@init", start=True))
    pgs.put(site, PgIn(name="a", storage_name="shop", from_="shop@init", settings={"work_mem": "8MB"}))
    pgs.act(site, "a", PgAction(action=PgVerb.STOP))
    pgs.act(site, "a", PgAction(action=PgVerb.STOP))
    pgs.destroy(site, "a", discard_writes=False)
    branches.delete(site, "shop", "a")
    storages.detach(site, "shop", purge=True)
    assert told(shop)[before:] == [
        ("pg_created", "a"),
        ("branch_created", "shop/a"),
        ("pg_started", "a"),
        ("pg_changed", "a"),
        ("pg_stopping", "a"),
        ("pg_destroyed", "a"),
        ("branch_deleted", "shop/a"),
        ("storage_detached", "shop"),
    ]


def test_a_dry_run_is_no_news(shop: Fixture) -> None:
    before = told(shop)
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True), dry_run=True)
    assert told(shop) == before


def test_an_import_is_told_when_it_is_finished(shop: Fixture) -> None:
    chunks = iter([b"PGDMP", b"more"])
    request = StorageIn(name="crm", type=StorageType.NATIVE)
    storages.attach(shop.site, request, upload=storages.Upload("auto", chunks))
    assert told(shop)[-2:] == [("import_finished", "crm"), ("storage_attached", "crm")]


def test_a_failed_request_is_told_with_its_error_and_that_it_was_taken_back(shop: Fixture) -> None:
    shop.engine.images = set()
    with pytest.raises(NeonError):
        pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
    failed, back = all_of(shop.site.events)[-2:]
    assert (failed.kind, failed.name) == (EventKind.STEP_FAILED, f"create container {STACK}_pg_a")
    assert "does not exist" in (failed.note or "")
    assert back.kind is EventKind.TAKEN_BACK


def test_containers_are_told_as_the_engine_tells_them_and_none_twice(shop: Fixture) -> None:
    recorder = Recorder(shop.engine, STACK, shop.site.events)
    recorder.start()
    try:
        pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
        ended = ("container_ended", f"{STACK}_pg_a")
        shop.engine.end(f"{STACK}_pg_a", code=9)
        until("the end", lambda: ended in told(shop), Deadline.after(30))
        event = next(one for one in all_of(shop.site.events) if one.kind is EventKind.CONTAINER_ENDED)
        assert (event.exit_code, event.component) == (9, "compute")
        containers = [one for one in told(shop) if one[0].startswith("container_")]
        assert sorted(containers) == sorted(set(containers))
    finally:
        recorder.close()


class LosesIts(FakeWatching):
    """A watching whose engine goes away after each event."""

    def __iter__(self) -> Iterator[ContainerEvent]:
        yield from islice(super().__iter__(), 1)


def test_an_engine_that_goes_away_is_asked_again_from_the_last_event_on(
    shop: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neon_compose.controller.recorder._PAUSE_S", 0.001)
    log, engine, asked = EventLog(), shop.engine, []
    gone = threading.Event()

    class Watcher:
        def watch(self, stack: str, since_ns: int | None = None) -> FakeWatching:
            asked.append(since_ns)
            if len(asked) == 2:
                gone.set()
                raise Unavailable("the Docker engine does not answer", code="engine_gone")
            found = engine.watch(stack, since_ns)
            return LosesIts(engine.news, engine.told, stack, found._next)

    recorder = Recorder(Watcher(), STACK, log)
    recorder.start()
    try:
        known = [one.name for one in engine.told if one.component is not None]
        until("all", lambda: len(all_of(log)) == len(known), Deadline.after(30))
        assert gone.is_set()
        assert [one.name for one in all_of(log)] == known
    finally:
        recorder.close()
        until("its end", lambda: not recorder._thread.is_alive(), Deadline.after(30))


def test_closing_ends_a_recorder_that_waits(shop: Fixture) -> None:
    recorder = Recorder(shop.engine, "nobody", shop.site.events)
    recorder.start()
    recorder.close()
    until("its end", lambda: not recorder._thread.is_alive(), Deadline.after(30))
