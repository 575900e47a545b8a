"""Many clients at once: random valid requests, most of them about the same few things.

Every answer is held against the API's own document: a status it names, a problem with a code, never a
500, and in time. What clients may say of each other's work is 404 and 409; 503 and 504 would mean that
something of ours did not answer, which in a healthy stack nothing may.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

CLIENTS = 50
NAMES = [f"c{number}" for number in range(10)]
BRANCHES = [*NAMES, "b0", "b1", "b2"]
STORAGE = "main"
_HEALTHY = frozenset({200, 201, 204, 404, 409, 422})
_ANSWER_S = 120.0  # far more than anything takes: who gets none by then is stuck


@dataclass(frozen=True)
class Call:
    """A request as the document has it: `path` with its parameters still in braces."""

    method: str
    path: str
    names: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path.format(**self.names)} {self.query or ''} {self.body or ''}"


def _put_pg(rng: random.Random) -> Call:
    name = rng.choice(NAMES)
    body: dict[str, Any] = {"name": name, "storage_name": STORAGE}
    match rng.randrange(4):
        case 0:
            body["branch"] = rng.choice(BRANCHES)
        case 1:
            body |= {"branch": rng.choice(BRANCHES), "from": f"{STORAGE}@init"}
        case _:
            body["from"] = rng.choice([f"{STORAGE}@init", f"{STORAGE}/main@init", rng.choice(NAMES)])
    if rng.random() < 0.3:
        body["settings"] = {"work_mem": rng.choice(["1MB", "2MB"])}
    if rng.random() < 0.6:
        body["start"] = True
    return Call("PUT", "/pgs", body=body, query=_dry(rng))


def _act(rng: random.Random) -> Call:
    verb = rng.choice(["start", "start", "stop", "stop", "restart"])
    return Call("POST", "/pgs/{pg}/actions", {"pg": rng.choice(NAMES)}, _dry(rng), {"action": verb})


def _destroy(rng: random.Random) -> Call:
    discard = {"discard_writes": "true"} if rng.random() < 0.6 else {}
    return Call("DELETE", "/pgs/{pg}", {"pg": rng.choice(NAMES)}, discard | _dry(rng))


def _put_branch(rng: random.Random) -> Call:
    source = rng.choice([f"{STORAGE}@init", f"{STORAGE}@init", rng.choice(BRANCHES), None])
    body = {"from": source} if source else {}
    return Call(
        "PUT", "/storages/{storage}/branches/{branch}", _branch(rng, rng.choice(BRANCHES)), _dry(rng), body
    )


def _delete_branch(rng: random.Random) -> Call:
    return Call("DELETE", "/storages/{storage}/branches/{branch}", _branch(rng, rng.choice(BRANCHES)))


def _branch(_: random.Random, name: str) -> dict[str, str]:
    return {"storage": STORAGE, "branch": name}


def _dry(rng: random.Random) -> dict[str, str]:
    return {"dry_run": "true"} if rng.random() < 0.1 else {}


def _look(rng: random.Random) -> Call:
    pg, branch = {"pg": rng.choice(NAMES)}, _branch(rng, rng.choice(BRANCHES))
    return rng.choice(
        [
            Call("GET", "/pgs"),
            Call("GET", "/pgs/{pg}", pg),
            Call("GET", "/pgs/{pg}/url", pg),
            Call("GET", "/storages"),
            Call("GET", "/storages/{storage}", {"storage": STORAGE}),
            Call("GET", "/storages/{storage}/branches", {"storage": STORAGE}),
            Call("GET", "/storages/{storage}/branches/{branch}", branch),
            Call("GET", "/snapshots"),
            Call("GET", "/components"),
            Call("GET", "/status"),
        ]
    )


_KINDS: tuple[tuple[int, Callable[[random.Random], Call]], ...] = (
    (5, _look),
    (5, _put_pg),
    (4, _act),
    (4, _destroy),
    (2, _put_branch),
    (2, _delete_branch),
)


def any_call(rng: random.Random) -> Call:
    make = rng.choices([kind for _, kind in _KINDS], [weight for weight, _ in _KINDS])[0]
    return make(rng)


@dataclass
class Clients:
    """`run` them against the API at `url`; `wrong` is what no answer may be, `seen` counts the others."""

    url: str
    token: str
    seed: int
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    documented: dict[tuple[str, str], frozenset[int]] = field(default_factory=dict)

    def run(self, more: Callable[[int], bool]) -> None:
        """Each client goes on while `more(requests it has made)`; returns when the last has its answer."""
        asyncio.run(self._run(more))

    async def _run(self, more: Callable[[int], bool]) -> None:
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        async with httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=_ANSWER_S,
            limits=limits,
            trust_env=False,
            verify=False,
        ) as http:
            self.documented = _documented((await http.get("/openapi.json")).json())
            await asyncio.gather(*(self._client(http, number, more) for number in range(CLIENTS)))

    async def _client(self, http: httpx.AsyncClient, number: int, more: Callable[[int], bool]) -> None:
        rng = random.Random(f"{self.seed} {number}")
        made = 0
        while more(made) and len(self.wrong) < 10:
            call = any_call(rng)
            made += 1
            try:
                answer = await http.request(
                    call.method, call.path.format(**call.names), params=call.query, json=call.body
                )
            except httpx.HTTPError as error:
                self.wrong.append(f"{call}: no answer, {type(error).__name__} {error}")
                continue
            self._judge(call, answer)

    def _judge(self, call: Call, answer: httpx.Response) -> None:
        status = answer.status_code
        said = f"{call}: {status} {answer.text[:500]}"
        if status not in self.documented[call.method, call.path] or status not in _HEALTHY:
            self.wrong.append(said)
            return
        code = ""
        if status >= 400:
            problem = answer.json()
            code = problem["code"]
            if answer.headers["content-type"] != "application/problem+json" or problem["status"] != status:
                self.wrong.append(said)
        if status == 422:  # all requests are valid
            self.wrong.append(said)
        self.seen[f"{call.method} {call.path} {status} {code}".rstrip()] += 1

    @property
    def requests(self) -> int:
        return self.seen.total()


def _documented(document: dict[str, Any]) -> dict[tuple[str, str], frozenset[int]]:
    return {
        (method.upper(), path): frozenset(int(status) for status in operation["responses"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def problems_at_rest(http: httpx.Client, computes: dict[str, bool]) -> list[str]:
    """What does not fit together once nobody works any more; `computes` are the containers that are there,
    by pg, and whether they run."""
    pgs = {one["name"]: one for one in http.get("/pgs").json()}
    branches = {one["name"]: one for one in http.get(f"/storages/{STORAGE}/branches").json()}
    found = [f"{pg['name']} is {pg['state']}: {pg['note']}" for pg in pgs.values() if not _is_at_rest(pg)]
    for name, pg in pgs.items():
        if (pg["state"] == "running") != computes.get(name, False):
            found.append(f"{name} is {pg['state']}, of its container is said: {computes.get(name)}")
        if pg["branch"] not in branches:
            found.append(f"{name} is bound to branch {pg['branch']}, which is not there")
        elif pg["state"] == "running" and branches[pg["branch"]]["writer"] != name:
            found.append(f"{name} runs on {pg['branch']}, whose writer is {branches[pg['branch']]['writer']}")
    for name, branch in branches.items():
        writer = branch["writer"]
        if writer is not None and (writer not in pgs or pgs[writer]["branch"] != name):
            found.append(f"branch {name} has the writer {writer}: {pgs.get(writer)}")
    found += [f"the container of {name} has no pg" for name in computes.keys() - pgs.keys()]
    ports = Counter(pg["port"] for pg in pgs.values())
    found += [f"port {port} belongs to {count} pgs" for port, count in ports.items() if count > 1]
    return found


def _is_at_rest(pg: dict[str, Any]) -> bool:
    return pg["state"] in ("running", "stopped", "created")


def clear(http: httpx.Client) -> None:
    """Take everything away that the clients left, by the API."""
    for pg in http.get("/pgs").json():
        if pg["name"] in NAMES:
            _sure(http.post(f"/pgs/{pg['name']}/actions", json={"action": "stop"}))
            _sure(http.delete(f"/pgs/{pg['name']}", params={"discard_writes": "true"}))
    path = f"/storages/{STORAGE}/branches"
    while left := [one for one in http.get(path).json() if one["name"] in BRANCHES]:
        parents = {one["parent"] for one in left}
        leaves = [one["name"] for one in left if one["name"] not in parents]
        assert leaves, f"branches that stand on each other: {left}"
        for name in leaves:
            _sure(http.delete(f"{path}/{name}"))
    while kept := http.get(f"/storages/{STORAGE}/deleted-branches").json():  # one takes others along
        _sure(http.delete(f"{path}/{kept[0]['name']}", params={"now": "true"}))


def _sure(answer: httpx.Response) -> None:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
