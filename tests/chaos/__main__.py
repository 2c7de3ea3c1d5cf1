"""``python -m tests.chaos``: run, judge, and say it in one line."""

import argparse
import asyncio
import contextlib
import logging
import random
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.checker import Findings, check, excused, percentile, recoveries
from tests.chaos.faults import KINDS
from tests.chaos.history import Applied, Fault, History, Stored, Transaction, read
from tests.chaos.run import OF_TWO, Plan, Run
from tests.chaos.world import World
from tests.support.faulty_relay.mutants import MUTANTS

_SHOWN = 10
_SHARES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything, and lose nothing.")
    parser.add_argument("--minutes", type=float, default=1.0, help="for which faults come (1)")
    parser.add_argument("--seed", type=int, help="of all that comes by chance; one is drawn if none is given")
    parser.add_argument("--faults", type=int, metavar="N", help="stop after N faults")
    parser.add_argument("--only", metavar="KIND[,KIND]", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second, about (200)")
    parser.add_argument("--pairs", type=float, default=0.2, help="share of the faults that come in twos (0.2)")
    parser.add_argument("--window", type=float, default=5.0, help="duplicate window of ORDERS, seconds (5)")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for each recovery (60)")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="break a promise of the relays, to see it found")
    parser.add_argument("--history", type=Path, metavar="FILE", help="where the history goes (a temporary file)")
    parser.add_argument("--check", type=Path, nargs="+", metavar="FILE", help="judge histories again, and run nothing")
    options = parser.parse_args(arguments)
    if options.check is not None:
        return again(options.check)
    kinds = options.only.split(",") if options.only else list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(f"unknown kind of fault: {', '.join(unknown)}")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    # The client library reports each lost connection of ours; the history does so in its own way.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    plan = Plan(
        seed,
        options.minutes * 60,
        options.faults,
        kinds,
        options.rate,
        options.pairs,
        options.patience,
        until_found=options.mutant is not None,
    )
    directory = Path(tempfile.mkdtemp(prefix="relay-chaos-"))
    file = options.history or directory / "history.jsonl"
    print(f"seed {seed}, {options.minutes:g} minutes; history {file}, logs {directory}", flush=True)
    with file.open("w", encoding="utf-8") as sink:
        history = History(file=sink)
        asyncio.run(_run(World(directory, window_s=options.window, mutant=options.mutant), plan, history))
    return report(f"seed={seed}", history)


async def _run(world: World, plan: Plan, history: History) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with world:
        await Run(world, plan, history).run()


def again(files: Sequence[Path]) -> int:
    """Judge histories again, one after another; of several also report the recoveries of all together."""
    codes = []
    all_of_them: dict[str, list[float]] = defaultdict(list)
    for file in files:
        history = read(file)
        codes.append(report(f"checked={file.name}", history))
        for kind, times in recoveries(history).items():
            all_of_them[kind.removesuffix(OF_TWO)] += times
    if len(files) > 1:
        print(f"all of them, {sum(map(len, all_of_them.values()))} recoveries:")
        _table(all_of_them)
    return max(codes)


def _table(by_kind: Mapping[str, list[float]]) -> None:
    for kind, times in sorted(by_kind.items()):
        shares = "  ".join(f"{name} {percentile(times, share):5.2f} s" for name, share in _SHARES.items())
        print(f"  {kind:<32} {len(times):>4}  {shares}")


def report(name: str, history: History) -> int:
    """Print what was found; return the exit code."""
    findings = check(history)
    by_kind = recoveries(history)
    _table(by_kind)
    _name(findings)
    print(_figures(name, history, findings, by_kind))
    return 1 if findings else 0


def _name(findings: Findings) -> None:
    for what, count in findings.counts().items():
        for line in getattr(findings, what)[:_SHOWN]:
            print(f"  {what}: {line}")
        if count > _SHOWN:
            print(f"  {what}: and {count - _SHOWN} more")


def _figures(name: str, history: History, findings: Findings, by_kind: Mapping[str, list[float]]) -> str:
    of_relays: list[float] = []
    of_readers: list[float] = []
    for kind, times in by_kind.items():
        (of_readers if KINDS[kind.removesuffix(OF_TWO)].of_readers else of_relays).extend(times)
    transactions = list(history.of(Transaction))
    committed = sum(len(one.inserts) for one in transactions if one.outcome == "committed")
    figures = {
        "faults": sum(1 for _ in history.of(Fault)),
        "committed": committed,
        "rolled_back": sum(len(one.inserts) for one in transactions if one.outcome == "rolled back"),
        "stored": sum(1 for _ in history.of(Stored)),
        "applied": sum(1 for _ in history.of(Applied)),
        **findings.counts(),
        **excused(history),
    }
    line = " ".join(f"{key}={value}" for key, value in figures.items())
    return f"{name} {line} {_recovery('recovery', of_relays)} {_recovery('models_recovery', of_readers)}"


def _recovery(name: str, times: Sequence[float]) -> str:
    return " ".join(f"{name}_{share}_s={percentile(times, part):.2f}" for share, part in _SHARES.items())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
