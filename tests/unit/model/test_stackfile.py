"""Stack files: what is accepted, and that everything wrong is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.errors import Invalid, Malformed, NeonError, TooLarge
from neon_compose.model.stackfile import StackFile, json_schema, parse_stack, read_stack
from neon_compose.model.states import Durability, StorageType

COMPOSE = Path(__file__).parents[3] / "compose"


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as raised:
        read_stack(text)
    assert raised.value.code == "bad_stack_file"
    return raised.value.detail.splitlines()


@pytest.mark.parametrize("file", sorted(COMPOSE.glob("*.yaml")), ids=lambda file: file.name)
def test_the_stack_files_we_ship_are_right(file: Path) -> None:
    if file.name != "docker-compose.yaml":
        assert read_stack(file.read_text()).storages


def test_an_empty_document_has_a_storage_and_a_pg() -> None:
    stack = read_stack("")
    assert list(stack.storages) == list(stack.pgs) == ["main"]
    assert stack.pgs["main"].storage_name == "main"
    assert stack.minio
    assert stack.bind == "127.0.0.1"


def test_a_document_that_names_its_storages_gets_no_others() -> None:
    stack = read_stack("storages: {shop: }\n")
    assert list(stack.storages) == ["shop"]
    assert stack.storages["shop"].type is StorageType.NATIVE
    assert stack.pgs == {}


def test_no_storages_at_all_can_be_asked_for() -> None:
    assert read_stack("storages: {}\n").storages == {}


def test_a_document_survives_the_way_over_the_api() -> None:
    stack = read_stack(
        """
        name: shop
        minio: false
        host: db.example.org
        storages: {a: {path: /srv/a, import: /srv/a.dump}}
        pgs:
          one: {storage_name: a, from: a@import, port: 16000, settings: {jit: off, work_mem: 64MB}}
          two: {storage_name: a, durability: local, start: false}
        """
    )
    assert parse_stack(stack.as_document()) == stack
    assert stack.pgs["one"].settings == {"jit": "off", "work_mem": "64MB"}
    assert stack.pgs["two"].durability is Durability.LOCAL


def test_a_storage_says_how_much_history_it_keeps() -> None:
    stack = read_stack(
        "storages: {shop: {history: 12h, history_size: 2GiB}, none: {history: 0, history_size: 0}}"
    )
    kept = {name: (one.history, one.history_size) for name, one in stack.storages.items()}
    assert kept == {"shop": ("12h", "2GiB"), "none": ("0", "0")}
    [age, size] = problems("storages: {shop: {history: 1w, history_size: 10GB}}")
    assert age.startswith("storages.shop.history: ")
    assert "512MiB or 10GiB" in size


@pytest.mark.parametrize("text", ["off", '"off"'])
def test_durability_off_is_said_to_be_missing(text: str) -> None:
    said = problems("storages: {main: }\npgs: {a: {storage_name: main, durability: " + text + "}}")
    assert said == ['pgs.a.durability: "off" is not available yet; use "quorum" or "local"']


def test_from_alone_makes_a_branch_named_as_the_pg() -> None:
    pgs = read_stack("pgs: {one: {storage_name: main, from: main@init}, two: {storage_name: main}}").pgs
    assert pgs["one"].branch_for("one") == "one"
    assert pgs["two"].branch_for("two") == "main"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    stack = read_stack("storages: {a: {path: ./data, import: seed.dump}}", folder=tmp_path)
    assert stack.storages["a"].path == str(tmp_path / "data")
    assert stack.storages["a"].import_ == str(tmp_path / "seed.dump")


def test_all_problems_are_told_at_once_each_with_its_key() -> None:
    found = problems(
        """
        nmae: x
        postgres: 16
        minio: yes please
        storages: {a: {pth: /x}, B: {}}
        pgs:
          p: {storage: a}
          q: {storage_name: nope, port: 80}
          r: {storage_name: a, port: 16000}
          s: {storage_name: a, branch: other, port: 16000}
        """
    )
    assert [line.split(":")[0] for line in found] == [
        "postgres",
        "minio",
        "nmae",
        "storages.a.pth",
        "storages.B",
        "pgs.p.storage_name",
        "pgs.p.storage",
        "pgs.q.port",
        "pgs.s.port",
    ]


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("storagse: {}", "storagse", "storages"),
        ("storages: {a: {paht: /x}}", "storages.a.paht", "path"),
        ("pgs: {p: {storage: main}}", "pgs.p.storage", "storage_name"),
        ("pgs: {p: {storage_name: main, setings: {}}}", "pgs.p.setings", "settings"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(text: str, key: str, nearest: str) -> None:
    (line,) = [line for line in problems(text) if line.startswith(f"{key}: unknown")]
    assert f'"{nearest}"' in line


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name: Bad_Name", "name"),
        ("requires: '>=99'", "requires"),
        ("requires: newest", "requires"),
        ("bind: everywhere", "bind"),
        ("host: 'a b'", "host"),
        ("safekeepers: 9", "safekeepers"),
        ("packages: [postgis]", "packages"),
        ("minio: 1", "minio"),
        ("storages: []", "storages"),
        ("storages: {no: {}}", "storages.False"),
        ("storages: {a: 3}", "storages.a"),
        ("storages: {a: {type: s3}}", "storages.a.type"),
        ("storages: {a: {type: zfs}}", "storages.a.type"),
        ("storages: {a: {path: ''}}", "storages.a.path"),
        ('storages: {a: {path: "x\\0y"}}', "storages.a.path"),
        ("storages: {a: {path: /x}, b: {path: /x}}", "storages.b.path"),
        ("pgs: {p: }", "pgs.p.storage_name"),
        ("pgs: {p: {storage_name: mian}}", "pgs.p.storage_name"),
        ("safekeepers: 0\npgs: {p: {storage_name: main, durability: quorum}}", "pgs.p.durability"),
        ("pgs: {p: {storage_name: main, from: 'main@5m'}}", "pgs.p.from"),
        ("pgs: {p: {storage_name: main, port: 99999}}", "pgs.p.port"),
        ("pgs: {p: {storage_name: main, port: '16000'}}", "pgs.p.port"),
        ("pgs: {p: {storage_name: main, settings: {a: [1]}}}", "pgs.p.settings.a"),
        ("pgs: {p: {storage_name: main}, q: {storage_name: main}}", "pgs.q.branch"),
    ],
)
def test_a_bad_value_is_told_with_the_path_of_its_key(text: str, key: str) -> None:
    assert key in [line.split(": ")[0] for line in problems(text)]


@pytest.mark.parametrize(
    "text",
    ["a: [", "name: a\nname: b", "a: &x [1]\nb: *x", "\0", "day: 2026-99-99", "[" * 5000, "? [a]\n: b"],
)
def test_what_is_not_plain_yaml_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read_stack(text)


@pytest.mark.parametrize("text", ["3", "- a", "just words"])
def test_what_is_not_a_mapping_is_refused(text: str) -> None:
    assert len(problems(text)) == 1


def test_a_huge_document_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(TooLarge):
        read_stack("#" * (1 << 21))


def test_bad_input_that_is_no_text_at_all_is_refused() -> None:
    documents: list[object] = [
        [],
        3,
        "x",
        {"storages": {1: {}}},
        {None: 1},
        {"pgs": {"p": {"storage_name": {}}}},
    ]
    for document in documents:
        with pytest.raises(NeonError):
            parse_stack(document)


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == {
        "name", "requires", "postgres", "safekeepers", "minio", "host", "bind", "storages", "pgs",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    assert "import" in schema["$defs"]["StorageSpec"]["properties"]
    assert "from" in schema["$defs"]["PgSpec"]["properties"]
    assert set(schema["properties"]) == set(StackFile.model_fields)
