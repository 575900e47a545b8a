"""The Docker engine: the only module that imports docker.

All three Protocols over the SDK's low-level client, one HTTP call per method where the engine allows it.
Its errors are translated here, once, by `engine.refusals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import docker
import requests

from neon_compose.engine import labels as label
from neon_compose.engine.bodies import container_body, network_body
from neon_compose.engine.refusals import no_answer, port_taken, refusal
from neon_compose.engine.runtime import (
    EVERYTHING,
    Container,
    ContainerSpec,
    ContainerState,
    Endpoint,
    Kind,
    Mount,
    Network,
    NetworkSpec,
    Volume,
    VolumeSpec,
    World,
)
from neon_compose.engine.watching import Change, ContainerEvent, Line
from neon_compose.errors import Conflict, NeonError, TimedOut
from neon_compose.wait import Deadline, now_ns, until

_CALL_S = 60.0
_REMOVAL_S = 30.0
_CONNECTIONS = 64  # every `wait` holds one


def connect(base_url: str | None = None) -> DockerEngine:
    """The engine that DOCKER_HOST (or `base_url`) names. `Unavailable` if it doesn't answer."""
    with _translated("reach", "the Docker engine"):
        options = docker.utils.kwargs_from_env()
        if base_url is not None:
            options["base_url"] = base_url
        client = docker.APIClient(version="auto", timeout=_CALL_S, max_pool_size=_CONNECTIONS, **options)
    return DockerEngine(client)


