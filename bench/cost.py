"""What an event costs the relay's process, us of CPU: a drain into a relay that runs, beside the ceiling's."""

import resource
import time
from statistics import median

from bench.figures import ratios
from bench.processes import scheduled_s
from bench.report import Figure, Report
from bench.world import World

_BAR_CEILING = 0.9
_BARS = {"singles": 11.0, "atomic": 8.0}
# Of a round: what a process reads and writes has left the caches of the core after so many events.
_ROWS = 60_000
_REST_S = 3.0
# The last marks, and what follows them, belong to the drain.
_SETTLE_S = 1.0
_ENDS_WITHIN_S = 30.0


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure relay and ceiling by turns, in both ways to publish."""
    rows = _ROWS // 6 if quick else _ROWS
    for strategy, bar in _BARS.items():
        relays, ceilings = [], []
        for number in range(rounds):
            relays.append(relay(world, rows, strategy))
            ceilings.append(ceiling(world, rows, strategy))
            report.progress(
                f"cost, round {number + 1}: {strategy}: relay {relays[-1]:.1f} us, ceiling {ceilings[-1]:.1f} us"
            )
        compared = ratios(relays, ceilings)
        for name, each, unit, at_most in (
            (f"{strategy}: CPU of an event, relay", relays, "us", bar),
            (f"{strategy}: CPU of an event, ceiling", ceilings, "us", None),
            (f"{strategy}: relay / ceiling", compared, "", _BAR_CEILING),
        ):
            report.add(Figure("cost", name, median(each), unit, at_most=at_most, rounds=each))


def relay(world: World, rows: int, strategy: str) -> float:
    """Return the us of an event of ``relay run``, without what it takes at rest in the same time."""
    _prepare(world, strategy)
    with world.relay({"RELAY_DELIVERY__STRATEGY": strategy}) as process:
        # Before the first event that goes to a stream the relay writes the stream down.
        world.wait_until_drained(process, world.fill(1))
        time.sleep(_SETTLE_S)
        resting, began = scheduled_s([process.pid]), time.monotonic()
        time.sleep(_REST_S)
        begun = scheduled_s([process.pid])
        at_rest = (begun - resting) / (time.monotonic() - began)
        began = time.monotonic()
        world.wait_until_drained(process, world.fill(rows))
        time.sleep(_SETTLE_S)
        taken = scheduled_s([process.pid]) - begun
        return (taken - at_rest * (time.monotonic() - began)) / rows * 1e6


def ceiling(world: World, rows: int, strategy: str) -> float:
    """Return the us of an event of the barest path, without what the same program takes if there are no rows."""
    _prepare(world, strategy)
    without = _ceiling_us(world, range(0), strategy)
    return (_ceiling_us(world, world.fill(rows), strategy) - without) / rows


def _prepare(world: World, strategy: str) -> None:
    world.use("cost")
    world.stream(atomic=strategy == "atomic")
    world.empty_outbox()


def _ceiling_us(world: World, seqs: range, strategy: str) -> float:
    before = _of_ended_children_us()
    with world.program("bench.ceiling", world.dsn, world.nats.url, strategy) as process:
        if seqs:
            world.wait_until_drained(process, seqs)
        if process.wait(_ENDS_WITHIN_S) != 0:
            raise RuntimeError(f"the ceiling ended with {process.returncode}")
    return _of_ended_children_us() - before


def _of_ended_children_us() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1e6
