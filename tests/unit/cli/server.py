"""A controller at the HTTP seam: enough state to see what the command line asked for.

`calls` are (method, path, query, body) in order. Answers come from `storages`, `pgs` and `branches`;
`refuse` maps (method, path) to an error, once each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from neon_compose.errors import NeonError, NotFound, Unauthorised, as_problem

TOKEN = "t0ken"
URL = "http://127.0.0.1:3000"

Call = tuple[str, str, dict[str, str], Any]


@dataclass
class FakeServer:
    storages: dict[str, dict[str, Any]] = field(default_factory=dict)
    pgs: dict[str, dict[str, Any]] = field(default_factory=dict)
    branches: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[tuple[str, str], NeonError] = field(default_factory=dict)
    stream: list[dict[str, Any]] = field(default_factory=list)
    leftovers: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    log: dict[str, Any] = field(
        default_factory=lambda: {"start_lsn": "0/1", "end_lsn": "0/1", "minutes": [], "more": False}
    )
    now: datetime | None = None  # its clock
    token: str = TOKEN
    calls: list[Call] = field(default_factory=list)
    received: bytes = b""

    def storage(self, name: str) -> None:
        self.storages[name] = {"name": name, "type": "native", "state": "running", "size_bytes": 2048}

    def pg(self, name: str, storage: str = "main", branch: str = "main", **more: Any) -> None:
        self.pgs[name] = {"name": name, "storage_name": storage, "branch": branch, "port": 15432} | more

    def branch(self, storage: str, name: str) -> None:
        self.branches.append({"storage_name": storage, "name": name})

    def snapshot(self, storage: str, name: str) -> None:
        self.snapshots.append({"storage_name": storage, "name": name, "branch": "main", "lsn": "0/1"})

    def changes(self) -> list[Call]:
        return [call for call in self.calls if call[0] != "GET"]

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._respond(request)
        except NeonError as error:
            return httpx.Response(error.status, json=as_problem(error))

    def _respond(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        query = dict(request.url.params)
        content = request.read()
        if request.headers.get("content-type") == "application/json":
            body = json.loads(content)
        else:
            body, self.received = None, content
        if path == "/healthz":
            return httpx.Response(200, json={"ok": True})
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise Unauthorised("wrong token")
        self.calls.append((request.method, path, query, body))
        refusal = self.refuse.pop((request.method, path), None)
        if refusal is not None:
            raise refusal
        if query.get("dry_run"):
            return httpx.Response(200, json={"plan": [{"action": "do", "target": path, "why": ""}]})
        if self.stream and path.endswith(("/import", "/stack", "/stack/stop", "/events", "/actions")):
            return httpx.Response(
                200, content=self._lines(), headers={"content-type": "application/x-ndjson; charset=utf-8"}
            )
        return httpx.Response(200, json=self._value(request.method, path.strip("/").split("/"), body))

    def _lines(self) -> Iterator[bytes]:
        for event in self.stream:
            yield json.dumps(event).encode() + b"\n" if event else b"\n"

    def _value(self, method: str, parts: list[str], body: Any) -> Any:
        match method, parts:
            case "GET", ["components"]:
                return []
            case "GET", ["leftovers"]:
                return self.leftovers
            case "GET", ["status"]:
                return {
                    "stack": "neon", "version": "0", "components": [], "problems": self.problems,
                    "storages": list(self.storages.values()), "pgs": list(self.pgs.values()),
                }  # fmt: skip
            case "GET", ["findings"]:
                return {"now": (self.now or datetime.now(UTC)).isoformat(), "findings": self.findings}
            case "GET", ["storages"]:
                return list(self.storages.values())
            case "GET", ["pgs"]:
                return list(self.pgs.values())
            case "GET", ["storages", name]:
                return self._one(self.storages, name)
            case "GET", ["pgs", name]:
                return self._one(self.pgs, name)
            case "GET", ["pgs", name, "url"]:
                self._one(self.pgs, name)
                return {"url": f"postgres://neon_admin:p%40ss@127.0.0.1:15432/{name}", "direct": None}
            case "GET", ["storages", name, "branches"]:
                return [branch for branch in self.branches if branch["storage_name"] == name]
            case "GET", ["storages", name, "deleted-branches"]:
                return [one for one in self.deleted if one["storage_name"] == name]
            case "GET", ["storages", _, "branches", _, "log"]:
                return self.log
            case "GET", ["storages", storage, "branches", name]:
                found = [one for one in self.branches if one["storage_name"] == storage]
                return self._one({one["name"]: one for one in found}, name)
            case "GET", ["snapshots"]:
                return self.snapshots
            case "GET" | "PUT", ["snapshots", storage, name]:
                if method == "PUT" and not self._snapshots(storage, name):
                    self.snapshot(storage, name)
                return self._one({one["name"]: one for one in self._snapshots(storage, name)}, name)
            case "DELETE", ["snapshots", storage, name]:
                self._one({one["name"]: one for one in self._snapshots(storage, name)}, name)
                self.snapshots = [one for one in self.snapshots if one not in self._snapshots(storage, name)]
            case "PUT", ["pgs"]:
                self.pg(body["name"], body["storage_name"])
                return self.pgs[body["name"]]
            case "PUT", ["storages"]:
                self.storage(body["name"])
                return self.storages[body["name"]]
            case "POST", ["pgs", name, "actions"]:
                return self._one(self.pgs, name)
            case "DELETE", ["pgs", name]:
                self._one(self.pgs, name)
                del self.pgs[name]
            case "POST", ["storages", storage, "branches", name, "actions"]:
                found = {"storage_name": storage, "name": name, "start_lsn": "0/1000"}
                if body["action"] == "undelete":
                    return found | {"name": body.get("as", name)}
                return {"branch": found, "kept": f"{name}-before-20260101-000000"}
            case "DELETE", ["storages", _, "branches", name]:
                self.branches = [branch for branch in self.branches if branch["name"] != name]
            case _:
                pass
        return {}

    def _snapshots(self, storage: str, name: str) -> list[dict[str, Any]]:
        return [one for one in self.snapshots if (one["storage_name"], one["name"]) == (storage, name)]

    @staticmethod
    def _one(found: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
        if name not in found:
            raise NotFound(f'no "{name}"')
        return found[name]
