"""A command ends by a signal without a traceback, also before it works and after it has."""

import signal
import subprocess
import sys

import pytest

_PROGRAM = """
import atexit, os, signal, sys
from importlib.abc import MetaPathFinder

moment, number = sys.argv[1], int(sys.argv[2])

def interrupt():
    os.kill(os.getpid(), number)

class Deleted:
    def __del__(self):
        interrupt()

class Imports(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "relay.cli" and moment == "loading":
            interrupt()
        if name == "relay.cli.config" and moment == "working":
            interrupt()
        if name == "relay.cli.config" and moment == "deleting":
            Deleted()
        if name == "relay.cli.config" and moment == "ending":
            atexit.register(interrupt)
        return None

sys.meta_path.insert(0, Imports())
if moment == "ended":
    atexit.register(interrupt)
sys.argv = ["relay", "config"]
from relay.__main__ import main
main()
"""


def _ended(moment: str, number: signal.Signals, *, ignored: bool = False) -> tuple[int, str]:
    start = "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    start += "sys.exit(subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL))"
    command = [sys.executable, "-c", _PROGRAM, moment, str(int(number))]
    command = [sys.executable, "-c", start, *command] if ignored else command
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["loading", "working", "deleting", "ending"])
def test_a_signal_ends_a_command_without_a_traceback(moment: str, number: signal.Signals) -> None:
    assert _ended(moment, number) == (128 + number, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_interpreter_ends_changes_nothing(number: signal.Signals) -> None:
    assert _ended("ended", number) == (0, "")


@pytest.mark.parametrize("moment", ["loading", "working", "ending"])
def test_what_runs_in_the_background_of_a_script_is_not_interrupted(moment: str) -> None:
    assert _ended(moment, signal.SIGINT, ignored=True) == (0, "")
