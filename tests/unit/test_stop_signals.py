"""However many signals come at once, a process stops once, and ends as it would have ended after one."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relay.stop_signals import SAME_WISH_S

_PROGRAM = """
import asyncio, sys, time
from relay.stop_signals import stop_loop_on_signals

async def main(last_s):
    stopped = asyncio.Event()
    stop_loop_on_signals(stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    print("stopped", flush=True)
    await asyncio.sleep(last_s)

asyncio.run(main(float(sys.argv[1])))
print("ended", flush=True)
time.sleep(float(sys.argv[2]))
"""
_LONG_S = 60.0


@contextmanager
def _program(last_s: float, after_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _PROGRAM, str(last_s), str(after_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_come_together_are_one_wish(second: signal.Signals) -> None:
    with _program(0.0, 0.0) as process:
        assert _said(process) == "ready"
        for number in (signal.SIGTERM, second, signal.SIGTERM):
            process.send_signal(number)
        assert (_said(process), _said(process)) == ("stopped", "ended")
        assert process.wait(20) == 0


def test_a_signal_after_the_event_loop_has_ended_changes_nothing() -> None:
    with _program(0.0, SAME_WISH_S / 5) as process:
        assert _said(process) == "ready"
        process.send_signal(signal.SIGTERM)
        assert (_said(process), _said(process)) == ("stopped", "ended")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_later_signal_leaves_at_once(number: signal.Signals) -> None:
    with _program(_LONG_S, 0.0) as process:
        assert _said(process) == "ready"
        process.send_signal(signal.SIGTERM)
        assert _said(process) == "stopped"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(SAME_WISH_S)
        process.send_signal(number)
        assert process.wait(20) == 128 + number
