"""What short commands take, and the memory of a relay that has nothing to do."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from bench.memory import megabytes
from bench.report import Figure, Report
from bench.world import ROOT, World

# Turns a round, of which the median is its figure.
_TURNS = 7
_START_S = 10.0
_AT_REST_S = 6.0
_PYTHON = "python -c pass"
_COMMANDS = {
    _PYTHON: ("-c", "pass"),
    "relay --version": ("-m", "relay", "--version"),
    "relay --help": ("-m", "relay", "--help"),
    "relay health": ("-m", "relay", "health"),
}
_BARS = {
    "relay --version": 0.15,
    "relay --help": 0.15,
    "relay health": 0.1,
    "relay health, memory": 20.0,
    "relay run at rest, memory": 40.0,
}
# A process begins with the memory of the one that has started it as its highest: so a small one starts the command, and
# says how long it took and what it held, in KiB.
_LAUNCHER = """
import posix, sys, time
began = time.monotonic()
_, status, used = posix.wait4(posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ), 0)
print(time.monotonic() - began, used.ru_maxrss, posix.waitstatus_to_exitcode(status))
"""


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Run each command by turns beside a relay at rest, whose memory is read before; one relay a round."""
    figures: dict[str, list[float]] = {}
    for number in range(rounds):
        world.use("footprint")
        world.empty_outbox()
        world.stream(atomic=True)
        settings = {"RELAY_HTTP__PORT": str(_free_port())}
        with world.relay(settings) as process:
            _wait_until_well(settings)
            time.sleep(1.0 if quick else _AT_REST_S)
            values = {"relay run at rest, memory": megabytes(process.pid, "VmRSS") * 1e6 / 2**20}
            values |= report.quiet.take_all("footprint", partial(_by_turns, settings, 2 if quick else _TURNS))
        for name, value in values.items():
            figures.setdefault(name, []).append(value)
        report.progress(
            f"footprint, round {number + 1}: " + "; ".join(f"{name} {value:.3f}" for name, value in values.items())
        )
    for name, each in figures.items():
        unit = "MiB" if name.endswith("memory") else "s"
        report.add(Figure("footprint", name, median(each), unit, at_most=_BARS.get(name), rounds=each))


def _by_turns(settings: Mapping[str, str], turns: int) -> dict[str, float]:
    """Return the median of what each command takes, seconds and MiB."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in _COMMANDS}
    for _ in range(turns):
        for name, arguments in _COMMANDS.items():
            seconds, size, code = _run(arguments, settings)
            if code != 0:
                raise RuntimeError(f"{name} ended with {code}")
            taken[name].append((seconds, size))
    values: dict[str, float] = {}
    for name, each in taken.items():
        values[name] = median(seconds for seconds, _ in each)
        values[f"{name}, memory"] = median(size for _, size in each)
    return values


def _run(arguments: Sequence[str], settings: Mapping[str, str]) -> tuple[float, float, int]:
    """Run a command to its end; return the seconds that took, its largest memory in MiB, and its exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, sys.executable, *arguments],
        cwd=ROOT,
        env=environment | dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_START_S,
        check=True,
    ).stdout.splitlines()[-1]
    seconds, kibibytes, code = told.split()
    return float(seconds), int(kibibytes) / 1024, int(code)


def _wait_until_well(settings: Mapping[str, str]) -> None:
    deadline = time.monotonic() + _START_S
    while _run(_COMMANDS["relay health"], settings)[2] != 0:
        if time.monotonic() > deadline:
            raise RuntimeError("the relay is not well")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
