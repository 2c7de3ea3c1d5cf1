"""Read a backlog into a model: a projection, its ceiling and its rival, each with one process of its own."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.figures import rate, ratios
from bench.quiet import Quiet
from bench.read_models import empty_model, fill_stream, watch_model, write_definition
from bench.report import Figure, Report
from bench.world import World

_BAR_CEILING = 0.85
_BAR_RIVAL = 20.0


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure each contender once a round, one after the other."""
    many, few = (20_000, 3_000) if quick else (100_000, 10_000)
    quiet = report.quiet
    contenders: dict[str, Callable[[], float]] = {
        "projection, set": lambda: _projection(world, quiet, many, "set"),
        "ceiling, set": lambda: _ceiling(world, quiet, many, "set"),
        "projection, each": lambda: _projection(world, quiet, many, "each"),
        "ceiling, each": lambda: _ceiling(world, quiet, many, "each"),
        "rival": lambda: _rival(world, quiet, few),
    }
    world.use("projection")
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, measure in contenders.items():
            rates[name].append(quiet.take(f"projection: {name}", measure))
            report.progress(f"projection, round {number + 1}: {name}: {rates[name][-1]:,.0f} events/s")
    for name, values in rates.items():
        report.add(Figure("projection", name, median(values), "events/s", rounds=values))
    for name, ours, base, bar, unit in (
        ("set: projection / ceiling", "projection, set", "ceiling, set", _BAR_CEILING, ""),
        ("each: projection / ceiling", "projection, each", "ceiling, each", _BAR_CEILING, ""),
        ("set: projection / rival", "projection, set", "rival", _BAR_RIVAL, "times"),
    ):
        each = ratios(rates[ours], rates[base])
        report.add(Figure("projection", name, median(each), unit, at_least=bar, rounds=each))


def _prepare(world: World, quiet: Quiet, events: int, *, tables: bool) -> None:
    fill_stream(world, events)
    empty_model(world, tables=tables)
    quiet.begin()


def _projection(world: World, quiet: Quiet, events: int, mode: str) -> float:
    """Return the events a second of ``relay projection run`` with its defaults."""
    _prepare(world, quiet, events, tables=False)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        file = write_definition(Path(directory), mode)
        with world.projections(file) as process:
            return rate(watch_model(world, process, events))


def _ceiling(world: World, quiet: Quiet, events: int, mode: str) -> float:
    """Return the events a second of the barest path."""
    _prepare(world, quiet, events, tables=True)
    with world.program("bench.projection_ceiling", world.dsn, world.nats.url, mode) as process:
        return rate(watch_model(world, process, events))


def _rival(world: World, quiet: Quiet, events: int) -> float:
    """Return the events a second of what most teams write."""
    _prepare(world, quiet, events, tables=True)
    with world.program("bench.projection_rival", world.dsn, world.nats.url, "bench_rival") as process:
        return rate(watch_model(world, process, events))
