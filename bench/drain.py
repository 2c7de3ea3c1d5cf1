"""Drain 100,000 rows: the relay, its ceiling and its rival, each with one process of its own."""

from collections.abc import Callable
from statistics import median

from bench.quiet import Quiet
from bench.report import Figure, Report
from bench.world import World

_BAR_CEILING = 0.85
_BAR_RIVAL = 15.0


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure each contender once a round, one after the other."""
    rows = 20_000 if quick else 100_000
    quiet = report.quiet
    contenders: dict[str, Callable[[], float]] = {
        "relay, singles": lambda: relay(world, quiet, rows, "singles"),
        "ceiling, singles": lambda: ceiling(world, quiet, rows, "singles"),
        "relay, atomic": lambda: relay(world, quiet, rows, "atomic"),
        "ceiling, atomic": lambda: ceiling(world, quiet, rows, "atomic"),
        "rival": lambda: rival(world, quiet, rows),
        "rival with an index": lambda: rival(world, quiet, rows // 10, indexed=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, measure in contenders.items():
            rates[name].append(quiet.take(f"drain: {name}", measure))
            report.progress(f"drain, round {number + 1}: {name}: {rates[name][-1]:,.0f} events/s")
    middle = {name: median(values) for name, values in rates.items()}
    for name, values in rates.items():
        report.add(Figure("drain", name, middle[name], "events/s", rounds=values))
    for strategy in ("singles", "atomic"):
        ours = rates[f"relay, {strategy}"]
        to_ceiling = [a / b for a, b in zip(ours, rates[f"ceiling, {strategy}"], strict=True)]
        to_rival = [a / b for a, b in zip(ours, rates["rival"], strict=True)]
        report.add(
            Figure(
                "drain",
                f"{strategy}: relay / ceiling",
                median(to_ceiling),
                "",
                at_least=_BAR_CEILING,
                rounds=to_ceiling,
            )
        )
        report.add(
            Figure(
                "drain",
                f"{strategy}: relay / rival",
                median(to_rival),
                "times",
                at_least=_BAR_RIVAL,
                rounds=to_rival,
            )
        )


def _prepare(world: World, rows: int, strategy: str) -> range:
    world.use("drain")
    world.stream(atomic=strategy == "atomic")
    world.empty_outbox()
    return world.fill(rows)


def relay(world: World, quiet: Quiet, rows: int, strategy: str) -> float:
    """Return the events a second of ``relay run`` with its defaults."""
    seqs = _prepare(world, rows, strategy)
    quiet.begin()
    with world.relay({"RELAY_DELIVERY__STRATEGY": strategy}) as process:
        world.wait_until_drained(process, seqs)
    return world.drain_rate(seqs)


def ceiling(world: World, quiet: Quiet, rows: int, strategy: str) -> float:
    """Return the events a second of the barest path."""
    seqs = _prepare(world, rows, strategy)
    quiet.begin()
    with world.program("bench.ceiling", world.dsn, world.nats.url, strategy) as process:
        world.wait_until_drained(process, seqs)
    return world.drain_rate(seqs)


def rival(world: World, quiet: Quiet, rows: int, *, indexed: bool = False) -> float:
    """Return the events a second of what most teams write, on our table or with an index of the pending rows.

    Our table has no such index, so each of its SELECTs passes over all that is delivered already.
    """
    seqs = _prepare(world, rows, "singles")
    if indexed:
        with world.connect() as conn:
            conn.execute("CREATE INDEX ON outbox_events (seq) WHERE delivered_at IS NULL")
            conn.execute("CHECKPOINT")
    quiet.begin()
    with world.program("bench.rival", world.dsn, world.nats.url) as process:
        world.wait_until_drained(process, seqs)
    return world.drain_rate(seqs)
