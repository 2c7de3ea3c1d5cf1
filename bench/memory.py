"""The memory of the relay after a million rows."""

import time
from pathlib import Path
from statistics import median

from bench.report import Figure, Report
from bench.world import World

_BAR_MB = 80.0


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Drain a million rows a round and read the process's memory."""
    rows = 50_000 if quick else 1_000_000
    now: list[float] = []
    peak: list[float] = []
    for number in range(rounds):
        world.use("memory")
        world.empty_outbox()
        world.stream(atomic=True)
        seqs = world.fill(rows)
        with world.relay() as process:
            world.wait_until_drained(process, seqs)
            time.sleep(1.0)
            now.append(megabytes(process.pid, "VmRSS"))
            peak.append(megabytes(process.pid, "VmHWM"))
        report.progress(f"memory, round {number + 1}: {now[-1]:.1f} MB, peak {peak[-1]:.1f} MB")
    report.add(Figure("memory", f"after {rows:,} rows", median(now), "MB", below=_BAR_MB, rounds=now))
    report.add(Figure("memory", "peak", median(peak), "MB", rounds=peak))


def megabytes(pid: int, name: str) -> float:
    """Read a size of a process from the kernel, in millions of bytes: ``VmRSS``, ``VmHWM``."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {name} for process {pid}")
