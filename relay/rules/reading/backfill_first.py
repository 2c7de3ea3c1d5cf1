"""When what was dropped from memory is read before what is new. Pure: no I/O, no clock.

Events of keys whose dropped events are being read again are left to that reading. If most of what is new is of such
keys, reading it first is in vain: it is read twice, for as long as producers or a backlog keep the cursor ahead. So the
reading again has most turns then. It comes nearer to the cursor by that, and other keys wait for a few reads at most.
"""

# So many turns in a row may be left to it: new events of other keys wait for as many reads.
MOST = 3


class BackfillFirst:
    """Whose turn it is, by what the latest read above the cursor was good for."""

    def __init__(self) -> None:
        self._in_vain = False
        self._left = 0

    def read(self, events: int, kept: int) -> None:
        """Note a read above the cursor.

        Args:
            events: How many events it returned.
            kept: How many of them were of use: the others are read once more.
        """
        self._in_vain = 2 * kept < events
        self._left = 0

    def take_turn(self) -> bool:
        """Leave it a turn in which it has found something; report whether it gets this one."""
        if not self._in_vain or self._left == MOST:
            return False
        self._left += 1
        return True
