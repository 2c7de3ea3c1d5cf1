"""``python -m bench``: run the scenarios, print the table, write the JSON."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench import (
    adoption,
    applied,
    at_rest,
    backlog,
    console,
    cost,
    drain,
    flatness,
    footprint,
    latency,
    memory,
    piles,
    producers,
    projection,
    recovery,
    redis_store,
    resources,
    upkeep,
    visible,
)
from bench.report import Report
from bench.world import ROOT, World


class _Scenario(Protocol):
    def __call__(self, world: World, report: Report, *, rounds: int, quick: bool) -> None:
        """Measure, and add figures."""


SCENARIOS: dict[str, _Scenario] = {
    "drain": drain.run,
    "cost": cost.run,
    "latency": latency.run,
    "memory": memory.run,
    "footprint": footprint.run,
    "producers": producers.run,
    "flatness": flatness.run,
    "backlog": backlog.run,
    "piles": piles.run,
    "adoption": adoption.run,
    "recovery": recovery.run,
    "projection": projection.run,
    "redis": redis_store.run,
    "visible": visible.run,
    "upkeep": upkeep.run,
    "applied": applied.run,
    "console": console.run,
    "at_rest": at_rest.run,
    "resources": resources.run,
}
# They take ten minutes and more, and have no bars.
_ONLY_IF_NAMED = ("at_rest", "resources")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if a bar is missed and ``--check`` was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the relay on real servers.")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it works, not for figures")
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of which the median counts (3)")
    parser.add_argument("--json", type=Path, default=ROOT / "bench/results/latest.json", metavar="PATH")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    parser.add_argument(
        "--no-wait", action="store_true", help="do not wait for a quiet machine, and take no figure again: for ratios"
    )
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else [name for name in SCENARIOS if name not in _ONLY_IF_NAMED]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown or options.rounds < 1:
        parser.error(f"unknown scenario: {', '.join(unknown)}" if unknown else "--rounds must be at least 1")
    report = Report(patient=not options.no_wait)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory, World(Path(directory)) as world:
        report.machine |= world.versions()
        for name in names:
            SCENARIOS[name](world, report, rounds=options.rounds, quick=options.quick)
            world.forget_databases()
    print(report.table())
    report.write(options.json)
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
