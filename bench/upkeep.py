"""What projections take of the machine while nothing happens, and how soon another process takes one over."""

import os
import signal
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from bench.latency import idle
from bench.memory import megabytes
from bench.read_models import MODEL, append_events, await_position, empty_model, fill_stream, write_definition
from bench.report import Figure, Report
from bench.world import World
from relay.projection.ports import LEASE_S

_PROJECTIONS = 5
_SETTLE_S = 3.0
_BAR_MB = 100.0
_BAR_IDLE = 1.0
_BAR_TAKEOVER_S = LEASE_S + 2.0


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure one thing after the other, each with processes of its own."""
    world.use("upkeep")
    figures: dict[str, list[float]] = {}
    for number in range(rounds):
        values = _idle(world, report, seconds=4 if quick else 20)
        values |= {"five projections: memory": _memory(world, 2_000 if quick else 50_000)}
        values |= {"take-over after SIGKILL": _takeover(world, signal.SIGKILL)}
        values |= {"take-over after SIGTERM": _takeover(world, signal.SIGTERM)}
        for name, value in values.items():
            figures.setdefault(name, []).append(value)
        report.progress(
            f"upkeep, round {number + 1}: " + "; ".join(f"{name} {value:.2f}" for name, value in values.items())
        )
    units = {
        "idle: share of a core": "%",
        "idle: queries": "queries/s",
        "five projections: memory": "MB",
    }
    below = {"idle: share of a core": _BAR_IDLE, "five projections: memory": _BAR_MB}
    at_most = {"take-over after SIGKILL": _BAR_TAKEOVER_S}
    for name, each in figures.items():
        unit = units.get(name, "s")
        report.add(
            Figure("upkeep", name, median(each), unit, at_most=at_most.get(name), below=below.get(name), rounds=each)
        )


def _idle(world: World, report: Report, seconds: int) -> dict[str, float]:
    """Return what a projection that has applied everything takes."""
    fill_stream(world, 1_000)
    empty_model(world, tables=False)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        file = write_definition(Path(directory), "set")
        with world.projections(file) as process:
            await_position(world, 1_000)
            time.sleep(_SETTLE_S)
            return report.quiet.take_all("idle projection", partial(idle, world, process, seconds))


def _memory(world: World, events: int) -> float:
    """Return the MB of one process that keeps five models, a second after it has read the stream for each of them."""
    fill_stream(world, events)
    empty_model(world, tables=False)
    names = [f"{MODEL}_{number}" for number in range(_PROJECTIONS)]
    with world.connect() as conn:
        for name in names:
            conn.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        for name in names:
            write_definition(Path(directory), "set", name)
        with world.projections(Path(directory)) as process:
            await_position(world, events, _PROJECTIONS)
            time.sleep(1.0)
            return megabytes(process.pid, "VmRSS")


def _takeover(world: World, number: signal.Signals) -> float:
    """End the owner of two processes; return the seconds until the other one has applied the next event."""
    fill_stream(world, 1_000)
    empty_model(world, tables=False)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory, ExitStack() as processes:
        file = write_definition(Path(directory), "set")
        both = [processes.enter_context(world.projections(file)) for _ in range(2)]
        await_position(world, 1_000)
        # Until the other one is up as well, and asks for the partition once a second.
        time.sleep(_SETTLE_S)
        owner = world.ask("SELECT owner FROM projection.state")
        first = next(process for process in both if f":{process.pid}:" in owner)
        os.kill(first.pid, number)
        ended_at = time.monotonic()
        append_events(world, 1, first_seq=1_001)
        await_position(world, 1_001)
        took = time.monotonic() - ended_at
        # A second signal would meet it on its way out.
        first.wait(30)
    return took
