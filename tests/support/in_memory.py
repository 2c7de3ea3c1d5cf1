"""Where the tests keep their files: in memory, if the machine has room.

A database of a test's own is 8 MB, a PostgreSQL of its own 39 MB. On a disk, even without fsync, to make them takes ten
times as much CPU as in memory. What a server promises over the end of its process does not depend on it, and tests of a
full disk make one of their own.

With ``PYTEST_DEBUG_TEMPROOT`` or ``--basetemp`` they are kept there instead.
"""

import os
import shutil
from pathlib import Path

# What is made in it is the user's alone.
_MEMORY = Path("/dev/shm")  # noqa: S108
_NAME = "outbox-relay-tests"
# A run has had up to 1 GB in use; a machine with less than this needs its memory itself.
_ROOM_BYTES = 4 * 1024**3
_AVAILABLE_BYTES = 8 * 1024**3


def directory(memory: Path = _MEMORY, room: int = _ROOM_BYTES, available: int = _AVAILABLE_BYTES) -> Path | None:
    """Make a directory in memory for this process, and remove those of runs that were killed.

    Args:
        memory: A file system in memory.
        room: How much must be free in it, bytes.
        available: How much memory the machine must have left, bytes.

    Returns:
        None if there is no such file system, if programs cannot be run from it, or if it is too small.
    """
    if not os.access(memory, os.W_OK) or _available_bytes() < available:
        return None
    facts = os.statvfs(memory)
    if facts.f_flag & os.ST_NOEXEC or facts.f_bavail * facts.f_frsize < room:
        return None
    for old in memory.glob(f"{_NAME}-*"):
        if not Path(f"/proc/{old.name.rpartition('-')[2]}").exists():
            shutil.rmtree(old, ignore_errors=True)
    made = memory / f"{_NAME}-{os.getpid()}"
    made.mkdir(mode=0o700, exist_ok=True)
    return made


def _available_bytes() -> int:
    facts = Path("/proc/meminfo")
    lines = facts.read_text("ascii").splitlines() if facts.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
