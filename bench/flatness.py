"""Whether a drain stays as fast as the table grows, and while somebody holds an old snapshot open."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import mean, median

from bench.quiet import Quiet
from bench.report import Figure, Report
from bench.world import World

_BAR = 0.9
_HELD = "a read transaction open"


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Drain with each table, there and back in a round.

    The large tables are made once and grow by what is drained; the smallest is made again each time.
    """
    rows = 10_000 if quick else 300_000
    sizes = (1_000, 50_000, 100_000) if quick else (10_000, 1_000_000, 5_000_000)
    names = [*(f"{size:,} delivered rows" for size in sizes), _HELD]
    rates: dict[str, list[float]] = {name: [] for name in names}
    cases = list(zip(names, (*sizes, sizes[0]), strict=True))
    for number in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in names}
        for name, size in (*cases, *reversed(cases)):
            keep, held = size != sizes[0], name == _HELD
            drain = partial(_drain, world, report.quiet, rows, size, keep=keep, held=held)
            taken[name].append(report.quiet.take(f"flatness: {name}", drain))
        for name, values in taken.items():
            rates[name].append(mean(values))
            report.progress(f"flatness, round {number + 1}: {name}: {rates[name][-1]:,.0f} events/s")
    middle = {name: median(values) for name, values in rates.items()}
    for name, values in rates.items():
        report.add(Figure("flatness", name, middle[name], "events/s", rounds=values))
    lowest, highest = min(middle.values()), max(middle.values())
    report.add(Figure("flatness", "slowest / fastest", lowest / highest, "", at_least=_BAR))


def _drain(world: World, quiet: Quiet, rows: int, delivered: int, *, keep: bool, held: bool) -> float:
    new = world.use(f"flatness_{delivered}")
    if new or not keep:
        world.empty_outbox(delivered)
    world.stream(atomic=True)
    world.forget_streams()
    with _snapshot(world) if held else nullcontext():
        seqs = world.fill(rows)
        quiet.begin()
        with world.relay() as process:
            world.wait_until_drained(process, seqs)
    return world.drain_rate(seqs)


@contextmanager
def _snapshot(world: World) -> Iterator[None]:
    """Hold a snapshot from before the rows: no version of theirs can be cleaned away."""
    with world.connect() as conn:
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute("SELECT count(*) FROM outbox_shards")
        yield
        conn.execute("COMMIT")
