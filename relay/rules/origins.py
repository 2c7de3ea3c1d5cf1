"""Which history of the outbox a seq belongs to. Pure: no I/O.

A table that was restored to an earlier time draws the seqs again that it had drawn after that time. So a seq alone
names no event for ever; with its origin it does. `relay migrate --new-origin` begins another origin behind the last
seq that was drawn: what lies below keeps the one it was sent with.
"""

from bisect import bisect_left


class Origins:
    """The origins of one outbox.

    Args:
        text: ``above:origin``, joined by commas, ascending: each is of the seqs above its number. Empty: none is known.
    """

    def __init__(self, text: str = "") -> None:
        pairs = [part.partition(":") for part in text.split(",") if part]
        self._above = [int(above) for above, _, _ in pairs]
        self._origins = [origin for _, _, origin in pairs]

    def of(self, seq: int) -> str:
        """Return the origin of a seq, empty if none is known."""
        found = bisect_left(self._above, seq)
        return self._origins[found - 1] if found else ""
