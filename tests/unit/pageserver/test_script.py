"""What is read out of a dump's SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neon_compose.pageserver.script import Survey, blank, survey_file

Look = Callable[[str], Survey]


def has_locale(name: str) -> bool:
    return name in ("C", "C.UTF-8")


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str], Survey]:
    def survey(sql: str) -> Survey:
        path = tmp_path / "looked-at.sql"
        path.write_text(sql)
        return survey_file(path, has_locale)

    return survey


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("ALTER TABLE public.t OWNER TO app;\n", {"app"}),
        ('ALTER FUNCTION f(a integer) OWNER TO "My App";\n', {"My App"}),
        ("GRANT SELECT ON TABLE public.t TO reader;\n", {"reader"}),
        ("GRANT ALL ON SCHEMA public TO PUBLIC;\n", set()),
        ("GRANT SELECT ON TABLE t TO reader WITH GRANT OPTION;\n", {"reader"}),
        ("REVOKE ALL ON FUNCTION f() FROM Boss;\n", {"boss"}),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT SELECT ON TABLES TO reader;\n",
            {"app", "reader"},
        ),
        ("CREATE POLICY p ON public.t TO alice, bob USING (true);\n", {"alice", "bob"}),
        ("SET SESSION AUTHORIZATION 'app';\n", {"app"}),
        ("CREATE USER MAPPING FOR app SERVER s;\n", {"app"}),
        ("CREATE SCHEMA s AUTHORIZATION app;\n", {"app"}),
        ("ALTER ROLE app IN DATABASE d SET search_path TO 'x';\n", {"app"}),
        ("ALTER TABLE t OWNER TO neon_admin;\n", set()),
        ("GRANT pg_monitor TO app;\n", {"app"}),
        ("CREATE ROLE app;\nALTER TABLE t OWNER TO app;\n", set()),
    ],
)
def test_roles_that_a_dump_names_and_does_not_make_are_found(sql: str, roles: set[str], look: Look) -> None:
    assert look(sql).needed_roles == roles


def test_rows_of_a_copy_are_not_taken_for_statements(look: Look) -> None:
    sql = (
        "ALTER TABLE t OWNER TO a;\nCOPY public.t (x) FROM stdin;\n"
        "ALTER TABLE t OWNER TO evil;\nCREATE DATABASE evil;\n\\.\n\nALTER TABLE u OWNER TO b;\n"
    )
    found = look(sql)
    assert found.needed_roles == {"a", "b"}
    assert found.databases == []


def test_an_empty_copy_does_not_hide_what_follows(look: Look) -> None:
    assert look("COPY t (x) FROM stdin;\n\\.\n\nALTER TABLE u OWNER TO b;\n").needed_roles == {"b"}


def test_databases_a_dump_makes_are_listed_in_order(look: Look) -> None:
    sql = 'CREATE DATABASE shop WITH TEMPLATE = template0;\nCREATE DATABASE "My Db";\n'
    assert look(sql).databases == ["shop", "My Db"]


def test_blanking_keeps_lengths_and_removes_what_can_not_be_right(tmp_path: Path, look: Look) -> None:
    sql = (
        "CREATE ROLE neon_admin;\n"
        "ALTER ROLE neon_admin WITH SUPERUSER PASSWORD 'SCRAM-SHA-256$4096:x';\n"
        "CREATE ROLE neon_admin2;\n"
        "CREATE TABLESPACE fast OWNER a LOCATION '/mnt/x';\n"
        "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc"
        " LOCALE = 'de_DE.UTF-8' TABLESPACE = fast;\n"
        "SET default_tablespace = fast;\n"
        "SET default_tablespace = '';\n"
    )
    path = tmp_path / "dump.sql"
    path.write_text(sql)
    found = look(sql)
    blank(path, found.blanks)
    left = path.read_text()
    assert len(left) == len(sql)
    kept = [" ".join(line.split()) for line in left.splitlines() if line.strip()]
    assert kept == [
        "CREATE ROLE neon_admin2;",
        "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc ;",
        "SET default_tablespace = '';",
    ]
    assert len(found.notes) == 2
