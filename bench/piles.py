"""Whether piles of events that cannot go, and of seqs that may still come, slow down an event that nothing holds."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from statistics import median
from typing import LiteralString

import nats
import psycopg
from nats.js.api import DiscardPolicy
from nats.js.errors import NotFoundError

from bench.latency import EVENTS_A_SECOND, arrivals, cpu_s
from bench.report import Figure, Report
from bench.world import World

_FULL = "FULL"
_TAKES = 10
_SETTLE_S = 10.0
_BAR_TIMES = 3.0
_BAR_CORE = 30.0
_P99 = "commit returned to arrival, p99"

# Each of a subject of its own, which no stream takes.
_HOMELESS: LiteralString = """
    INSERT INTO outbox_events (topic, key, payload)
    SELECT 'nowhere.s' || i, 'n' || i, '{"order": 1}' FROM generate_series(1, %s::bigint) i
"""
_FOR_FULL: LiteralString = """
    INSERT INTO outbox_events (topic, key, payload)
    SELECT 'full.x', 'f' || mod(i, 1000), '{"order": 1}' FROM generate_series(1, %s::bigint) i
"""
# Between two rows a number is drawn that no row has.
_WITH_GAPS: LiteralString = """
    INSERT INTO outbox_events (topic, key, payload)
    SELECT 'orders.placed', 'g' || mod(i, 1000), '{"order": 1}' FROM generate_series(1, %s::bigint) i
    WHERE nextval(pg_get_serial_sequence('outbox_events', 'seq')) > 0
"""

_LEFT: LiteralString = "SELECT count(*) FROM outbox_events WHERE delivered_at IS NULL AND topic = 'orders.placed'"


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure a quiet relay, then the same one with all piles, and with each by itself in the first round."""
    seconds = 4 if quick else 20
    size = 10 if quick else 1
    piles: dict[str, Callable[[World], Iterator[None]]] = {
        "20,000 subjects without a stream": partial(_pending, query=_HOMELESS, rows=20_000 // size),
        "a full stream of 200,000": partial(_pending, query=_FOR_FULL, rows=200_000 // size),
        "100,000 open gaps": partial(_gaps, rows=100_000 // size),
    }
    settings = {"all at once": list(piles), **{name: [name] for name in piles}}
    figures: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for name, chosen in settings.items():
            if number and name != "all at once":
                continue
            values = _beside(world, report, [piles[one] for one in chosen], seconds, number)
            for figure, value in values.items():
                figures.setdefault(name, {}).setdefault(figure, []).append(value)
            report.progress(
                f"piles, round {number + 1}: {name}: "
                + "; ".join(f"{one} {value:.2f}" for one, value in values.items())
            )
    for name, measured in figures.items():
        barred = name == "all at once"
        for figure, unit, at_most, below in (
            ("quiet: p99", "ms", None, None),
            ("p99", "ms", None, None),
            ("p99 / quiet", "times", _BAR_TIMES if barred else None, None),
            ("share of a core", "%", None, _BAR_CORE if barred else None),
        ):
            each = measured[figure]
            report.add(
                Figure("piles", f"{name}: {figure}", median(each), unit, at_most=at_most, below=below, rounds=each)
            )


def _beside(
    world: World, report: Report, piles: list[Callable[[World], Iterator[None]]], seconds: int, seed: int
) -> dict[str, float]:
    world.use("piles")
    world.empty_outbox()
    world.stream(atomic=True)
    asyncio.run(_make_full(world.nats.url))
    with world.relay() as process, ExitStack() as stack:
        time.sleep(3.0)
        seeds = count(1000 * seed)

        def measure() -> dict[str, float]:
            return arrivals(world, seconds * EVENTS_A_SECOND, next(seeds))

        quiet = report.quiet.take_all("piles: quiet", measure)[_P99]
        for pile in piles:
            stack.enter_context(contextmanager(pile)(world))
        time.sleep(_SETTLE_S)

        def laden() -> dict[str, float]:
            before, started = cpu_s(process.pid), time.monotonic()
            p99 = measure()[_P99]
            return {"p99": p99, "share": (cpu_s(process.pid) - before) / (time.monotonic() - started) * 100}

        found = report.quiet.take_all("piles", laden)
        # How it ends with all of that in hand is not measured.
        process.kill()
        process.wait()
    return {
        "quiet: p99": quiet,
        "p99": found["p99"],
        "p99 / quiet": found["p99"] / quiet,
        "share of a core": found["share"],
    }


def _pending(world: World, query: LiteralString, rows: int) -> Iterator[None]:
    with world.connect() as conn:
        conn.execute(query, (rows,))
    yield


def _gaps(world: World, rows: int) -> Iterator[None]:
    """Keep a transaction open that may own each of the seqs that no row has."""
    with psycopg.connect(world.dsn) as owner:
        owner.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', '{}')")
        with world.connect() as conn:
            conn.execute(_WITH_GAPS, (rows,))
            while conn.execute(_LEFT).fetchone() != (0,):
                time.sleep(0.5)
        yield
        owner.rollback()


async def _make_full(url: str) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    with suppress(NotFoundError):
        await js.delete_stream(_FULL)
    await js.add_stream(name=_FULL, subjects=["full.>"], max_msgs=_TAKES, discard=DiscardPolicy.NEW)
    await client.close()
