"""How soon an event arrives, at 50 events a second, at 1,000 and at six a minute, and what the relay costs at rest."""

import json
import os
import random
import subprocess
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.figures import p50_p99, ratios
from bench.report import Figure, Report
from bench.world import SUBJECTS, World

EVENTS_A_SECOND = 50
_SETTLE_S = 3.0
# A turn of each contender, and what lies between two of them: the last marks.
_TURN_S = 2
_A_TURN = EVENTS_A_SECOND * _TURN_S
_MARKED_S = 0.2
# A thousand events a second, by so many producers.
_PRODUCERS = 4
_EACH_A_SECOND = 250
_BUSY_S = 10
# Between two events of a relay to which hardly anything comes.
_SELDOM_S = 10.0
_SELDOM = 10
# As much earlier or later at random: a fixed beat would keep step with the relay's own, for good or bad luck.
_AT_RANDOM = 0.2
_BARS = {
    "commit returned to arrival, p50": 1.0,
    "commit returned to arrival, p99": 3.0,
    "p50: relay / barest path": 1.1,
    "share of a core": 5.0,
    "1,000 events a second: commit returned to arrival, p99": 8.0,
    "an event each 10 s: commit returned to arrival, p50": 1.0,
    "idle: queries": 3.0,
}
_BELOW = {"idle: share of a core": 1.0}
_UNITS = {
    "1,000 events a second: committed": "events/s",
    "share of a core": "%",
    "barest path, share of a core": "%",
    "idle: share of a core": "%",
    "idle: queries": "queries/s",
}
_INSERT = """
    INSERT INTO outbox_events (id, topic, key, payload) VALUES (%s, 'orders.placed', %s, '{"order": 1, "total": 42}')
"""


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure latency beside the barest path, and then idleness, with one relay a round."""
    seconds = 4 if quick else 20
    figures: dict[str, list[float]] = {}
    for number in range(rounds):
        world.use("latency_bare")
        world.empty_outbox()
        bare = world.dsn
        world.use("latency")
        world.empty_outbox()
        world.stream(atomic=True)
        with world.relay() as process:
            with world.program("bench.bare", bare, world.nats.url) as other:
                assert other.stdout is not None
                other.stdout.readline()
                first_of_each(world, bare)
                time.sleep(_SETTLE_S)
                values = report.quiet.take_all(
                    "latency", partial(beside, world, (process, other), bare, seconds, number)
                )
                time.sleep(_SETTLE_S)
                values |= report.quiet.take_all("seldom", partial(seldom, world, bare, 2 if quick else _SELDOM, number))
            values |= report.quiet.take_all("busy", partial(busy, world, 2 if quick else _BUSY_S, number))
            time.sleep(_SETTLE_S)
            values |= report.quiet.take_all("idle", partial(idle, world, process, seconds))
        for name, value in values.items():
            figures.setdefault(name, []).append(value)
        report.progress(
            f"latency, round {number + 1}: " + "; ".join(f"{name} {value:.2f}" for name, value in values.items())
        )
    for name in ("p50", "p99"):
        pairs = figures[f"commit returned to arrival, {name}"], figures[f"barest path, {name}"]
        figures[f"{name}: relay / barest path"] = ratios(*pairs)
    for name, each in figures.items():
        unit = _UNITS.get(name, "" if "/" in name else "ms")
        report.add(
            Figure("latency", name, median(each), unit, at_most=_BARS.get(name), below=_BELOW.get(name), rounds=each)
        )


def first_of_each(world: World, bare: str) -> None:
    """Commit an event for each contender: before the first that goes to a stream the relay writes the stream down."""
    with world.connect() as ours, psycopg.connect(bare, autocommit=True) as theirs:
        for conn in (ours, theirs):
            commit(conn, Sent(), 1, random.Random())


def beside(
    world: World, processes: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]], bare: str, seconds: int, seed: int
) -> dict[str, float]:
    """Commit events at random moments, by turns for the relay and for the barest path; return the ms to arrival.

    Each has `seconds` in all. What a process takes of a core is counted in its own turns.

    Args:
        world: Both outboxes, the one of the relay in use.
        processes: The relay's, and that of the barest path.
        bare: The DSN of the other.
        seconds: For each of them.
        seed: Of the random moments.
    """
    chance = random.Random(seed)
    turns = seconds // _TURN_S
    with (
        world.program("bench.subscriber", world.nats.url, SUBJECTS, str(2 * turns * _A_TURN)) as subscriber,
        world.connect() as ours,
        psycopg.connect(bare, autocommit=True) as theirs,
    ):
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        sent, cpu, elapsed = (Sent(), Sent()), [0.0, 0.0], [0.0, 0.0]
        for number in range(turns):
            # Neither goes first each time.
            for which in (0, 1) if number % 2 else (1, 0):
                before, began = cpu_s(processes[which].pid), time.monotonic()
                commit((ours, theirs)[which], sent[which], _A_TURN, chance)
                time.sleep(_MARKED_S)
                cpu[which] += cpu_s(processes[which].pid) - before
                elapsed[which] += time.monotonic() - began
        arrived: dict[str, int] = json.loads(subscriber.stdout.readline())
    relay, barest = sent
    figures = relay.figures(arrived)
    figures["barest path, p50"], figures["barest path, p99"] = p50_p99(barest.since_returned(arrived))
    figures["share of a core"] = cpu[0] / elapsed[0] * 100
    figures["barest path, share of a core"] = cpu[1] / elapsed[1] * 100
    return figures


class Sent:
    """What was committed: when its ``COMMIT`` was sent and when it returned, ns of the monotonic clock, by id."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        self.returned: dict[str, int] = {}

    def since_returned(self, arrived: Mapping[str, int]) -> list[float]:
        """Return the ms from the return of each ``COMMIT`` to the arrival."""
        return [(arrived[identity] - at) / 1e6 for identity, at in self.returned.items()]

    def figures(self, arrived: Mapping[str, int]) -> dict[str, float]:
        """Return median and 99th percentile since the return of each ``COMMIT``, and since its sending."""
        found: dict[str, float] = {}
        since_sent = [(arrived[identity] - at) / 1e6 for identity, at in self.sent.items()]
        for name, values in (("returned", self.since_returned(arrived)), ("sent", since_sent)):
            p50, p99 = p50_p99(values)
            found[f"commit {name} to arrival, p50"] = p50
            found[f"commit {name} to arrival, p99"] = p99
        return found


