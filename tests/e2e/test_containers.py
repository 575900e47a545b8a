"""What the containers are like from outside: users, ports, secrets."""

from __future__ import annotations

import json
import subprocess

from tests.e2e.stack import Stack, opens


def test_every_container_runs_as_a_plain_user_without_new_privileges(shared: Stack) -> None:
    for container in shared.containers():
        config, host = container.attrs["Config"], container.attrs["HostConfig"]
        assert config["User"].split(":")[0] in ("10001", "neon"), container.name
        assert not host["Privileged"]
        assert any("no-new-privileges" in x for x in host["SecurityOpt"]), container.name
        assert host["CapDrop"] == ["ALL"], container.name


def test_no_container_can_use_up_the_machines_processes(shared: Stack) -> None:
    """A superuser may run programs in a pg; what they fork is bounded by the kernel."""
    assert {c.attrs["HostConfig"]["PidsLimit"] for c in shared.containers()} == {4096}
    shared.cli("branch", "create", "forks", "--from", "main@init")
    bomb = "for n in $(seq 5000); do sleep 60 & done"
    shared.run("psql", "forks", "--", "-c", f"copy (select 1) to program '{bomb}'")
    assert b"Cannot fork" in shared.container("pg_forks").logs()
    assert opens(shared.url("main"))
    shared.cli("pg", "stop", "forks")
    shared.cli("branch", "delete", "main/forks", "--discard-writes")


def test_only_the_controller_has_the_docker_socket(shared: Stack) -> None:
    having = [
        c.attrs["Config"]["Labels"]["dev.neon-compose.component"]
        for c in shared.containers()
        if any("docker.sock" in m["Source"] for m in c.attrs["Mounts"])
    ]
    assert having == ["controller"]


def test_everything_published_is_on_the_loopback_address(shared: Stack) -> None:
    published = [
        binding["HostIp"]
        for c in shared.containers()
        for bindings in (c.attrs["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    ]
    assert published
    assert set(published) == {"127.0.0.1"}


def test_no_secret_is_in_inspect_output_processes_or_logs(shared: Stack) -> None:
    password = shared.url("main").split(":")[2].split("@")[0]
    token = shared.client_file["token"]
    seen = subprocess.run(["ps", "axwwe"], capture_output=True, text=True, check=True).stdout
    for container in shared.containers():
        seen += json.dumps(container.attrs) + container.logs().decode(errors="replace")
    assert len(password) >= 20
    assert len(token) >= 20
    assert password not in seen
    assert token not in seen


def test_images_keep_nothing_of_the_build_network(shared: Stack) -> None:
    for tag in {c.attrs["Config"]["Image"] for c in shared.containers()}:
        history = json.dumps(shared.docker.images.get(tag).history()) + json.dumps(
            shared.docker.images.get(tag).attrs["Config"]
        )
        for word in ("PIP_INDEX", "PIP_CERT", "SSL_CERT_FILE", "_proxy=", "ca.crt"):
            assert word not in history, (tag, word)


def test_a_compute_holds_an_init_and_postgres_only(shared: Stack) -> None:
    titles = shared.container("pg_main").top()["Processes"]
    commands = [row[-1] for row in titles]
    assert all("docker-init" in c or "postgres" in c for c in commands), commands


def test_postgres_without_the_shim_finds_no_cluster(shared: Stack) -> None:
    done = shared.container("pg_main").exec_run(
        ["/usr/lib/postgresql/17/bin/pg_controldata", "/neon/pg/data"]
    )
    assert done.exit_code != 0
    assert b"pg_control" in done.output


def test_tablespaces_are_refused(shared: Stack) -> None:
    shared.cli("branch", "create", "spaces", "--from", "main@init")
    ran = shared.run("psql", "spaces", "--", "-c", "create tablespace t location '/tmp'")
    assert ran.code != 0
    ran = shared.run(
        "psql",
        "spaces",
        "--",
        "-c",
        "set allow_in_place_tablespaces = on",
        "-c",
        "create tablespace t location ''",
    )
    assert ran.code != 0
    assert shared.sql("spaces", "select count(*) from pg_tablespace") == [(2,)]
    shared.cli("pg", "stop", "spaces")
    shared.run("pg", "destroy", "spaces", "--discard-writes")
    shared.cli("branch", "delete", "main/spaces")
