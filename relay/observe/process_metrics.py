"""What the kernel counts of this process, by the names that every client of Prometheus uses. Linux alone has it."""

import os
from collections.abc import Iterator
from pathlib import Path

from relay.observe.exposition import Family

_SELF = Path("/proc/self")
# Fields of /proc/self/stat behind the name of the program.
_USER, _SYSTEM, _STARTED, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21


def process_metrics() -> Iterator[Family]:
    """Read them; nothing if there is no ``/proc``."""
    try:
        fields = (_SELF / "stat").read_bytes().rpartition(b")")[2].split()
        booted = next(
            float(line.split()[1])
            for line in Path("/proc/stat").read_bytes().splitlines()
            if line.startswith(b"btime ")
        )
        limits = (_SELF / "limits").read_bytes().splitlines()
        files = sum(1 for _ in (_SELF / "fd").iterdir())
    except OSError:
        return
    ticks = os.sysconf("SC_CLK_TCK")
    for name, text, value in (
        ("virtual_memory_bytes", "Virtual memory size in bytes.", float(fields[_VIRTUAL])),
        (
            "resident_memory_bytes",
            "Resident memory size in bytes.",
            float(fields[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE"),
        ),
        (
            "start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            float(fields[_STARTED]) / ticks + booted,
        ),
    ):
        yield Family("gauge", f"process_{name}", text).add(value)
    spent = (float(fields[_USER]) + float(fields[_SYSTEM])) / ticks
    yield Family("counter", "process_cpu_seconds", "Total user and system CPU time spent in seconds.").add(spent)
    yield Family("gauge", "process_open_fds", "Number of open file descriptors.").add(files)
    allowed = next(line.split()[3] for line in limits if line.startswith(b"Max open file"))
    yield Family("gauge", "process_max_fds", "Maximum number of open file descriptors.").add(float(allowed))
