"""Whether somebody else works on the machine: a figure that was disturbed is taken again."""

import os
import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
# More than this share of all cores taken by others disturbs a figure.
_DISTURBED = 0.08
_ATTEMPTS = 6
_QUIET_S = 3.0
_WAIT_S = 120.0


class Quiet:
    """Watches what others take of the machine (Linux; elsewhere nothing counts as disturbed).

    Args:
        say: Prints a line.
        patient: Whether a measurement waits until others are quiet, and is taken again if they were not. What others
            took is kept either way.

    Attributes:
        shares: What others took during each figure that was kept, from 0 to 1.
    """

    def __init__(self, say: Callable[[str], None], *, patient: bool = True) -> None:
        self._say = say
        self._patient = patient
        self._since = self._now()
        self.shares: dict[str, list[float]] = {}

    def begin(self) -> None:
        """Start to watch: what came before was preparation."""
        self._since = self._now()

    def share(self) -> float:
        """Return the share of all cores that others have taken since `begin`."""
        total, busy, ours = (now - then for now, then in zip(self._now(), self._since, strict=True))
        return max(0.0, (busy - ours) / total) if total else 0.0

    def take(self, name: str, measure: Callable[[], float]) -> float:
        """Measure, again while others disturb it; the last attempt counts as it is."""
        return self.take_all(name, lambda: {"": measure()})[""]

    def take_all(self, name: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Measure several figures at once, by the rule of `take`."""
        for attempt in range(1, (_ATTEMPTS if self._patient else 1) + 1):
            if self._patient:
                self._await_quiet()
            self.begin()
            values = measure()
            share = self.share()
            if share <= _DISTURBED:
                break
            self._say(f"disturbed: others took {share:.0%} of the machine during {name} (attempt {attempt})")
        self.shares.setdefault(name, []).append(round(share, 3))
        return values

    def _await_quiet(self) -> None:
        """Wait until others have been quiet for a while; not for ever."""
        deadline = time.monotonic() + _WAIT_S
        quiet_since = time.monotonic()
        while time.monotonic() < min(quiet_since + _QUIET_S, deadline):
            self.begin()
            time.sleep(0.5)
            if self.share() > _DISTURBED:
                quiet_since = time.monotonic()

    @staticmethod
    def _now() -> tuple[int, int, int]:
        """Return the ticks since boot: of all cores, of those at work, and of our own processes."""
        if not (_PROC / "stat").exists():
            return 0, 0, 0
        # user nice system idle iowait irq softirq steal; what follows is counted in the first two already
        fields = [int(field) for field in (_PROC / "stat").read_text("ascii").splitlines()[0].split()[1:9]]
        total = sum(fields)
        return total, total - fields[3] - fields[4], _ours()


def _ours() -> int:
    """Return the ticks of this process and all below it, those that have ended included."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8", "replace").rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(path.parent.name)
        ticks[pid] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(pid)
    ours = [os.getpid()]
    for pid in ours:
        ours += children.get(pid, [])
    return sum(ticks.get(pid, 0) for pid in ours)
