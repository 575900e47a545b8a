"""What somebody could get at who should not: ports, token, Host, secrets, rights of containers, file modes.

What is claimed in the README's section "Security" is tested here, on a live stack with everything in it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from neon_compose.wire.pageserver import PORT as PAGESERVER_PORT
from tests.e2e.stack import Stack

STATE_SECRETS = (
    "token",
    "internal_token",
    "minio_root_user",
    "minio_root_password",
    "minio_user",
    "minio_password",
)
EVIL = ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:3000", "169.254.169.254")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with MinIO that has been used: branches, writes, a failed start, refused requests."""
    stack = Stack(f"s{os.urandom(4).hex()}", tmp_path_factory.mktemp("secure"), "minio: true\n")
    stack.up()
    stack.cli("branch", "create", "b1", "--from", "main@init")
    stack.sql("b1", "create table t as select 1 as n")
    stack.run("pg", "destroy", "b1")  # refused: it runs
    stack.run("psql", "b1", "--", "-c", "select no_such_thing")
    stack.run("--debug", "pg", "start", "nowhere")
    with stack.http() as http:
        http.put("/pgs", json={"name": "b2", "storage_name": "main", "settings": {"work_mem": "none"}})
        http.put("/pgs", content=b"{")
    yield stack
    stack.down_and_check()


def mountpoint(stack: Stack, volume: str) -> Path:
    return Path(stack.docker.volumes.get(f"{stack.name}_{volume}").attrs["Mountpoint"])


