"""The start and the memory of the relay before a backlog of ten million rows."""

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import psycopg

from bench.memory import megabytes
from bench.report import Figure, Report
from bench.world import World

_BAR_MB = 80.0
_BAR_START = 1.5
_WAIT_S = 60.0


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Start before a few rows and before all of them, in turns; then let it work, and read the process's memory."""
    rows = 100_000 if quick else 10_000_000
    work_s = 5.0 if quick else 60.0
    world.use("backlog")
    world.empty_outbox()
    world.stream(atomic=True)
    few = [_first_mark_s(world, world.fill(10)[0], {}) for _ in range(rounds)]
    many: list[float] = []
    first = world.fill(rows)[0]
    for number in range(rounds):
        # One event in flight: that it has begun must not shorten what is left for the next round by much.
        many.append(_first_mark_s(world, first, {"RELAY_DELIVERY__WINDOW": "1"}))
        first = world.ask("SELECT min(seq) FROM outbox_events WHERE delivered_at IS NULL")
        report.progress(f"backlog, round {number + 1}: begins after {few[number]:.2f} s, {many[number]:.2f} s")
    with world.relay() as process:
        time.sleep(work_s)
        peak = megabytes(process.pid, "VmHWM")
    delivered = world.ask("SELECT count(*) FROM outbox_events WHERE delivered_at IS NOT NULL")
    report.progress(f"backlog: {delivered:,} delivered, peak {peak:.1f} MB")
    ratio = median(many) / median(few)
    report.add(Figure("backlog", "from start to the first mark, 10 rows", median(few), "s", rounds=few))
    report.add(Figure("backlog", f"the same, {rows:,} rows", median(many), "s", rounds=many))
    report.add(Figure("backlog", "start: many / few", ratio, "", at_most=_BAR_START))
    report.add(Figure("backlog", f"peak of {work_s:.0f} s at work", peak, "MB", below=_BAR_MB))


def _first_mark_s(world: World, seq: int, settings: Mapping[str, str]) -> float:
    """Start a relay; return the seconds until an event is marked."""
    with world.connect() as conn:
        began = time.monotonic()
        with world.relay(settings) as process:
            while not _is_marked(conn, seq):
                if process.poll() is not None or time.monotonic() - began > _WAIT_S:
                    raise RuntimeError("the relay has not begun")
                time.sleep(0.005)
            took = time.monotonic() - began
    return took


def _is_marked(conn: psycopg.Connection[Any], seq: int) -> bool:
    return conn.execute("SELECT delivered_at IS NOT NULL FROM outbox_events WHERE seq = %s", (seq,)).fetchone() == (
        True,
    )
