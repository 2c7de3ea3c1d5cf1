"""How soon an event arrives at 50 events a second, and what the relay costs when nothing happens."""

import json
import os
import random
import subprocess
import time
import uuid
from functools import partial
from pathlib import Path
from statistics import median

from bench.figures import p50_p99
from bench.report import Figure, Report
from bench.world import SUBJECTS, World

EVENTS_A_SECOND = 50
_SETTLE_S = 3.0
_INSERT = """
    INSERT INTO outbox_events (id, topic, key, payload) VALUES (%s, 'orders.placed', %s, '{"order": 1, "total": 42}')
"""


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure latency and then idleness, with one relay a round."""
    seconds = 4 if quick else 20
    figures: dict[str, list[float]] = {}
    for number in range(rounds):
        world.use("latency")
        world.empty_outbox()
        world.stream(atomic=True)
        with world.relay() as process:
            time.sleep(_SETTLE_S)
            values = report.quiet.take_all("latency", partial(arrivals, world, seconds * EVENTS_A_SECOND, number))
            time.sleep(_SETTLE_S)
            values |= report.quiet.take_all("idle", partial(idle, world, process, seconds))
        for name, value in values.items():
            figures.setdefault(name, []).append(value)
        report.progress(
            f"latency, round {number + 1}: " + "; ".join(f"{name} {value:.2f}" for name, value in values.items())
        )
    bars = {
        "commit returned to arrival, p50": 3.0,
        "commit returned to arrival, p99": 10.0,
        "idle: queries": 3.0,
    }
    below = {"idle: share of a core": 1.0}
    units = {"idle: share of a core": "%", "idle: queries": "queries/s"}
    for name, each in figures.items():
        unit = units.get(name, "ms")
        report.add(
            Figure("latency", name, median(each), unit, at_most=bars.get(name), below=below.get(name), rounds=each)
        )


def arrivals(world: World, events: int, seed: int) -> dict[str, float]:
    """Commit events at random moments; return the ms from COMMIT's return, and from its sending, to arrival."""
    chance = random.Random(seed)
    sent: dict[str, int] = {}
    returned: dict[str, int] = {}
    with (
        world.program("bench.subscriber", world.nats.url, SUBJECTS, str(events)) as subscriber,
        world.connect() as conn,
    ):
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        due = time.monotonic()
        for number in range(events):
            due += chance.expovariate(EVENTS_A_SECOND)
            time.sleep(max(0.0, due - time.monotonic()))
            identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            conn.execute("BEGIN")
            conn.execute(_INSERT, (identity, f"k{number % 1000}"))
            sent[identity] = time.monotonic_ns()
            conn.execute("COMMIT")
            returned[identity] = time.monotonic_ns()
        arrivals: dict[str, int] = json.loads(subscriber.stdout.readline())
    figures: dict[str, float] = {}
    for name, starts in (("returned", returned), ("sent", sent)):
        p50, p99 = p50_p99([(arrivals[identity] - at) / 1e6 for identity, at in starts.items()])
        figures[f"commit {name} to arrival, p50"] = p50
        figures[f"commit {name} to arrival, p99"] = p99
    return figures


def idle(world: World, process: subprocess.Popen[bytes], seconds: int) -> dict[str, float]:
    """Return the percentage of a core that a process takes, and its queries a second, counted in the server's log."""
    with world.connect() as conn:
        conn.execute("ALTER SYSTEM SET log_line_prefix = '%a|'")
        conn.execute("ALTER SYSTEM SET log_statement = 'all'")
        conn.execute("SELECT pg_reload_conf()")
    time.sleep(1.0)
    before, statements = cpu_s(process.pid), _statements(world)
    started = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    cpu, queries = cpu_s(process.pid) - before, _statements(world) - statements
    with world.connect() as conn:
        conn.execute("ALTER SYSTEM RESET ALL")
        conn.execute("SELECT pg_reload_conf()")
    return {"idle: share of a core": cpu / elapsed * 100, "idle: queries": queries / elapsed}


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that all threads of a process have taken (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _statements(world: World) -> int:
    lines = (world.postgres.directory / "server.log").read_text("utf-8", "replace").splitlines()
    return sum(
        line.startswith("outbox-relay") and ("|LOG:  statement: " in line or "|LOG:  execute " in line)
        for line in lines
    )
