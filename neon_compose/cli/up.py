"""`neon-compose up`: from a bare machine to a URL, each step with its time.

engine -> images -> controller -> PUT /stack -> the URL on stdout -> MinIO's image -> PUT /stack again.
Every step is skipped when it is done already, so `up` is also how a changed stack file is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from neon_compose import wait
from neon_compose.cli import access, controller_container, removal, render
from neon_compose.cli.access import Access
from neon_compose.cli.args import Output
from neon_compose.cli.client import Client, NoAnswer
from neon_compose.cli.config_file import load
from neon_compose.cli.plan import changed
from neon_compose.cli.progress import Reporter, reporter, result_of, step
from neon_compose.cli.server import with_servers
from neon_compose.cli.session import Session, give, say
from neon_compose.engine import progress as core
from neon_compose.errors import NeonError, Unavailable, from_problem
from neon_compose.model.names import Name
from neon_compose.model.stackfile import StackFile
from neon_compose.wait import Deadline, until
from neon_compose.wire.ndjson import Step

FIRST_IMAGES = ("base", "controller", "pageserver", "safekeeper", "compute")
LATER_IMAGE = "minio"
_HEALTHY_S = 60.0


class Images(Protocol):
    """What `up` needs of `engine.bootstrap` and `engine.images`; `OurImages` is the real one."""

    def version(self) -> str | None:
        """The engine's, or None when none answers."""

    def engine(self, progress: core.Progress) -> None:
        """See to it that an engine answers."""

    def ensure(self, names: tuple[str, ...], progress: core.Progress) -> dict[str, str]:
        """Build what is missing; the tags."""

    def there(self, name: str) -> str | None:
        """The tag of an image that exists already."""


class OurImages:
    """Built here, from what the wheel carries."""

    def version(self) -> str | None:
        from neon_compose.engine.docker_builder import DockerBuilder

        with suppress(Unavailable):
            return DockerBuilder().ping()
        return None

    def engine(self, progress: core.Progress) -> None:
        from neon_compose.engine import bootstrap

        bootstrap.install_engine(progress)

    def ensure(self, names: tuple[str, ...], progress: core.Progress) -> dict[str, str]:
        from neon_compose.engine import images

        return images.ensure(names, progress)

    def there(self, name: str) -> str | None:
        from neon_compose.engine import images
        from neon_compose.engine.docker_builder import DockerBuilder

        tag = images.tags((name,))[name]
        return tag if tag in DockerBuilder().tags() else None


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    file: Path | None = None
    prune: bool = False
    detach: bool = False
    dry_run: bool = False


def up(session: Session, request: Request, images: Images) -> None:
    """Bring the stack up; on return (or while attached) its URL has been printed."""
    began_s = wait.monotonic_s()
    choice = session.choice(request.file)
    stack = load(choice)
    if request.dry_run:
        _plan(session, choice.stack, stack, request.prune)
        return
    with reporter() as show:
        url, later = _bring_up(session, choice.stack, stack, request, images, show)
    if url is not None:
        give(url)
    _say_done(began_s, later)
    if later:
        with reporter() as show:
            _add_minio(session, choice.stack, stack, request, images, show)
    if not request.detach:
        from neon_compose.cli.attached import attach

        attach(session, choice.stack)


def _bring_up(
    session: Session, name: Name, stack: StackFile, request: Request, images: Images, show: Reporter
) -> tuple[str | None, bool]:
    """Everything up to the URL, which is given back, and whether MinIO's image is still to be built."""
    images.engine(_told_to(show))
    tags = images.ensure(FIRST_IMAGES, _told_to(show))
    minio = images.there(LATER_IMAGE) if stack.minio else None
    if minio is not None:
        tags[LATER_IMAGE] = minio
    removal.finish(session.engine, name, show)
    with step(show, "controller"):
        _start_controller(session, name, stack, tags)
    later = stack.minio and minio is None
    client = session.client_of(name)
    _put_stack(client, stack, tags, request.prune, show, with_minio=not later)
    return first_url(client, stack), later


def _start_controller(session: Session, name: Name, stack: StackFile, tags: Mapping[str, str]) -> None:
    first = {image: tag for image, tag in tags.items() if image != LATER_IMAGE}
    want = controller_container.wanted(name, stack, first)
    with access.one_at_a_time(name):
        found = controller_container.ensure(session.engine, want, session.outside.is_free)
        access.write(name, found)
    wait_healthy(session, name, found)


