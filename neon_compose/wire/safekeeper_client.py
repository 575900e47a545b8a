"""The typed client of a safekeeper: one method per call, problems become errors.

Nothing answering is `Unavailable`, no answer in time `TimedOut`. Every call may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import httpx
from pydantic import BaseModel

from neon_compose.errors import Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer
from neon_compose.wire.component_client import ComponentClient
from neon_compose.wire.safekeeper import (
    PORT,
    AdoptRequest,
    AnswerOut,
    BranchStatus,
    CommitRequest,
    EnrolQuery,
    Peer,
    PromiseRequest,
    ReceiverRequest,
    SafekeeperStatus,
    TrimRequest,
    starts_of,
)

_CALL_S = 60.0  # a promise kills a receiver, settles its segment and walks it
_LOOK_S = 10.0  # for what only reads
_COPY_S = 600.0  # adopting copies what is missing from peers
_CONNECT_S = 2.0  # one that is down must not hold up a majority of others


def address(host: str) -> str:
    """The base URL of the safekeeper that has this name or address in the stack's network."""
    return f"http://{host}:{PORT}"


class SafekeeperClient(ComponentClient):
    """Calls to one safekeeper."""

    component = "safekeeper"
    call_s = _CALL_S
    connect_s = _CONNECT_S

    # ---- looking

    def status(self) -> SafekeeperStatus:
        return SafekeeperStatus.model_validate(self._send("GET", "/status", timeout_s=_LOOK_S).json())

    def branch(self, branch: UUID) -> BranchStatus:
        """Raises `NotFound` code "no_branch"."""
        return self._status("GET", _path(branch), timeout_s=_LOOK_S)

    def wal(self, branch: UUID, start: Lsn, end: Lsn) -> Iterator[bytes]:
        """The bytes [start, end), in pieces; raises `Unavailable` if they end early. Nothing is asked before
        the first piece is."""
        params = {"start": str(start), "end": str(end)}
        left = end.value - start.value
        with self._streaming("GET", f"/v1{_path(branch)}/wal", _CALL_S, params=params) as response:
            for piece in response.iter_raw():
                left -= len(piece)
                yield piece
        if left:
            raise Unavailable(f"the safekeeper at {self._http.base_url} gave {left} bytes of WAL too few")

    # ---- the term protocol (neon_compose.terms says what each means)

    def enrol(self, branch: UUID, query: EnrolQuery, before: bytes) -> BranchStatus:
        """`before` is the WAL of the segment of `query.oldest` up to there."""
        return self._status("PUT", _path(branch), before, params=query.model_dump(), timeout_s=_CALL_S)

    def promise(self, branch: UUID, term: int) -> Answer:
        response = self._send("POST", f"{_path(branch)}/promise", PromiseRequest(term=term))
        return AnswerOut.model_validate(response.json()).answer()

    def adopt(self, branch: UUID, history: History, peers: Sequence[Peer]) -> BranchStatus:
        body = AdoptRequest(history=starts_of(history), peers=list(peers))
        return self._status("POST", f"{_path(branch)}/adopt", body, timeout_s=_COPY_S)

    def expect(self, branch: UUID, request: ReceiverRequest) -> None:
        """Make ready for `receive` with the same; it needn't have come before."""
        self._send("POST", f"{_path(branch)}/expect", _told(request))

    def receive(self, branch: UUID, request: ReceiverRequest) -> BranchStatus:
        """Repeated, it has the receiver try again at once."""
        return self._status("PUT", f"{_path(branch)}/receiver", _told(request))

    def stop_receiving(self, branch: UUID) -> None:
        self._send("DELETE", f"{_path(branch)}/receiver")

    def commit(self, branch: UUID, term: int, lsn: Lsn) -> None:
        self._send("POST", f"{_path(branch)}/commit", CommitRequest(term=term, lsn=str(lsn)))

    def trim(self, branch: UUID, needed: Lsn) -> BranchStatus:
        return self._status("POST", f"{_path(branch)}/trim", TrimRequest(needed=str(needed)))

    def delete(self, branch: UUID) -> None:
        self._send("DELETE", _path(branch))

    # ---- transport

    def _status(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | bytes | None = None,
        params: dict[str, Any] | None = None,
        timeout_s: float = _CALL_S,
    ) -> BranchStatus:
        return BranchStatus.model_validate(self._send(method, path, body, params, timeout_s).json())

    def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | bytes | None = None,
        params: dict[str, Any] | None = None,
        timeout_s: float = _CALL_S,
    ) -> httpx.Response:
        if isinstance(body, BaseModel):
            body = body.model_dump(mode="json")
        content = body if isinstance(body, bytes) else None
        plain = body if isinstance(body, dict) else None
        return self._request(method, f"/v1{path}", timeout_s, content=content, json=plain, params=params)


def _told(request: ReceiverRequest) -> dict[str, Any]:
    return request.model_dump(mode="json") | {"password": request.password.get_secret_value()}


def _path(branch: UUID) -> str:
    return f"/branches/{branch}"
