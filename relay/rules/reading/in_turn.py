"""Who is next, if something is to be done with each of many events that come and go, a few at a time. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter

from relay.event import Event


class InTurn:
    """Goes through events in the order of their seqs, round after round.

    An event that is there all the time has its turn once in each round, whatever comes and goes beside it.

    Args:
        most_bytes: How large the events of one turn are together, bytes; a larger one has a turn of its own.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # The last one of the turn before; None at the beginning of a round.
        self._after: int | None = None

    def next(self, events: Sequence[Event], most: int) -> list[Event]:
        """Return whose turn it is, in order of seq; the same ones until `done`.

        Args:
            events: All that are there now, in any order.
            most: How many may have their turn at once; 1 or more.
        """
        rest = [event for event in events if self._after is None or event.seq > self._after] or events
        # They are nearly in order as they come, so that sorting takes less than a search for the first ones.
        chosen = sorted(rest, key=attrgetter("seq"))[:most]
        return chosen[: max(1, bisect_right(list(accumulate(event.size for event in chosen)), self._most_bytes))]

    def done(self, events: Sequence[Event]) -> None:
        """Note that these had their turn, as `next` returned them."""
        self._after = events[-1].seq
