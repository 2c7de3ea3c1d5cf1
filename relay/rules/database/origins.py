"""Which history of the outbox a seq belongs to. Pure: no I/O.

A table that was restored to an earlier time draws the seqs again that it had drawn after that time. So a seq alone
names no event for ever; with its origin it does. `relay migrate --new-origin` begins another origin behind the last
seq that was drawn: what lies below keeps the one it was sent with.
"""

from bisect import bisect_left
from collections.abc import Mapping

# Each beat of a relay is sent after the answer to the one before has been heeded. The first that is seen may have begun
# before the origin was there, the second has read it, and the third says that the second was heeded.
_BEATS = 3


class Origins:
    """The origins of one outbox.

    Args:
        text: ``above:origin``, joined by commas, ascending: each is of the seqs above its number. Empty: none is known.
    """

    def __init__(self, text: str = "") -> None:
        pairs = [part.partition(":") for part in text.split(",") if part]
        self._above = [int(above) for above, _, _ in pairs]
        self._origins = [origin for _, _, origin in pairs]

    @property
    def names(self) -> list[str]:
        """All of them, the earliest first."""
        return list(self._origins)

    def of(self, seq: int) -> str:
        """Return the origin of a seq, empty if none is known."""
        found = bisect_left(self._above, seq)
        return self._origins[found - 1] if found else ""

    def is_newest(self, seq: int) -> bool:
        """Return whether a seq is of the newest origin, of which there is one."""
        return bool(self._above) and seq > self._above[-1]


class Noticed:
    """Whether each relay that is alive has noticed a new origin.

    Args:
        alive: The relays that were alive after the origin was there, each with the end of its lease.
    """

    def __init__(self, alive: Mapping[str, float]) -> None:
        self._ends = dict(alive)
        self._beats = dict.fromkeys(alive, 0)

    def by_all(self, alive: Mapping[str, float]) -> bool:
        """Take in the relays that are alive now; return whether none is left that may not have noticed.

        One whose lease has run out sends nothing before it has noticed; one that is new has read the origin already.
        """
        for member in list(self._beats):
            end = alive.get(member)
            if end is None:
                del self._beats[member]
            elif end != self._ends[member]:
                self._ends[member] = end
                self._beats[member] += 1
        return all(beats >= _BEATS for beats in self._beats.values())