def commit(conn: psycopg.Connection[Any], events: Sent, number: int, chance: random.Random) -> None:
    """Commit so many events at random moments (a Poisson process), and note when."""
    due = time.monotonic()
    for at in range(number):
        due += chance.expovariate(EVENTS_A_SECOND)
        time.sleep(max(0.0, due - time.monotonic()))
        identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        conn.execute("BEGIN")
        conn.execute(_INSERT, (identity, f"k{at % 1000}"))
        events.sent[identity] = time.monotonic_ns()
        conn.execute("COMMIT")
        events.returned[identity] = time.monotonic_ns()


def seldom(world: World, bare: str, events: int, seed: int) -> dict[str, float]:
    """Commit an event some ten seconds after the last for the relay, and one for the barest path in between."""
    chance = random.Random(f"seldom {seed}")
    with (
        world.program("bench.subscriber", world.nats.url, SUBJECTS, str(2 * events)) as subscriber,
        world.connect() as ours,
        psycopg.connect(bare, autocommit=True) as theirs,
    ):
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        relay, barest = Sent(), Sent()
        for _ in range(events):
            for conn, sent in ((ours, relay), (theirs, barest)):
                time.sleep(_SELDOM_S / 2 * chance.uniform(1 - _AT_RANDOM, 1 + _AT_RANDOM))
                commit(conn, sent, 1, chance)
        arrived: dict[str, int] = json.loads(subscriber.stdout.readline())
    return {
        "an event each 10 s: commit returned to arrival, p50": median(relay.since_returned(arrived)),
        "an event each 10 s: barest path, p50": median(barest.since_returned(arrived)),
    }


def busy(world: World, seconds: int, seed: int) -> dict[str, float]:
    """Commit a thousand events a second at random moments, by several producers; return the ms to arrival."""
    each = seconds * _EACH_A_SECOND
    with (
        world.program("bench.subscriber", world.nats.url, SUBJECTS, str(_PRODUCERS * each)) as subscriber,
        ThreadPoolExecutor(_PRODUCERS) as pool,
    ):
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        seeds = range(seed * _PRODUCERS, (seed + 1) * _PRODUCERS)
        producers = list(pool.map(partial(_produce, world, each), seeds))
        arrived: dict[str, int] = json.loads(subscriber.stdout.readline())
    p50, p99 = p50_p99([one for sent in producers for one in sent.since_returned(arrived)])
    committed = [at for sent in producers for at in sent.returned.values()]
    name = "1,000 events a second"
    return {
        f"{name}: commit returned to arrival, p50": p50,
        f"{name}: commit returned to arrival, p99": p99,
        f"{name}: committed": len(committed) / (max(committed) - min(committed)) * 1e9,
    }


def _produce(world: World, events: int, seed: int) -> Sent:
    """Commit so many events over a connection of its own, each in one statement."""
    sent, chance = Sent(), random.Random(f"busy {seed}")
    with world.connect() as conn:
        due = time.monotonic()
        for at in range(events):
            due += chance.expovariate(_EACH_A_SECOND)
            time.sleep(max(0.0, due - time.monotonic()))
            identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            sent.sent[identity] = time.monotonic_ns()
            conn.execute(_INSERT, (identity, f"k{at % 1000}"))
            sent.returned[identity] = time.monotonic_ns()
    return sent


def arrivals(world: World, events: int, seed: int) -> dict[str, float]:
    """Commit events at random moments; return the ms from COMMIT's return, and from its sending, to arrival."""
    committed = Sent()
    with (
        world.program("bench.subscriber", world.nats.url, SUBJECTS, str(events)) as subscriber,
        world.connect() as conn,
    ):
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        commit(conn, committed, events, random.Random(seed))
        arrived: dict[str, int] = json.loads(subscriber.stdout.readline())
    return committed.figures(arrived)


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
