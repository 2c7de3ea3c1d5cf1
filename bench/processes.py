"""What the kernel has counted of processes (Linux)."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def scheduled_s(pids: Iterable[int]) -> float:
    """Return the seconds of CPU that all threads of some processes have taken, by the kernel's scheduler."""
    spent = 0
    for file in [file for pid in pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat")]:
        # A thread may just end, as that of a session that has asked for other figures.
        with suppress(OSError):
            spent += int(file.read_text("ascii").split()[0])
    return spent / 1e9


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(int(child) for child in children)]
