"""Whether a projection is as fast once it has applied ten million events."""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from bench.figures import rate, ratios
from bench.quiet import Quiet
from bench.read_models import (
    MODEL,
    ORIGIN,
    append_events,
    await_position,
    empty_model,
    fill_stream,
    watch_model,
    write_definition,
)
from bench.report import Figure, Report
from bench.world import World
from relay.projection.rules.seq_bits import CHUNK_SEQS

_BAR = 0.9
_FIRST = 10_000
# What a projection has written once it has applied every event up to a seq: a bit for each, in chunks of 8,192.
_SETTLED = """
    INSERT INTO projection.applied (name, generation, partition, origin, chunk, bits, newest)
    SELECT %s, 1, 0, %s, chunk, decode(repeat('ff', 1024), 'hex'), 0 FROM generate_series(0, %s) AS chunk
    ON CONFLICT (name, generation, partition, origin, chunk) DO UPDATE SET bits = excluded.bits
"""


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure both once a round, one after the other."""
    many, events = (100_000, 20_000) if quick else (10_000_000, 100_000)
    world.use("applied")
    cases = {f"{_FIRST:,} applied": _FIRST, f"{many:,} applied": many}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, applied in cases.items():
            rates[name].append(
                report.quiet.take(f"applied: {name}", partial(_projection, world, report.quiet, applied, events))
            )
            report.progress(f"applied, round {number + 1}: {name}: {rates[name][-1]:,.0f} events/s")
    for name, values in rates.items():
        report.add(Figure("applied", name, median(values), "events/s", rounds=values))
    few, lots = rates.values()
    each = ratios(lots, few)
    report.add(Figure("applied", "many / few", median(each), "", at_least=_BAR, rounds=each))


def _projection(world: World, quiet: Quiet, applied: int, events: int) -> float:
    """Return the events a second of a projection that has applied so many before."""
    fill_stream(world, _FIRST)
    empty_model(world, tables=False)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        file = write_definition(Path(directory), "set")
        with world.projections(file):
            await_position(world, _FIRST)
        if applied > _FIRST:
            with world.connect() as conn:
                conn.execute(_SETTLED, (MODEL, ORIGIN, applied // CHUNK_SEQS - 1))
        append_events(world, events, first_seq=applied + 1)
        with world.connect() as conn:
            conn.execute("VACUUM ANALYZE projection.applied")
            conn.execute("CHECKPOINT")
        quiet.begin()
        with world.projections(file) as process:
            return rate(watch_model(world, process, events, before=_FIRST))
