"""A running stack watched: its events, its figures, its logs, and what doctor says of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from neon_compose.wait import Deadline, until
from tests.e2e.stack import PROGRAM, Stack
from tests.prometheus import figures, key


@pytest.fixture
def stack(module_stack: Stack) -> Stack:
    """Up, also after the test that takes it down."""
    if not module_stack.containers():
        module_stack.up()
    return module_stack


class Running:
    """`neon-compose ARGS` that goes on, and the lines it has printed so far."""

    def __init__(self, stack: Stack, *args: str) -> None:
        env = os.environ | {"XDG_STATE_HOME": str(stack.folder / "state")}
        self.process = subprocess.Popen(
            [PROGRAM, *args], cwd=stack.folder, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, *texts: str) -> None:
        """Until each of `texts` was in a line, in this order."""
        self.wait_until(lambda: self._has(texts), f"{texts}")

    def _has(self, texts: tuple[str, ...]) -> bool:
        lines = iter(list(self.lines))
        return all(any(text in line for line in lines) for text in texts)

    def wait_until(self, probe: Callable[[], bool], what: str) -> None:
        until(what, probe, Deadline.after(120), last_words=lambda: "\n".join(self.lines[-60:]))

    def ends(self) -> int:
        code = self.process.wait(120)
        self.thread.join(30)
        return code


@contextmanager
def running(stack: Stack, *args: str) -> Iterator[Running]:
    one = Running(stack, *args)
    try:
        yield one
    finally:
        one.process.kill()
        one.ends()
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_what_was_done_and_what_became_of_containers_is_told_in_one_stream(stack: Stack) -> None:
    with running(stack, "events", "-f", "-o", "json") as events:
        with stack.http() as http:
            until(
                "the follower",
                lambda: "neon_compose_event_followers 1\n" in http.get("/metrics").text,
                Deadline.after(60),
            )
        stack.cli("branch", "create", "watched", "--from", "main@init")
        stack.container("pg_watched").kill("SIGKILL")
        events.wait_for('"container_ended"')
        stack.cli("pg", "start", "watched")
        stack.cli("pg", "stop", "watched")
        stack.cli("branch", "delete", "main/watched", "--discard-writes")
        events.wait_for('"branch_deleted"')
        told = [json.loads(line) for line in events.lines]
    name = f"{stack.name}_pg_watched"
    kinds = [one["kind"] for one in told if one["name"] in ("watched", "main/watched", name)]
    assert kinds.count("container_created") == kinds.count("container_started") == 2
    assert [kind for kind in kinds if not kind.startswith("container_")] == [
        "pg_created",
        "branch_created",
        "pg_started",
        "pg_started",
        "pg_stopping",
        "pg_destroyed",
        "branch_deleted",
    ]
    ended = [one["exit_code"] for one in told if one["kind"] == "container_ended" and one["name"] == name]
    assert ended == [137, 0]
    assert [one["id"] for one in told] == sorted({one["id"] for one in told})
    again = stack.cli("events", "--since", "1h", "-o", "json")
    assert {json.loads(line)["id"] for line in again.splitlines()} >= {one["id"] for one in told}


def test_figures_are_those_of_the_stack(stack: Stack) -> None:
    with stack.http() as http:
        before = figures(http)
    stack.cli("branch", "create", "counted", "--from", "main@init")
    stack.sql("counted", "create table t as select generate_series(1, 10000) n")
    with stack.http() as http:
        after = figures(http)
    assert after[key("pgs", state="running")] == before[key("pgs", state="running")] + 1
    assert (
        after[key("storage_branches", storage="main")] == before[key("storage_branches", storage="main")] + 1
    )
    own = after[key("branch_own_bytes", pg="counted", storage="main", branch="counted")]
    assert 0 < own <= stack.json("pg", "show", "counted")["own_bytes"]  # it may have grown meanwhile
    assert after[key("storage_size_bytes", storage="main")] > 1 << 20
    put = key("http_requests_total", method="PUT", route="/pgs", status="201")
    assert after[put] == before.get(put, 0) + 1
    for call in ("create", "start"):
        done = key("engine_calls_total", call=call, outcome="ok")
        assert after[done] > before[done]
        assert after[key("engine_call_duration_seconds_count", call=call)] >= after[done]
    stack.cli("pg", "stop", "counted")
    stack.cli("branch", "delete", "main/counted", "--discard-writes")


def test_logs_are_followed_through_kills_restarts_and_new_pgs_until_ctrl_c(stack: Stack) -> None:
    stack.cli("branch", "create", "talks", "--from", "main@init")
    with (
        running(stack, "logs", "-f", "--tail", "1", "pg_talks") as one,
        running(stack, "logs", "-f") as every,
    ):
        for life in range(2):
            stack.sql("talks", f"do $$ begin raise log 'life {life}'; end $$")
            one.wait_for(f"life {life}")
            stack.container("pg_talks").kill("SIGKILL")
            stack.cli("pg", "start", "talks")
        stack.sql("talks", "do $$ begin raise log 'last life'; end $$")
        one.wait_for("life 0", "life 1", "database system is ready", "last life")
        stack.cli("branch", "create", "later", "--from", "main@init")
        stack.sql("later", "do $$ begin raise log 'from a new one'; end $$")
        every.wait_for("pg_later | ", "from a new one")
        one.process.send_signal(signal.SIGINT)
        assert one.ends() == 130
        assert all(line.startswith("pg_talks | ") for line in one.lines)
        assert not [line for line in one.lines if "Traceback" in line]
        for name in ("talks", "later"):
            stack.cli("pg", "stop", name)
            stack.cli("branch", "delete", f"main/{name}", "--discard-writes")
        assert every.process.poll() is None


def test_no_secret_is_in_any_log_event_or_figure(stack: Stack) -> None:
    known = stack.client_file
    password = stack.url("main").split(":")[2].split("@")[0]
    with stack.http() as http:
        told = http.get("/events").text + http.get("/metrics").text + http.get("/findings").text
    said = stack.cli("logs", "--tail", "100000") + stack.cli("events") + told
    assert "pg_main | " in said
    for secret in (known["token"], password):
        assert len(secret) > 8
        assert secret not in said


def test_doctor_says_of_a_paused_pg_that_it_is_and_what_to_do(stack: Stack) -> None:
    container = stack.container("pg_main")
    container.pause()
    try:
        found = {one["kind"]: one for one in json.loads(stack.run("doctor", "-o", "json").out)}
        assert found["container_paused"]["what"] == container.name
        assert f"docker unpause {container.name}" in found["container_paused"]["hint"]
    finally:
        container.unpause()
    kinds = {one["kind"] for one in json.loads(stack.run("doctor", "-o", "json").out)}
    assert "container_paused" not in kinds


def test_a_follower_ends_when_the_controller_does_and_its_stop_does_not_wait(stack: Stack) -> None:
    with running(stack, "events", "-f", "--since", "1h") as events:
        events.wait_for("pg_started")
        stack.cli("down")
        assert events.ends() == 0
        assert "the controller ends" in events.lines[-1]
