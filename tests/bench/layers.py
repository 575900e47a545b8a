"""What is made of WAL: how fast a redo job is, and how a stack of deltas reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from neon_compose.model.lsn import Lsn
from tests.bench import datasets
from tests.bench.bench import Bench, Group
from tests.bench.client import TPC_B, Client, client
from tests.bench.engine import Binds, Failed
from tests.bench.goals import Measure, ratio_at_least, ratio_at_most
from tests.bench.ours import Pg
from tests.bench.pairs import Alternation, Sample, Stopwatch

_MB = 1e6

# ---- a redo job against upstream's recovery of the same WAL

_ROUND_BYTES = 40 << 20  # of WAL; a job runs by itself at 64 MiB
_TRANSACTIONS = 125  # of each client between two looks at how much there is: at most 16 MiB
_KEEP_ALL = {"wal_keep_size": "8GB"}
_NOW = "select pg_current_wal_insert_lsn()::text"
_LAST = "select pg_logical_emit_message(true, 'bench', 'the last record')"
_COPY = "pg_basebackup --dbname='{}' -D /v/data -X none -c fast"
_RECOVER = """
redo=$(pg_controldata /v/data | sed -n "s/^Latest checkpoint's REDO location: *//p")
cat > /v/data/postgresql.conf <<'CONF'
{settings}
CONF
touch /v/data/recovery.signal
begin=$(date +%s%N)
postgres -D /v/data > /v/log 2>&1 || {{ tail -20 /v/log >&2; exit 1; }}
end=$(date +%s%N)
grep -q 'recovery stopping after WAL location' /v/log || {{ tail -20 /v/log >&2; exit 1; }}
echo $redo $((end - begin))
"""


@dataclass
class _Upstream:
    """A base backup, and upstream's archive recovery that goes on in it from target to target.

    It is told what a redo job is told, but is durable: so is the layer that a job makes.
    """

    bench: Bench
    volume: str
    wal: str  # the primary's folder

    def copy(self, pg: Pg) -> None:
        chown = "chown $(id -u USER):$(id -g USER) /v".replace("USER", self.bench.engine.user)
        self.bench.engine.shell(chown, {self.volume: "/v"}, user="0")
        self.bench.engine.shell(_COPY.format(pg.conninfo), {self.volume: "/v"}, network_mode="host")

    def recover(self, target: Lsn) -> tuple[Lsn, float]:
        """Where recovery began, and the seconds until it has stopped after the record at `target`."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": "/v",
            "hot_standby": "off",
            "shared_buffers": "128MB",
            "restore_command": "cp /wal/data/pg_wal/%f %p",
            "recovery_target_timeline": "current",
            "recovery_target_lsn": str(target),
            "recovery_target_action": "shutdown",
        }
        script = _RECOVER.format(
            settings="\n".join(f"{name} = '{value}'" for name, value in settings.items())
        )
        binds: Binds = {self.volume: "/v", self.wal: "/wal"}
        redo, ns = self.bench.engine.shell(script, binds, shm_size="1g").split()
        return Lsn.parse(redo), int(ns) / 1e9


def _write(run: Client, pg: Pg, session: psycopg.Connection) -> Lsn:
    """A round of TPC-B, a checkpoint, and where the last record is."""

    def now() -> Lsn:
        found = session.execute(_NOW).fetchone()
        assert found is not None
        return Lsn.parse(found[0])

    begin = now()
    while now().value - begin.value < _ROUND_BYTES:
        run.transactions(TPC_B, pg.conninfo, _TRANSACTIONS)
    session.execute("checkpoint")
    last = now()
    session.execute(_LAST)
    return last


