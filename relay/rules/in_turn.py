"""Who is next, if something is to be done with each of many events that come and go, a few at a time. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from heapq import nsmallest
from itertools import accumulate

from relay.event import Event

# So many turns are made ready at once: to go through all that is there takes longer than a turn.
_TURNS_A_PAGE = 5


class InTurn:
    """Goes through events in the order of their seqs, round after round.

    An event that is there all the time has its turn once in each round, whatever comes and goes beside it.

    Args:
        most: How many events have their turn at once.
        most_bytes: How large they are together, bytes; a larger one has a turn of its own.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        # Those whose turns come next, in order of seq.
        self._page: list[Event] = []
        # The last one that had its turn; None at the beginning.
        self._after: int | None = None

    def next(self, all_there: Callable[[], Sequence[Event]], is_there: Callable[[int], bool], most: int) -> list[Event]:
        """Return whose turn it is, in order of seq; the same ones until `done`, as long as they are there.

        Args:
            all_there: Returns all that are there now, in any order; asked once in some turns.
            is_there: Says of a seq whether its event is there.
            most: How many may have this turn, if that is fewer than usual; 1 or more.
        """
        self._page = [event for event in self._page if is_there(event.seq)] or self._next_page(all_there())
        return _that_fit(self._page[: min(most, self._most)], self._most_bytes)

    def _next_page(self, events: Sequence[Event]) -> list[Event]:
        rest = [event for event in events if self._after is None or event.seq > self._after] or events
        # Not all of them in order: many more may be there than have their turn soon.
        return _that_fit(nsmallest(_TURNS_A_PAGE * self._most, rest), _TURNS_A_PAGE * self._most_bytes)

    def done(self, events: Sequence[Event]) -> None:
        """Note that these had their turn, as `next` returned them last."""
        self._after = events[-1].seq
        self._page = self._page[len(events) :]


def _that_fit(events: list[Event], most_bytes: int) -> list[Event]:
    """Return the first events that fit into so many bytes, the first one whatever its size."""
    return events[: max(1, bisect_right(list(accumulate(event.size for event in events)), most_bytes))]
