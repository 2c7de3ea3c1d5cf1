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


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Kill a relay and start it again, once a round, and count from the kill to the first mark after it."""
    rows = 100_000 if quick else 400_000
    values: list[float] = []
    for number in range(rounds):
        world.use("recovery")
        world.empty_outbox()
        # As the relay itself and the CLI of NATS make one: it can be read in batches.
        world.stream(atomic=True, direct=True)
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
            values.append(_first_mark(world, process, killed_at + _LAST_STATEMENT_S) - killed_at)
        report.progress(f"recovery, round {number + 1}: {values[-1]:.2f} s")
    report.add(Figure("recovery", "kill to the next mark", median(values), "s", at_most=_BAR_S, rounds=values))


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
            time.sleep(0.05)
