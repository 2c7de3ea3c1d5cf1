"""How soon events flow again after the relay was killed in the middle of a drain and started again in its place."""

import os
import signal
import subprocess
import time
from statistics import median

from bench.report import Figure, Report
from bench.world import World

_BAR_S = 1.5
_WAIT_S = 60.0
_LIFE_S = 1.0
_LAST_STATEMENT_S = 0.2
# A look reads the whole table, 70 ms of a core. The moment is read from the marks, so few looks lose nothing of it.
_LOOK_S = 0.4
# Whether a stream can be read in batches (`allow_direct`), as the relay itself and the CLI of NATS make one; else its
# leader is asked for single messages.
_KINDS = {"read in batches": True, "read by single messages": False}


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Kill a relay and start it again, once a round for each kind of stream; count from the kill to the next mark."""
    rows = 100_000 if quick else 400_000
    values: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for number in range(rounds):
        for kind, direct in _KINDS.items():
            values[kind].append(_recovery(world, rows, direct=direct))
            report.progress(f"recovery, round {number + 1}, {kind}: {values[kind][-1]:.2f} s")
    for kind, rounds_of in values.items():
        name = f"kill to the next mark, {kind}"
        report.add(Figure("recovery", name, median(rounds_of), "s", at_most=_BAR_S, rounds=rounds_of))


def _recovery(world: World, rows: int, *, direct: bool) -> float:
    """Kill a relay in the middle of a drain, and start it again; return the seconds from the kill to the next mark."""
    world.use("recovery")
    world.empty_outbox()
    world.stream(atomic=True, direct=direct)
    world.fill(rows)
    with world.relay() as process:
        _first_mark(world, process, 0.0)
        # In the middle: batches are in flight, and marks are not made yet.
        time.sleep(_LIFE_S)
        killed_at = time.time()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with world.relay() as process:
        # What the server still did for the dead one is no sign of life.
        return _first_mark(world, process, killed_at + _LAST_STATEMENT_S) - killed_at


def _first_mark(world: World, process: subprocess.Popen[bytes], since: float) -> float:
    """Wait for the first mark since a moment (Unix seconds); return when it was made, by the clock of this machine.

    Raises:
        RuntimeError: The process has ended, or the time is up.
    """
    deadline = time.monotonic() + _WAIT_S
    with world.connect() as conn:
        while True:
            row = conn.execute(
                "SELECT extract(epoch FROM min(delivered_at))::float8 FROM outbox_events"
                " WHERE delivered_at > to_timestamp(%s)",
                (since,),
            ).fetchone()
            if row is not None and row[0] is not None:
                return float(row[0])
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nothing was marked after the start")
            time.sleep(_LOOK_S)
