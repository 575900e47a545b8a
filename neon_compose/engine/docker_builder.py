"""Images through the Docker SDK: the classic builder of any engine from 20.10 on.

Owns the translation of the SDK's errors for builds; `docker.py` does the same for containers.
"""

from __future__ import annotations

import io
import re
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.utils import kwargs_from_env

from neon_compose.engine.builder import OURS, Build
from neon_compose.engine.progress import Say
from neon_compose.errors import Unavailable

ANSWER_S = 5.0  # an engine, or a registry asked through it, that is there answers well within
WORK_S = 1800.0  # between two lines of a build: `go install` says nothing while it compiles
DETAIL_LINES = 20
NOISE = ("--->", "Removing intermediate container")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class DockerBuilder:
    """See `ImageBuilder`."""

    def ping(self) -> str:
        with _translated("the Docker engine does not answer"), _client(ANSWER_S) as client:
            return str(client.version(api_version=False)["Version"])

    def tags(self) -> frozenset[str]:
        with _translated("could not list images"), _client(ANSWER_S * 6) as client:
            images = client.images(filters={"reference": OURS + "*"})
        return frozenset(tag for image in images for tag in image["RepoTags"] or () if tag.startswith(OURS))

    def build(self, build: Build, say: Say) -> None:
        with _translated(f'could not build image "{build.tag}"'), _client(WORK_S) as client:
            output = client.build(
                fileobj=io.BytesIO(build.context),
                custom_context=True,
                dockerfile=build.dockerfile,
                tag=build.tag,
                buildargs=dict(build.args or {}),
                network_mode="host" if build.on_host_network else None,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=WORK_S,
            )
            _follow(output, say, f'image "{build.tag}" could not be built')

    def import_root(self, tag: str, tar: Path) -> None:
        repository, _, version = tag.partition(":")
        with _translated(f'could not import image "{tag}"'), _client(WORK_S) as client:
            client.import_image_from_file(str(tar), repository=repository, tag=version)

    def pull(self, reference: str, tag: str, say: Say) -> None:
        repository, _, version = tag.partition(":")
        subject = f'could not pull image "{reference}"'
        with _translated(subject), _client(ANSWER_S) as client:
            before = _has(client, reference)
            if not before:
                client.inspect_distribution(reference)  # asks the registry; a pull would wait for it for long
        with _translated(subject), _client(WORK_S) as client:
            if not before:
                _follow(client.pull(reference, stream=True, decode=True), say, subject)
            client.tag(reference, repository, version)
            if not before:
                client.remove_image(reference)  # the name only: or the image would outlive our tag

    def remove(self, tag: str) -> None:
        with _translated(f'could not remove image "{tag}"'), _client(WORK_S) as client:
            try:
                client.remove_image(tag)
            except docker.errors.ImageNotFound:
                pass
            except docker.errors.APIError as error:
                if error.status_code != 409:  # a container uses it: it stays
                    raise


@contextmanager
def _client(timeout_s: float) -> Iterator[Any]:
    """A client as DOCKER_HOST and friends say. One per call: builds are rare, open sockets a nuisance."""
    options = kwargs_from_env()
    _knock(options.get("base_url", DEFAULT_UNIX_SOCKET))
    client = docker.APIClient(timeout=timeout_s, **options)
    try:
        yield client
    finally:
        client.close()


def _has(client: Any, reference: str) -> bool:
    try:
        client.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def _knock(url: str) -> None:
    """Fail with the system's own word where nobody listens; the SDK would leave its socket open."""
    path = url.split("unix://", 1)[-1]
    if path != url:
        with socket.socket(socket.AF_UNIX) as knocking:
            try:
                knocking.connect("/" + path.lstrip("/"))
            except OSError as error:
                raise Unavailable(
                    "the Docker engine does not answer", detail=f"/{path.lstrip('/')}: {error.strerror}."
                ) from error


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise Unavailable(subject, detail=_sentence(error)) from error


def _sentence(error: Exception) -> str:
    text = str(getattr(error, "explanation", None) or error).strip()
    return text if text.endswith((".", ")", '"')) else text + "."


def _follow(output: Iterable[dict[str, Any]], say: Say, failure: str) -> None:
    """Pass on each line of a build or pull; raise with the last ones if it reports an error."""
    last: deque[str] = deque(maxlen=DETAIL_LINES)
    failed = False
    for event in output:  # to its end: what is left unread keeps its socket open
        text = event.get("stream") or event.get("error") or _status(event)
        for line in ANSI.sub("", text).splitlines():
            if line.strip():
                last.append(line.rstrip())
                if not line.strip().startswith(NOISE):
                    say(line.strip())
        failed = failed or "error" in event
    if failed:
        raise Unavailable(failure, detail="\n".join(last), code="build_failed")


def _status(event: dict[str, Any]) -> str:
    """A pull's line, without the many that tell each layer's bytes."""
    return "" if event.get("progressDetail") else f"{event.get('id', '')} {event.get('status', '')}".strip()