def wait_healthy(session: Session, name: Name, found: Access) -> None:
    """Wait until the controller answers on its published port."""
    client = Client(lambda _fresh: found, session.outside.transport)

    def healthy() -> bool:
        with suppress(Unavailable):
            client.get("/healthz")
            return True
        return False

    def last_words() -> str:
        return "\n".join(session.engine.logs(f"{name}_controller", 15))

    try:
        until("the controller", healthy, Deadline.after(_HEALTHY_S), last_words=last_words)
    finally:
        client.close()


def _put_stack(
    client: Client,
    stack: StackFile,
    tags: Mapping[str, str],
    prune: bool,
    show: Reporter,
    *,
    with_minio: bool,
) -> None:
    """Ask for the whole stack; raises what keeps it from coming up."""
    config = stack if with_minio else stack.model_copy(update={"minio": False})
    config, passwords = with_servers(config)
    body = {"config": config.as_document(), "images": dict(tags), "prune": prune, "passwords": passwords}
    result = result_of(client.stream("PUT", "/stack", body), show)
    for note in result.get("notes", []):
        say(f"note: {note}")
    if problems := result.get("problems"):
        raise _first_of([from_problem(problem) for problem in problems])
    for pg in result.get("pgs", []):
        if pg.get("restart_needed"):
            say(f"note: neon-compose pg restart {pg['name']} applies its changed settings, or a newer image")


def _first_of(errors: list[NeonError]) -> NeonError:
    """The first error; all others are said before it."""
    for other in errors[1:]:
        say(f"problem: {other.message}. {other.hint}".rstrip())
    return errors[0]


def first_url(client: Client, stack: StackFile) -> str | None:
    """The URL of pg `main`, else of the first pg of the file that `up` starts."""
    started = [name for name, pg in stack.pgs.items() if pg.start]
    if not started:
        return None
    pg = "main" if "main" in started else started[0]
    return str(client.get(f"/pgs/{pg}/url")["url"])


def _add_minio(
    session: Session, name: Name, stack: StackFile, request: Request, images: Images, show: Reporter
) -> None:
    tags = images.ensure((*FIRST_IMAGES, LATER_IMAGE), _only(LATER_IMAGE, _told_to(show)))
    _put_stack(session.client_of(name), stack, tags, request.prune, show, with_minio=True)


def _say_done(began_s: float, later: bool) -> None:
    say(f"up in {render.seconds(wait.monotonic_s() - began_s)}")
    if later:
        say("building MinIO now, which may take some minutes; the stack can be used meanwhile")


def _plan(session: Session, name: Name, stack: StackFile, prune: bool) -> None:
    """What `up` would do, as far as it can be known: all of it once a controller runs."""
    body: dict[str, Any] = {"config": with_servers(stack)[0].as_document(), "images": {}, "prune": prune}
    try:
        answer = session.client_of(name).call("PUT", "/stack", body, dry_run=True)
    except (NoAnswer, Unavailable) as error:
        if error.code not in ("not_up", "controller_down"):
            raise
        answer = {"plan": _plan_from_nothing(name, stack)}
    changed(answer, Output.TABLE)


def _plan_from_nothing(name: Name, stack: StackFile) -> list[dict[str, str]]:
    parts = [("start", f"{name}_controller")]
    parts += [("start", f"{name}_safekeeper_{number}") for number in range(1, stack.safekeepers + 1)]
    parts += [("start", f"{name}_minio")] if stack.minio else []
    parts += [("attach", f"storage {storage}") for storage in stack.storages]
    parts += [("start" if pg.start else "create", f"pg {pg_name}") for pg_name, pg in stack.pgs.items()]
    return [{"action": action, "target": target, "why": "the stack is not up"} for action, target in parts]


def _told_to(show: Reporter) -> core.Progress:
    """Steps of bootstrap and image builds, as steps of a stream."""
    return lambda one: show.emit(Step(name=one.name, state=one.state.value, ms=one.ms, note=one.note or None))


def _only(image: str, progress: core.Progress) -> core.Progress:
    """Leave out the images that were told of before."""
    return lambda one: (
        None if one.name.startswith("image ") and one.name != f"image {image}" else progress(one)
    )
