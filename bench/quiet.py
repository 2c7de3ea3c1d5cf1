"""Whether somebody else works on the machine: a figure that was disturbed should say so."""

import time
from pathlib import Path

_STAT = Path("/proc/stat")
# More than this share of all cores, while nothing of ours works, disturbs a figure.
DISTURBED = 0.1


def busy(seconds: float = 1.0) -> float | None:
    """Give the share of all cores that is at work now, from 0 to 1; None where the system does not tell."""
    if not _STAT.exists():
        return None
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    total, idle = after[0] - before[0], after[1] - before[1]
    return 1 - idle / total if total else 0.0


def _ticks() -> tuple[int, int]:
    """Give all ticks of all cores since boot, and those without work."""
    # user nice system idle iowait irq softirq steal; what follows is counted in the first two already
    fields = [int(field) for field in _STAT.read_text("ascii").splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]
