"""How far the search for rows behind the cursor has come, and which of them come by another way. Pure: no I/O.

A pass goes from below all rows to where the cursor was when it began; then the next one begins. Were its end the cursor
of the moment, events that keep coming would lead it on behind them, and it would never go back.
"""

from relay.event import Event
from relay.rules.in_hand import InHand
from relay.rules.order.seq_bounds import BELOW_ALL

# 2,000 seqs/s: 5 million rows in 40 minutes, at 3 ms of the database every 5 s.
STEP_S = 5.0
STEP_SEQS = 10_000


def longest_s(lowest: int, highest: int) -> float:
    """Return the seconds within which a pass comes by every row of a table that has these seqs.

    What is written just behind the search waits for the next pass: two steps more, for the ends of both.
    """
    return (max(0, highest - lowest) / STEP_SEQS + 2) * STEP_S


class ScrubPass:
    """Where the search is.

    Attributes:
        above: The next row that is looked for lies above this seq.
    """

    def __init__(self) -> None:
        self.above = BELOW_ALL
        self._end: int | None = None

    def step(self, following: int | None, cursor: int, seqs: int) -> tuple[int, int] | None:
        """Return what is read next.

        The cost follows rows, not the span of their seqs: where there are none, none is read.

        Args:
            following: The first seq above `above` that is in the table; None: there is none.
            cursor: Up to here rows were read.
            seqs: The most that are passed over.

        Returns:
            The seq above which to read, and the last one; None if the pass ends here.
        """
        if self._end is None:
            self._end = cursor
        end = min(self._end, cursor)
        if following is None or following > end:
            self._begin_again()
            return None
        self.above = following - 1
        return self.above, min(self.above + min(STEP_SEQS, seqs), end)

    def passed(self, reached: int, cursor: int) -> None:
        """Note that everything up to a seq was read; at its end the pass begins again."""
        self.above = reached
        if self._end is None or reached >= min(self._end, cursor):
            self._begin_again()

    def pause_s(self, passed: int) -> float:
        """Return the seconds until the next step, after one that has passed over so many seqs.

        It comes sooner if a read of many rows was cut short: so the search keeps its pace among events that wait.
        """
        return STEP_S if self.above == BELOW_ALL else STEP_S * min(passed, STEP_SEQS) / STEP_SEQS

    def _begin_again(self) -> None:
        self.above, self._end = BELOW_ALL, None


def comes_by_itself(in_hand: InHand, event: Event) -> bool:
    """Report whether a pending event below the cursor is in our hands, or comes into them by another way.

    That is: what waits for its retry, in its own order; what stands in a gap; and what was dropped from memory.
    """
    if event.postponed is not None or in_hand.unsettled.knows(event.seq) or in_hand.gaps.has(event.seq):
        return True
    lanes, begun = in_hand.lanes, in_hand.backfilling
    if begun is not None and event.seq >= begun and (event.key is None or lanes.returns(event.key)):
        return True
    dropped_from = lanes.overflow_from
    if dropped_from is None or event.seq < dropped_from:
        return False
    return in_hand.can_backfill() or lanes.has_dropped(event.key)
