"""What the typed clients of internal components share: one HTTP client, the token, errors for problems.

Nothing answering is `Unavailable`, no answer in time `TimedOut`, a problem document the error it describes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from neon_compose.wire.replies import raise_problem, unreachable

_HEALTH_S = 2.0


class ComponentClient:
    """Calls to one component; thread-safe, keeps its connections open. `transport` is the test seam."""

    component: ClassVar[str]  # as errors name it
    call_s: ClassVar[float]
    connect_s: ClassVar[float]

    def __init__(self, base_url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=self._timeout(self.call_s),
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether it answers; needs no token."""
        try:
            return self._http.get("/healthz", timeout=_HEALTH_S).is_success
        except httpx.HTTPError:
            return False

    def _request(self, method: str, path: str, timeout_s: float, **sent: Any) -> httpx.Response:
        """The answer, read whole; `sent` as httpx takes it."""
        try:
            response = self._http.request(method, path, timeout=self._timeout(timeout_s), **sent)
        except httpx.HTTPError as error:
            raise unreachable(self.component, self._http.base_url, error) from error
        raise_problem(response)
        return response

    @contextmanager
    def _streaming(
        self, method: str, path: str, timeout_s: float | None, **sent: Any
    ) -> Iterator[httpx.Response]:
        """An answer to be read piece by piece, in the body."""
        try:
            with self._http.stream(method, path, timeout=self._timeout(timeout_s), **sent) as response:
                if response.is_error:
                    response.read()
                raise_problem(response)
                yield response
        except httpx.HTTPError as error:
            raise unreachable(self.component, self._http.base_url, error) from error

    def _timeout(self, timeout_s: float | None) -> httpx.Timeout:
        return httpx.Timeout(timeout_s, connect=self.connect_s)
