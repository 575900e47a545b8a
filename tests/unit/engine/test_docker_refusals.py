import pytest

from neon_compose.engine.refusals import no_answer, port_taken, refusal
from neon_compose.errors import Conflict, Invalid, NeonError, NotFound, Unavailable

ALLOCATED = (
    "driver failed programming external connectivity on endpoint x (69): "
    "Bind for 127.0.0.1:16250 failed: port is already allocated"
)
MOUNT = 'invalid mount config for type "bind"'
LISTENED = (
    "driver failed programming external connectivity on endpoint x (13): "
    "Error starting userland proxy: listen tcp4 127.0.0.1:16251: bind: address already in use"
)


@pytest.mark.parametrize(
    ("status", "said", "kind", "code"),
    [
        (404, "No such image: nope:1", NotFound, "image_missing"),
        (
            400,
            f"{MOUNT}: bind source path does not exist: /nope/x",
            NotFound,
            "path_missing",
        ),
        (400, f"{MOUNT}: stat /tmp/file/x: not a directory", NotFound, "path_missing"),
        (400, f"{MOUNT}: stat /tmp/xxx: file name too long", Invalid, "bad_path"),
        (500, ALLOCATED, Conflict, "port_taken"),
        (500, LISTENED, Conflict, "port_taken"),
        (403, "Pool overlaps with other one on this address space", Conflict, "subnet_taken"),
        (
            409,
            'Conflict. The container name "/a" is already in use by container "96". You have to…',
            Conflict,
            "exists",
        ),
        (409, "remove vol: volume is in use - [3b8]", Conflict, "in_use"),
        (403, "error while removing network: network n has active endpoints", Conflict, "in_use"),
        (404, "No such container: a", NotFound, "no_such_thing"),
        (500, "something else", Unavailable, "engine_refused"),
    ],
)
def test_what_the_engine_says_becomes_our_error(
    status: int, said: str, kind: type[NeonError], code: str
) -> None:
    error = refusal("start container", "a", status, said)
    assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize(("said", "port"), [(ALLOCATED, 16250), (LISTENED, 16251)])
def test_a_taken_port_is_named_with_its_owner_or_with_how_to_find_it(said: str, port: int) -> None:
    first = refusal("start container", "a", 500, said)
    assert port_taken(first, "other_pod_0").message == f'port {port} is taken by container "other_pod_0"'
    unknown = port_taken(first, None)
    assert unknown.message == f"port {port} is taken by another process on this machine"
    assert str(port) in unknown.hint


def test_a_forbidden_socket_has_another_hint_than_a_missing_engine() -> None:
    assert "usermod" in no_answer("PermissionError(13, 'Permission denied')").hint
    assert "systemctl" in no_answer("FileNotFoundError").hint
