"""What a component's answer, or none, means: problems become errors."""

from __future__ import annotations

import httpx

from neon_compose.errors import NeonError, TimedOut, Unavailable, from_problem, sentence


def unreachable(component: str, url: httpx.URL, error: httpx.HTTPError) -> NeonError:
    """Nothing answering is `Unavailable`, no answer in time `TimedOut`."""
    if isinstance(error, httpx.ReadTimeout):
        return TimedOut(f"the {component} at {url} gave no answer in time", code=f"{component}_slow")
    sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
    return Unavailable(
        f"the {component} at {url} does not answer",
        detail=f"{type(error).__name__}: {sentence(error)}",
        code=f"{component}_cut_off" if sent else f"{component}_down",
    )


def raise_problem(response: httpx.Response) -> None:
    """Raise the error that an answer describes; its body must be read."""
    if not response.is_error:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {"title": f"HTTP status {response.status_code}", "detail": response.text[:500]}
    raise from_problem(problem if isinstance(problem, dict) else {})