class DockerEngine:
    """`Runtime`, `Reader` and `Watcher` over one client; thread-safe."""

    def __init__(self, client: Any) -> None:
        self._client = client

    # ---- Runtime

    def observe(self, stack: str | None, kinds: tuple[Kind, ...] = EVERYTHING) -> World:
        filters = {"label": f"{label.STACK}={stack}"} if stack is not None else None
        client = self._client
        with _translated("look at", "the engine"):
            containers = client.containers(all=True, filters=filters) if Kind.CONTAINER in kinds else []
            networks = client.networks(filters=filters) if Kind.NETWORK in kinds else []
            volumes = client.volumes(filters=filters)["Volumes"] if Kind.VOLUME in kinds else []
        return World(
            tuple(_container(one) for one in containers),
            tuple(_network(one) for one in networks),
            tuple(_volume(one) for one in volumes or ()),
        )

    def ensure_volume(self, spec: VolumeSpec) -> Volume:
        with _translated("make volume", spec.name):
            return _volume(self._client.create_volume(spec.name, labels=dict(spec.labels)))

    def ensure_network(self, spec: NetworkSpec) -> Network:
        with _translated("make network", spec.name):
            found = self._network(spec.name)
            if found is None:
                url = self._client._url("/networks/create")
                self._client._result(self._client._post_json(url, data=network_body(spec)), True)
                found = self._client.inspect_network(spec.name)
            joined = {one["Name"] for one in (found.get("Containers") or {}).values()}
            for name, aliases in spec.members.items():
                if name not in joined:
                    self._client.connect_container_to_network(name, spec.name, aliases=list(aliases))
        return _network(found)

    def create(self, spec: ContainerSpec) -> None:
        with _translated("create container", spec.name):
            self._client.create_container_from_config(container_body(spec), spec.name)

    def start(self, name: str) -> None:
        try:
            with _translated("start container", name):
                self._start_or_unpause(name)
        except Conflict as error:
            if error.code != "port_taken":
                raise
            raise port_taken(error, self._port_owner(error, name)) from error

    def stop(self, name: str, timeout_s: float) -> None:
        with _translated("stop container", name), _absent_is_fine():
            self._client.stop(name, timeout=int(timeout_s))

    def remove(self, kind: Kind, name: str) -> None:
        with _translated(f"remove {kind}", name), _absent_is_fine():
            match kind:
                case Kind.CONTAINER:
                    self._remove_container(name)
                case Kind.NETWORK:
                    self._client.remove_network(name)
                case Kind.VOLUME:
                    self._client.remove_volume(name)

    def wait(self, name: str, timeout_s: float) -> int:
        try:
            with _translated("wait for container", name):
                return int(self._client.wait(name, timeout=timeout_s)["StatusCode"])
        except TimedOut as error:
            raise TimedOut(
                f'container "{name}" did not end in {timeout_s:.0f} s', code="still_running"
            ) from error

    # ---- Reader

    def logs(self, name: str, tail: int = 20) -> list[str]:
        with _translated("read the log of container", name):
            raw: bytes = self._client.logs(name, tail=tail)
        return raw.decode(errors="replace").splitlines()

    def follow(self, name: str, tail: int = 20) -> Iterator[str]:
        with _translated("read the log of container", name):
            rest = b""
            for chunk in self._client.logs(name, stream=True, follow=True, tail=tail):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")

    def read_archive(self, name: str, path: str) -> Iterator[bytes]:
        with _translated("read from container", name):
            chunks, _ = self._client.get_archive(name, path)
            yield from chunks

    # ---- Watcher

    def watch(self, stack: str, since_ns: int | None = None) -> DockerWatching:
        filters = {
            "type": ["container"],
            "event": [change.value for change in Change],
            "label": [f"{label.STACK}={stack}"],
        }
        # Never without a moment: the engine answers before it listens, and tells of what comes between
        # only to those who ask for something older.
        since_ns = now_ns() if since_ns is None else since_ns
        seconds, rest_ns = divmod(since_ns, 1_000_000_000)
        with _translated("watch", "the engine"):
            return DockerWatching(
                self._client.events(decode=True, filters=filters, since=f"{seconds}.{rest_ns:09d}")
            )

    def lines(
        self, name: str, tail: int | None = None, since: str = "", *, follow: bool = False
    ) -> Iterator[Line]:
        seconds = int(datetime.fromisoformat(since).timestamp()) if since else None  # it takes whole ones
        with _translated("read the log of container", name):
            frames = self._client.logs(
                name,
                stream=True,
                follow=follow,
                timestamps=True,
                tail="all" if tail is None else tail,
                since=max(seconds, 1) if seconds is not None else None,
            )
            for line in _lines(frames):
                if line.stamp >= since:
                    yield line

    # ---- inside

    def _network(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.inspect_network(name)
            return found
        except docker.errors.NotFound:
            return None

    def _start_or_unpause(self, name: str) -> None:
        """The engine refuses to start a paused container: somebody's `docker pause` is to be taken back."""
        try:
            self._client.start(name)
        except docker.errors.APIError as error:
            if "paused container" not in str(error.explanation):
                raise
            self._client.unpause(name)

    def _remove_container(self, name: str) -> None:
        """Force-remove; when a removal is already under way, wait for its end."""
        try:
            self._client.remove_container(name, force=True, v=True)
        except docker.errors.APIError as error:
            if "already in progress" not in str(error.explanation):
                raise
            until(
                f'the removal of container "{name}"', lambda: self._absent(name), Deadline.after(_REMOVAL_S)
            )

    def _absent(self, name: str) -> bool:
        try:
            self._client.inspect_container(name)
        except docker.errors.NotFound:
            return True
        return False

    def _port_owner(self, error: NeonError, starting: str) -> str | None:
        """The container that has the port `error` is about, if it is a container."""
        everything = self.observe(None, (Kind.CONTAINER,)).containers
        port = int(error.detail or 0)
        return next((one.name for one in everything if port in one.published and one.name != starting), None)


class DockerWatching:
    """`Watching` over the SDK's stream, whose socket `close` shuts under the reading thread."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[ContainerEvent]:
        try:
            for seen in self._stream:
                yield _event(seen)
        except docker.errors.StreamParseError:  # cut off within an event
            return
        finally:
            self._stream._response.close()

    def close(self) -> None:
        with suppress(AttributeError, OSError):  # it has ended already
            self._stream.close()


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound:
        return


@contextmanager
def _translated(verb: str, subject: str) -> Iterator[None]:
    """Turn what the SDK raises while we `verb` the `subject` into our errors."""
    try:
        yield
    except docker.errors.APIError as error:
        status = error.status_code or 0
        raise refusal(verb, subject, status, str(error.explanation or error)) from error
    except requests.exceptions.Timeout as error:
        raise TimedOut(f"the Docker engine did not {verb} {subject} in time", code="engine_slow") from error
    except requests.exceptions.ConnectionError as error:
        if "Read timed out" in str(error):
            raise TimedOut(
                f"the Docker engine did not {verb} {subject} in time", code="engine_slow"
            ) from error
        raise no_answer(str(error)) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise no_answer(str(error)) from error


# ---- what the engine says, in our words


def _container(seen: Mapping[str, Any]) -> Container:
    networks = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    return Container(
        name=_own_name(seen["Names"]),
        id=seen["Id"],
        image=seen["Image"],
        state=ContainerState(seen["State"]),
        labels=seen.get("Labels") or {},
        mounts=tuple(_mount(one) for one in seen.get("Mounts") or ()),
        endpoints=tuple(
            Endpoint(name, end.get("IPAddress") or "", end.get("EndpointID") or "")
            for name, end in networks.items()
        ),
        published=tuple(sorted({p["PublicPort"] for p in seen.get("Ports") or () if p.get("PublicPort")})),
        created_at=datetime.fromtimestamp(seen["Created"], UTC),
    )


def _own_name(names: list[str] | None) -> str:
    """A container's name, not the `/other/alias` ones of legacy links; "" while it is being removed."""
    return next((name[1:] for name in names or () if "/" not in name[1:]), "")


def _mount(seen: Mapping[str, Any]) -> Mount:
    return Mount(seen.get("Source") or seen.get("Name") or "", seen["Destination"], not seen.get("RW", True))


def _lines(frames: Iterator[bytes]) -> Iterator[Line]:
    """A frame is a stamp, a space and text: a whole line, or 16 KiB of a longer one."""
    stamp, text = b"", b""
    for frame in frames:
        at, _, part = frame.partition(b" ")
        stamp, text = stamp or at, text + part
        if text.endswith(b"\n"):
            yield Line(stamp.decode(), text[:-1].decode(errors="replace"))
            stamp, text = b"", b""
    if text:
        yield Line(stamp.decode(), text.decode(errors="replace"))


def _event(seen: Mapping[str, Any]) -> ContainerEvent:
    told = seen["Actor"].get("Attributes") or {}
    return ContainerEvent(
        at_ns=int(seen["timeNano"]),
        change=Change(seen["Action"]),
        name=told.get("name", ""),
        id=seen["Actor"]["ID"],
        labels={key: value for key, value in told.items() if key.startswith(label.PREFIX)},
        exit_code=int(told["exitCode"]) if told.get("exitCode") else None,
    )


def _network(seen: Mapping[str, Any]) -> Network:
    configs = (seen.get("IPAM") or {}).get("Config") or ()
    subnets = tuple(config["Subnet"] for config in configs if config.get("Subnet"))
    return Network(seen["Name"], seen["Id"], seen.get("Labels") or {}, subnets)


def _volume(seen: Mapping[str, Any]) -> Volume:
    return Volume(seen["Name"], seen.get("Mountpoint") or "", seen.get("Labels") or {})