@pytest.fixture(scope="module")
def secrets(stack: Stack) -> dict[str, str]:
    """Everything secret in the stack, by name."""
    folder = mountpoint(stack, "state") / "secrets"
    found = {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert sorted(found) == sorted(STATE_SECRETS)
    found["password"] = re.search(r"neon_admin:([^@]+)@", stack.url("main")).group(1)  # type: ignore[union-attr]
    storage = json.loads((mountpoint(stack, "storage_main") / "storage.json").read_text())
    assert storage["admin_password"] == found["password"]
    assert found["token"] == stack.client_file["token"]
    assert all(len(secret) >= 20 for secret in found.values())
    assert len(set(found.values())) == len(found)
    return found


def leaked(secrets: dict[str, str], text: str) -> list[str]:
    """The names of the secrets that are in `text`."""
    return [name for name, secret in secrets.items() if secret in text]


# ---- ports


def test_everything_published_is_on_the_loopback_address(stack: Stack) -> None:
    published = [
        (one.name, binding["HostIp"], int(binding["HostPort"]))
        for one in stack.containers()
        for bindings in (one.attrs["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or ()
    ]
    assert {name for name, _, _ in published} == {f"{stack.name}_controller", f"{stack.name}_pod_0"}
    assert {address for _, address, _ in published} == {"127.0.0.1"}


def test_no_port_answers_on_another_address_of_this_machine(stack: Stack) -> None:
    networks = stack.container("controller").attrs["NetworkSettings"]["Networks"]
    gateway = networks[f"{stack.name}_net"][
        "Gateway"
    ]  # an address of the engine's machine that is not the loopback
    for url in (stack.client_file["url"], f"http://x:{stack.json('pg', 'show', 'main')['port']}"):
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((gateway, int(url.rpartition(":")[2])), 3).close()


# ---- token and Host


def test_nothing_but_health_and_documentation_answers_without_the_token(stack: Stack) -> None:
    url, token = stack.client_file["url"], stack.client_file["token"]
    with httpx.Client(base_url=url, trust_env=False) as nobody:
        document = nobody.get("/openapi.json").json()
        for path, methods in document["paths"].items():
            for method in methods:
                target = re.sub(r"\{[^}]*\}", "main", path)
                if target == "/healthz":
                    continue
                for given in (
                    {},
                    _bearer(token[:-1]),
                    _bearer(token + "0"),
                    {"Authorization": "Bearer"},
                    {"Cookie": token},
                ):
                    answer = nobody.request(method.upper(), target, headers=given)
                    assert answer.status_code == 401, (method, target, given)
                assert nobody.request(method.upper(), f"{target}?token={token}").status_code == 401
    assert stack.json("pg", "show", "main")["state"] == "running"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("host", EVIL)
def test_a_web_page_cannot_reach_the_api_by_a_name_of_its_own(stack: Stack, host: str) -> None:
    with stack.http() as http:
        for path in ("/pgs", "/healthz", "/docs", "/openapi.json"):
            answer = http.get(path, headers={"Host": host})
            assert answer.status_code == 403, path
            assert "access-control-allow-origin" not in answer.headers
        other = http.get("/pgs", headers={"Origin": f"http://{host}"})
        assert "access-control-allow-origin" not in other.headers
        asked = http.options(
            "/pgs", headers={"Origin": f"http://{host}", "Access-Control-Request-Method": "PUT"}
        )
        assert not asked.is_success


def test_a_pageserver_answers_nobody_without_its_own_token(stack: Stack, secrets: dict[str, str]) -> None:
    base = f"http://{address(stack, 'storage_main')}:{PAGESERVER_PORT}/v1"
    with httpx.Client(base_url=base, trust_env=False) as http:
        for path in ("/status", "/credentials", "/computes", "/branches"):
            for given in ({}, _bearer(secrets["token"]), _bearer("x")):
                answer = http.get(path, headers=given)
                assert answer.status_code == 401
                assert leaked(secrets, answer.text) == []
            assert http.get(path, headers=_bearer(secrets["internal_token"])).status_code == 200


def address(stack: Stack, name: str) -> str:
    (network,) = stack.container(name).attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def test_postgres_lets_nobody_in_without_the_password(stack: Stack) -> None:
    port = stack.json("pg", "show", "main")["port"]
    for user in ("neon_admin", "postgres", "neon"):
        for host in ("127.0.0.1", address(stack, "pod_0")):
            for password in (None, "wrong"):
                with pytest.raises(
                    psycopg.OperationalError, match=r"no password|authentication failed|pg_hba"
                ):
                    psycopg.connect(
                        host=host,
                        port=port,
                        user=user,
                        password=password,
                        dbname="postgres",
                        connect_timeout=5,
                    ).close()


# ---- secrets


def test_no_secret_is_in_what_docker_shows(stack: Stack, secrets: dict[str, str]) -> None:
    """Inspect of containers, images, volumes and networks (labels, environment, commands), histories of
    images, processes with their arguments, all logs."""
    for one in stack.containers():
        seen = json.dumps(one.attrs) + json.dumps(one.image.attrs) + json.dumps(one.image.history())
        assert leaked(secrets, seen) == [], one.name
        assert leaked(secrets, one.logs().decode(errors="replace")) == [], one.name
        assert leaked(secrets, json.dumps(one.top(ps_args="axww"))) == [], one.name
    wanted = {"label": f"dev.neon-compose.stack={stack.name}"}
    for kind in (stack.docker.volumes, stack.docker.networks):
        for one in kind.list(filters=wanted):
            assert leaked(secrets, json.dumps(one.attrs)) == [], one.name


def processes(stack: Stack) -> Iterator[tuple[str, Path]]:
    """Every process of every container, as the engine's machine sees it."""
    for one in stack.containers():
        rows = one.top(ps_args="-eo pid")["Processes"]
        for row in rows:
            yield one.name, Path("/proc") / row[0].strip()


def test_no_secret_is_in_a_command_line_or_an_environment(stack: Stack, secrets: dict[str, str]) -> None:
    """As the kernel has them, of every process that runs."""
    seen = 0
    for name, process in processes(stack):
        try:
            texts = {
                what: (process / what).read_bytes().decode(errors="replace")
                for what in ("cmdline", "environ")
            }
        except (FileNotFoundError, ProcessLookupError):
            continue
        seen += 1
        for what, text in texts.items():
            assert leaked(secrets, text) == [], (name, what)
    assert seen >= 5


def test_no_secret_is_in_an_answer_but_the_url_that_is_asked_for(
    stack: Stack, secrets: dict[str, str]
) -> None:
    with stack.http() as http:
        answers = [
            http.get(path)
            for path in (
                "/status",
                "/pgs",
                "/pgs/main",
                "/storages",
                "/storages/main",
                "/storages/main/branches",
                "/snapshots",
                "/components",
                "/openapi.json",
                "/nowhere",
                "/pgs/nobody",
                "/pgs/nobody/url",
            )
        ]
        answers += [
            http.put("/pgs", json={"name": "x", "storage_name": "main", "settings": {"fsync": "off"}}),
            http.put("/pgs", json={"name": "x", "storage_name": "main", "port": 1}),
            http.put("/storages", json={"name": "x", "type": "native", "path": "state/secrets"}),
            http.put("/storages", json={"name": "x", "type": "native", "import": "/nowhere/secrets/token"}),
            http.delete("/pgs/b1"),
        ]
        for answer in answers:
            assert leaked(secrets, answer.text + str(answer.headers)) == [], answer.request.url
        assert [answer.is_error for answer in answers[-5:]] == [True] * 5
        assert leaked(secrets, http.get("/pgs/main/url").text) == ["password"]


def test_no_secret_is_in_what_the_command_line_says(stack: Stack, secrets: dict[str, str]) -> None:
    for words in (
        ("status",),
        ("pg", "list"),
        ("pg", "show", "main"),
        ("storage", "show", "main"),
        ("branch", "list"),
        ("logs", "--tail", "500"),
        ("doctor",),
        ("config", "show"),
        ("up", "--dry-run"),
        ("--debug", "pg", "destroy", "main"),
    ):
        ran = stack.run(*words)
        assert leaked(secrets, ran.out + ran.err) == [], words
    assert leaked(secrets, stack.cli("token")) == ["token"]


# ---- rights of containers


def test_containers_have_no_rights_to_lose(stack: Stack) -> None:
    for one in stack.containers():
        host = one.attrs["HostConfig"]
        assert one.attrs["Config"]["User"] == "10001:10001", one.name
        assert not host["Privileged"], one.name
        assert host["CapDrop"] == ["ALL"], one.name
        assert not host["CapAdd"], one.name
        assert host["SecurityOpt"] == ["no-new-privileges"], one.name
        assert host["ReadonlyRootfs"], one.name
        assert not host["Devices"], one.name
        assert (host["PidMode"], host["UTSMode"], host["UsernsMode"]) == ("", "", ""), one.name
        assert host["IpcMode"] in ("private", "shareable"), one.name
        assert host["NetworkMode"] != "host", one.name


def test_the_kernel_agrees(stack: Stack) -> None:
    for name, process in processes(stack):
        try:
            status = dict(
                line.split(":\t", 1)
                for line in (process / "status").read_text().splitlines()
                if ":\t" in line
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert set(status["Uid"].split()) == {"10001"}, name
        assert set(status["Gid"].split()) == {"10001"}, name
        assert {status[key].strip("0") for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
            ""
        }, name
        assert status["NoNewPrivs"] == "1", name
        assert status["Seccomp"] == "2", name  # Docker's filter


def test_only_the_controller_has_the_engine(stack: Stack) -> None:
    for one in stack.containers():
        role = one.labels["dev.neon-compose.component"]
        sources = [mount["Source"] for mount in one.attrs["Mounts"]]
        assert any("docker.sock" in source for source in sources) == (role == "controller"), one.name
        if role != "controller":
            assert not one.attrs["HostConfig"]["GroupAdd"], one.name
            ours = ("/volumes/", "/secrets/")
            assert all(any(word in source for word in ours) for source in sources), (one.name, sources)


def test_each_container_is_given_the_secrets_it_needs_and_no_other(stack: Stack) -> None:
    given = {
        one.labels["dev.neon-compose.component"]: {
            mount["Destination"].rpartition("/")[2]
            for mount in one.attrs["Mounts"]
            if mount["Destination"].startswith("/run/secrets/")
        }
        for one in stack.containers()
    }
    assert given == {
        "controller": set(),  # it has the volume they are in
        "pageserver": {"internal_token"},
        "safekeeper": {"internal_token"},
        "minio": {"minio_root_user", "minio_root_password"},
        "compute": set(),
        "pod": set(),
    }
    for one in stack.containers():
        for mount in one.attrs["Mounts"]:
            if mount["Destination"].startswith(("/run/secrets/", "/neon/layers", "/neon/maps")):
                assert not mount["RW"], (one.name, mount)


def test_a_superuser_of_postgres_finds_no_secret_of_the_stack(stack: Stack, secrets: dict[str, str]) -> None:
    """Superusers run programs in their compute's container. All that is in there is their own storage."""
    look = (
        "(cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /run/secrets/* /proc/mounts; "
        "find / -xdev -name '*secret*'; env) 2>/dev/null | tr -c '[:alnum:]/_.=-' '[\\n*]'"
    )
    text = "\n".join(_output(stack, "b1", look))
    assert "/neon/pg" in text
    assert leaked(secrets, text) == []
    for where in ("/", "/usr/bin", "/neon/layers", "/neon/maps", "/etc"):
        assert _output(stack, "b1", f"touch {where}/x 2>/dev/null && echo yes || echo no") == ["no"], where


def _output(stack: Stack, pg: str, program: str) -> list[str]:
    """The lines that a program writes which Postgres runs for its superuser."""
    with psycopg.connect(stack.url(pg), autocommit=True) as session:
        session.execute("create temp table seen (line text)")
        session.execute(sql.SQL("copy seen from program {}").format(sql.Literal(program)))
        return [row[0] for row in session.execute("select line from seen").fetchall()]


# ---- files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_a_local_user_could_read_is_closed(stack: Stack) -> None:
    client_file = stack.folder / f"state/neon-compose/{stack.name}.json"
    assert mode(client_file) == 0o600
    assert mode(client_file.parent) == 0o700
    state = mountpoint(stack, "state")
    assert mode(state / "secrets") == 0o700
    for path in (state / "secrets").iterdir():
        assert mode(path) == 0o600, path
        assert path.stat().st_uid == 10001, path
    for path in state.rglob("*"):
        assert mode(path) & 0o077 == 0, path
    tree, work = mountpoint(stack, "storage_main"), mountpoint(stack, "work_main")
    for root in (state, tree, work):
        assert mode(root) & 0o077 == 0, root
    assert mode(tree / "storage.json") == 0o600
    for data in (work / "pg").glob("*/*"):
        assert mode(data) & 0o077 == 0, data
