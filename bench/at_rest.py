"""What relays cost while nothing comes: some on one outbox, and many outboxes in one database with a relay each."""

import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from bench.processes import family, scheduled_s
from bench.report import Figure, Report
from bench.world import World
from relay.postgres.migrate import migrate

# Outboxes, and relays of each.
_ARRANGEMENTS = ((1, 1), (1, 2), (1, 4), (10, 1), (100, 1))
_SMALL = ((1, 1), (1, 2), (2, 1))
# A hundred that start at once on two cores take minutes, and time each other out.
_STARTED_TOGETHER = 5
_START_S = 120.0
# For so long they are left alone, and for so long again it is counted.
_REST_S = 40.0
_NICE = 5
_ESTABLISHED = "01"
_UNITS = {
    "connections to PostgreSQL": "",
    "connections to NATS": "",
    "resident memory of a relay": "MB",
    "of all relays, shared pages once": "MB",
    "of PostgreSQL, shared pages once": "MB",
    "queries": "queries/s",
    "CPU of the relays": "% of a core",
    "CPU of PostgreSQL": "% of a core",
    "WAL": "kB/s",
}


@dataclass(frozen=True)
class _Count:
    """What had been counted at a moment: transactions, bytes of WAL, and seconds of CPU."""

    at: float
    transactions: int
    wal_bytes: int
    relays_s: float
    postgres_s: float


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Count over 40 s, 40 s after the last start, once for each arrangement, on servers that take many connections."""
    for outboxes, relays in _SMALL if quick else _ARRANGEMENTS:
        with (
            tempfile.TemporaryDirectory(prefix="relay-at-rest-") as directory,
            World(Path(directory), {"max_connections": "600"}) as roomy,
        ):
            values = _at_rest(roomy, outboxes, relays, 2.0 if quick else _REST_S)
        arrangement = f"{outboxes} x {relays}"
        report.progress(f"at rest, {arrangement}: " + "; ".join(f"{name} {one:.1f}" for name, one in values.items()))
        for name, value in values.items():
            report.add(Figure("at rest", f"outboxes x relays of each: {arrangement}: {name}", value, _UNITS[name]))


def _at_rest(world: World, outboxes: int, relays: int, seconds: float) -> dict[str, float]:
    """Start relays, wait until they rest, and return what they take meanwhile."""
    names = [f"outbox_{number}" for number in range(outboxes)]
    with world.connect() as conn:
        for name in names:
            conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            migrate(conn, f"{name}.outbox_events", "jsonb", bell=True)
    world.stream(atomic=True)
    with ExitStack() as running:
        pids: list[int] = []
        starts = [name for _ in range(relays) for name in names]
        for first in range(0, len(starts), _STARTED_TOGETHER):
            for name in starts[first : first + _STARTED_TOGETHER]:
                settings = {"RELAY_POSTGRES__TABLE": f"{name}.outbox_events"}
                pids.append(running.enter_context(world.relay(settings)).pid)
                os.setpriority(os.PRIO_PROCESS, pids[-1], _NICE)
            _wait_for_owners(world, names, len(pids))
        time.sleep(seconds)
        before = _count(world, pids)
        time.sleep(seconds)
        after = _count(world, pids)
        postgres = family(world.postgres.pid)
        passed = after.at - before.at
        return {
            "connections to PostgreSQL": float(
                world.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%'")
            ),
            "connections to NATS": float(_connections_to(int(world.nats.url.rsplit(":", 1)[1]))),
            "resident memory of a relay": sum(_megabytes(pid, "Rss") for pid in pids) / len(pids),
            "of all relays, shared pages once": sum(_megabytes(pid, "Pss") for pid in pids),
            "of PostgreSQL, shared pages once": sum(_megabytes(pid, "Pss") for pid in postgres),
            "queries": (after.transactions - before.transactions) / passed,
            "CPU of the relays": (after.relays_s - before.relays_s) / passed * 100,
            "CPU of PostgreSQL": (after.postgres_s - before.postgres_s) / passed * 100,
            "WAL": (after.wal_bytes - before.wal_bytes) / passed / 1000,
        }


def _wait_for_owners(world: World, names: Iterable[str], relays: int) -> None:
    """Wait until so many relays own shards.

    Raises:
        RuntimeError: The time is up.
    """
    deadline = time.monotonic() + _START_S
    owners = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT owner FROM {}").format(sql.Identifier(name, "outbox_shards")) for name in names
    )
    with world.connect() as conn:
        while True:
            row = conn.execute(sql.SQL("SELECT count(DISTINCT owner) FROM ({}) AS o").format(owners)).fetchone()
            if row == (relays,):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{row} of {relays} relays own shards")
            time.sleep(0.2)


def _count(world: World, pids: list[int]) -> _Count:
    transactions = world.ask("SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database")
    wal_bytes = world.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")
    postgres = scheduled_s(family(world.postgres.pid))
    return _Count(time.monotonic(), int(transactions), int(wal_bytes), scheduled_s(pids), postgres)


def _megabytes(pid: int, name: str) -> float:
    """Read ``Rss``, or ``Pss`` with each shared page by its share, in millions of bytes; 0 if the process has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _connections_to(port: int) -> int:
    """Return how many connections of this machine lead to a port of it."""
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == _ESTABLISHED for line in lines)
