"""Looks at the processes of this machine, to show that none is left behind."""

import sys
import time
from pathlib import Path

import pytest

# Promised on Linux alone (CONTRIBUTING.md): a killed parent cannot clean up, and no other kernel does it in its place.
linux_alone = pytest.mark.skipif(
    sys.platform != "linux",
    reason="a killed parent's children end by PR_SET_PDEATHSIG, which only Linux has; elsewhere it is not promised",
)


def mentioning(text: str) -> set[int]:
    """Find the living processes whose command line holds a text, such as a directory of the test's own."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if text in words:
                found.add(int(entry.name))
    return found


def alive(pids: set[int]) -> set[int]:
    """Keep those that are there and not merely waiting to be reaped."""
    states = {}
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        states[pid] = stat.rpartition(")")[2].split()[0]
    return {pid for pid, state in states.items() if state not in "ZX"}


def gone(pids: set[int], within_s: float = 5.0) -> bool:
    """Wait until none of them is alive."""
    deadline = time.monotonic() + within_s
    while alive(pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
