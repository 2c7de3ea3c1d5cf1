"""What an event takes of each process, of the network and of the disks, by payload, copies and keys. It has no bars."""

import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import LiteralString

from bench.memory import megabytes
from bench.processes import family, scheduled_s
from bench.report import Figure, Report
from bench.world import World

# Digits that PostgreSQL makes no smaller: what a payload of random text takes is what it says.
_INSERT: LiteralString = """
    INSERT INTO outbox_events (topic, key, payload)
    SELECT 'orders.placed',
           'k' || mod(i, %(keys)s),
           jsonb_build_object('id', lpad(i::text, 9, '0'), 'note', left(
               (SELECT string_agg(md5(concat(i, '.', j)), '') FROM generate_series(1, %(digests)s) j), %(note)s))
    FROM generate_series(1, %(events)s::bigint) i
"""
_AROUND_NOTE = len('{"id": "000000001", "note": ""}')
_DIGEST = 32
# The last marks, and what follows them, belong to the drain.
_SETTLE_S = 1.0
_UNITS = {
    "relay": "us of CPU",
    "PostgreSQL": "us of CPU",
    "nats-server": "us of CPU",
    "WAL of the insert": "bytes",
    "WAL of the mark": "bytes",
    "PostgreSQL to relay": "bytes",
    "relay to PostgreSQL": "bytes",
    "relay to NATS": "bytes",
    "NATS to relay": "bytes",
    "table with its indexes": "bytes",
    "stream on all disks": "bytes",
}


@dataclass(frozen=True)
class _Load:
    """What is drained.

    Attributes:
        payload: Bytes of a payload.
        copies: Of the stream, each on a node of its own.
    """

    events: int
    strategy: str
    payload: int = 256
    keys: int = 1_000
    copies: int = 1

    def __str__(self) -> str:
        keys = "a key each" if self.keys == self.events else f"{self.keys:,} keys"
        return f"{self.events:,} of {self.payload:,} B, {keys}, R{self.copies}, {self.strategy}"


_LOADS = [
    load
    for strategy in ("singles", "atomic")
    for load in (
        _Load(100_000, strategy),
        _Load(100_000, strategy, copies=3),
        _Load(20_000, strategy, payload=10_000),
        _Load(20_000, strategy, payload=10_000, copies=3),
        _Load(500, strategy, payload=500_000, keys=100),
        _Load(500, strategy, payload=500_000, keys=100, copies=3),
        _Load(20_000, strategy, keys=1),
        _Load(1_000_000, strategy),
        _Load(1_000_000, strategy, keys=1_000_000),
    )
]
_SMALL = (_Load(1_000, "singles"), _Load(1_000, "atomic", copies=3))


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Drain each load into a new stream, on servers of its own."""
    for load in _SMALL if quick else _LOADS:
        measured = [_event(load) for _ in range(rounds)]
        for name in measured[0]:
            each = [values[name] for values in measured]
            report.add(Figure("resources", f"{load}: {name}", median(each), _UNITS.get(name, "MB"), rounds=each))
        report.progress(f"resources: {load}: " + "; ".join(f"{name} {one:.1f}" for name, one in measured[-1].items()))


def _event(load: _Load) -> dict[str, float]:
    """Return what an event takes: what the drain takes in all, less a drain of one event, which is the start alone."""
    with (
        tempfile.TemporaryDirectory(prefix="relay-resources-") as directory,
        World(Path(directory), copies=load.copies) as world,
    ):
        without, _ = _drain(world, load, 1)
        taken, memory = _drain(world, load, load.events)
    each = {name: (taken[name] - without[name]) / (load.events - 1) for name in taken}
    return each | {"highest memory of the relay": memory}


def _drain(world: World, load: _Load, events: int) -> tuple[dict[str, float], float]:
    """Return what a drain takes in all, with the start of the relay, and the highest memory of the relay, MB."""
    world.stream(atomic=load.strategy == "atomic")
    world.empty_outbox()
    stored = _stored(world)
    note = load.payload - _AROUND_NOTE
    values = {"keys": load.keys, "digests": note // _DIGEST + 1, "note": note, "events": events}
    with world.connect() as conn:
        begun = _wal(world)
        conn.execute(_INSERT, values)
        inserted = _wal(world) - begun
        conn.execute("VACUUM ANALYZE outbox_events")
        conn.execute("CHECKPOINT")
        first, last = conn.execute("SELECT min(seq), max(seq) FROM outbox_events").fetchone() or (0, 0)
    # Until the session of the inserts is gone, it counts as PostgreSQL's.
    time.sleep(_SETTLE_S)
    servers = _servers_us(world)
    begun = _wal(world)
    with world.relay({"RELAY_DELIVERY__STRATEGY": load.strategy}) as process:
        world.wait_until_drained(process, range(first, last + 1))
        time.sleep(_SETTLE_S)
        taken = {"relay": scheduled_s([process.pid]) * 1e6}
        taken |= {name: now - servers[name] for name, now in _servers_us(world).items()}
        taken |= {"WAL of the insert": inserted, "WAL of the mark": _wal(world) - begun}
        taken |= _sent(world, process.pid)
        memory = megabytes(process.pid, "VmHWM")
    taken["table with its indexes"] = float(world.ask("SELECT pg_total_relation_size('outbox_events')"))
    taken["stream on all disks"] = _stored(world) - stored
    return taken, memory


def _wal(world: World) -> float:
    return float(world.ask("SELECT pg_current_wal_insert_lsn() - '0/0'"))


def _servers_us(world: World) -> dict[str, float]:
    return {
        "PostgreSQL": scheduled_s(family(world.postgres.pid)) * 1e6,
        "nats-server": scheduled_s(node.pid for node in world.nodes) * 1e6,
    }


def _stored(world: World) -> float:
    """Return the bytes of all files of the streams."""
    files = [file for node in world.nodes for file in (node.directory / "jetstream").rglob("*") if file.is_file()]
    return float(sum(file.stat().st_size for file in files))


def _sent(world: World, pid: int) -> dict[str, float]:
    """Return the bytes that the open connections of the relay have carried; nothing if there is no ``ss`` to ask."""
    program = shutil.which("ss")
    if program is None:
        return {}
    listed = subprocess.run([program, "-tinpOH"], capture_output=True, text=True, check=True, timeout=10).stdout
    carried = {"PostgreSQL": [0, 0], "NATS": [0, 0]}
    for line in listed.splitlines():
        if f"pid={pid}," not in line:
            continue
        port = int(line.split()[4].rpartition(":")[2])
        server = "PostgreSQL" if port == world.postgres.port else "NATS"
        for at, counter in enumerate(("bytes_sent", "bytes_received")):
            carried[server][at] += int((re.search(rf"\b{counter}:(\d+)", line) or [0, 0])[1])
    return {
        "PostgreSQL to relay": float(carried["PostgreSQL"][1]),
        "relay to PostgreSQL": float(carried["PostgreSQL"][0]),
        "relay to NATS": float(carried["NATS"][0]),
        "NATS to relay": float(carried["NATS"][1]),
    }
