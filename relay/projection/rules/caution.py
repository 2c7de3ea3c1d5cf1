"""How many events to take at once after the process that applied them has ended, again and again. Pure: no I/O.

An event can end the process that applies it: by the memory it takes, or by a fault of a library. The next owner begins
with the same event, and ends as well. So after a few such ends the batches get smaller, down to one event, until the
position stands right before the one that does it; that one is refused without being applied.
"""

_FULL = 1_000
# After so many ends in a row: how many events at once. A frozen or killed runner counts too, so the first do not.
_SIZES = {3: 250, 4: 60, 5: 15, 6: 4, 7: 1}
_FOUND = 8


class Caution:
    """The care of one owner.

    Args:
        crashes: How many owners in a row have ended without giving the partition back.
    """

    def __init__(self, crashes: int) -> None:
        self.crashes = crashes
        self._left = _FULL if crashes else 0

    @property
    def limit(self) -> int:
        """How many messages may be taken at once."""
        return _SIZES.get(min(self.crashes, _FOUND - 1), _FULL)

    @property
    def found(self) -> bool:
        """Whether the next event is the one: every smaller batch has ended at it."""
        return self.crashes >= _FOUND

    def passed(self, messages: int) -> bool:
        """Take note that messages were settled, 0: there was nothing more; return whether the caution ends with that.

        As many messages as fit into one batch may hide the event.
        """
        if not self.crashes:
            return False
        self._left = self._left - messages if messages else 0
        if self._left > 0:
            return False
        self.crashes = 0
        return True

    def refused(self) -> bool:
        """Take note that the event was refused; return whether there was caution."""
        return self.passed(0)