def redo(bench: Bench) -> Iterator[Measure]:
    dataset = bench.options.main
    storage = bench.prepare(dataset)
    with (
        bench.ours.branch(storage, settings=_KEEP_ALL) as (pg, session, _),
        client(bench.engine, {}) as run,
        _volume(bench) as volume,
    ):
        bench.ours.settle(pg)
        upstream = _Upstream(bench, volume, bench.ours.folder(pg))
        upstream.copy(pg)

        def floor() -> Sample:
            last = _write(run, pg, session)
            redo_lsn, seconds = upstream.recover(last)
            return {"speed": (last.value - redo_lsn.value) / _MB / seconds}

        def ours() -> Sample:
            made = bench.ours.stack.redo(storage, pg.name)
            if made["wal_bytes"] < _ROUND_BYTES:
                raise Failed(f"another job was faster: {made}")
            return {"speed": made["wal_bytes"] / _MB / (made["ms"] / 1000)}

        pairs = Alternation(floor, ours).run(bench.options.few_pairs)
    yield Measure(
        f"redo job, TPC-B's WAL, {dataset.title}",
        "MB/s",
        pairs.all_of("speed"),
        ratio_at_least(0.8),
        floor_is="upstream's recovery of the same WAL",
    )


@contextmanager
def _volume(bench: Bench) -> Iterator[str]:
    name = bench.engine.volume(f"{bench.engine.run_name}_{bench.ours.new_name()}")
    try:
        yield name
    finally:
        bench.engine.drop_volume(name)


# ---- a scan over deltas against one over an image

_DELTAS = 7  # over an image layer: with one more the stack is folded
_ROWS_PER_PAGE = 61  # of pgbench_accounts as pgbench fills it
_ONE_ROW = f"aid % {_ROWS_PER_PAGE} = 1 and aid / {_ROWS_PER_PAGE} % {_DELTAS + 1} ="
_TOUCH = f"update pgbench_accounts set abalance = abalance + 1 where {_ONE_ROW}"
# So that a scan has nothing to write down, and reads the layers each time.
_FREEZE = "vacuum (freeze) pgbench_accounts"
_FROM_LAYERS = {"shared_buffers": "16MB", "max_parallel_workers_per_gather": "0"}
_SCAN = "select count(*), sum(abalance) from pgbench_accounts"


def _next_layer(bench: Bench, pg: Pg, session: psycopg.Connection, number: int) -> list[str]:
    """A delta with every eighth page of the table, between those of the others; the layers that made."""
    for statement in (f"{_TOUCH} {number}", _FREEZE, "checkpoint", _LAST):
        session.execute(statement)
    made: list[str] = bench.ours.stack.redo(pg.storage, pg.name)["layers"]
    return made


def scan(bench: Bench) -> Iterator[Measure]:
    """Both sides are branches of one pg: ours over its stack at its deepest, the floor once it is folded."""
    dataset = datasets.SMALL
    storage = bench.prepare(dataset)
    with bench.ours.branch(storage) as (pg, session, _):
        for number in range(_DELTAS):
            if len(_next_layer(bench, pg, session, number)) != 1:
                raise Failed(f"the stack was folded with delta {number + 1} already")
        with bench.ours.branch(storage, pg.name, settings=_FROM_LAYERS) as (deep, over_deltas, _):
            if len(_next_layer(bench, pg, session, _DELTAS)) != 2:
                raise Failed(f"the stack was not folded with delta {_DELTAS + 1}")
            with bench.ours.branch(storage, pg.name, settings=_FROM_LAYERS) as (flat, over_image, _):
                for one in (deep, flat):
                    bench.ours.settle(one)

                def side(session: psycopg.Connection) -> Sample:
                    watch = Stopwatch()
                    session.execute(_SCAN).fetchone()
                    return {"ms": watch.ms()}

                pairs = Alternation(lambda: side(over_image), lambda: side(over_deltas)).run(
                    bench.options.pairs
                )
    yield Measure(
        f"scan over an image and {_DELTAS} deltas, {dataset.title}",
        "ms",
        pairs.all_of("ms"),
        ratio_at_most(1 / 0.9),
        floor_is="over one image layer",
    )


GROUPS = (Group("layers-redo", redo), Group("layers-scan", scan))
