"""How many events one statement marks: fewer while that takes long, more again afterwards. Pure: no I/O, no clock."""

# Marks that take longer than this keep other outcomes and the watermark waiting, seconds; half as many are next.
_LONG_S = 1.0
# Twice as many are next after marks that took no longer than this.
_QUICK_S = 0.25


class MarkSize:
    """The size of the next statement that marks events.

    Attributes:
        limit: At most this many events.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most

    def took(self, events: int, seconds: float) -> None:
        """Learn how long it took to mark some events."""
        if seconds > _LONG_S:
            self.too_slow(events)
        elif seconds <= _QUICK_S and events >= self.limit:
            self.limit = min(self._most, self.limit * 2)

    def too_slow(self, events: int) -> None:
        """Learn that some events were not marked in time: the next statement takes half as many."""
        self.limit = max(1, min(self.limit, events) // 2)
