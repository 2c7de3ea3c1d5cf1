"""Which seqs were passed and may still appear. Pure: no I/O, no clock.

A seq is drawn before its transaction commits, so a row can become visible behind the cursor. Each missing seq
below the cursor is a gap until it is found, or until no transaction that could own it is left. The second is
decided by locks: an insert takes its lock on the table before it draws its seq, and a transaction gives its
locks up only after its rows are visible. So for a gap that appeared in one read,

1. note who holds a lock on the table *after* that read: whoever owns the gap is among them, or has ended;
2. when none of those is left, read the gap *once more*: a row that is still not there never comes.

PREPARE TRANSACTION moves a lock to a new holder. So when an ordinary holder is gone, every prepared transaction
that the gap has not seen before takes its place. A prepared one cannot be prepared again: when it is gone, it has
ended.

All this holds only of what was drawn before that look at the locks. A row that somebody inserts by hand with a seq far
ahead of the sequence leaves a gap that transactions will draw from which do not exist yet. So a look says how far the
sequence had drawn *before* it, and what lies beyond that stays open.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class _Gap:
    lo: int
    hi: int
    since: float
    holders: frozenset[str] | None = None
    prepared: frozenset[str] = frozenset()
    asked: bool = False


class Gaps:
    """The gaps below one cursor.

    One round is `observe`, then a read of `ranges`, then `found` and `close`, in that order: the sequence is read
    before the locks and these before the rows, or a commit between two of them would be lost.
    """

    def __init__(self) -> None:
        self._gaps: list[_Gap] = []

    def __len__(self) -> int:
        return len(self._gaps)

    def lowest(self) -> int | None:
        """Return the lowest seq that may still appear."""
        return self._gaps[0].lo if self._gaps else None

    def oldest_since(self) -> float | None:
        """Return when the lowest gap was passed, which is the oldest one: the cursor only rises."""
        return self._gaps[0].since if self._gaps else None

    def passed(self, after: int, seqs: Sequence[int], reached: int, now: float = 0.0) -> None:
        """Remember what is missing above `after` and up to `reached`.

        Args:
            after: The cursor before the read; everything up to it is known.
            seqs: What the read returned, ascending, all above `after`.
            reached: How far the read went: the last of `seqs`, or beyond.
            now: The time of the read, for `oldest_since`.
        """
        if reached - after == len(seqs):
            return
        previous = after
        for seq in seqs:
            if seq > previous + 1:
                self._gaps.append(_Gap(previous + 1, seq - 1, now))
            previous = seq
        if reached > previous:
            self._gaps.append(_Gap(previous + 1, reached, now))

    def reach_beyond(self, drawn: int) -> bool:
        """Report whether something is missing beyond a seq, so that `observe` would have to know of later draws."""
        return bool(self._gaps) and self._gaps[-1].hi > drawn

    def observe(self, holders: Mapping[str, bool], drawn: int | None = None) -> None:
        """Note the transactions that hold a lock on the table now.

        Args:
            holders: Their names; True stands for a prepared one.
            drawn: How far the sequence had drawn before the locks were read. What is missing beyond that stays open:
                its owner may not have begun yet. None: that is not known, and everything missing counts as drawn.
        """
        now = frozenset(holders)
        prepared = frozenset(name for name, is_prepared in holders.items() if is_prepared)
        if drawn is not None:
            self._split(drawn)
        for gap in self._gaps:
            if gap.holders is None:
                if drawn is None or gap.hi <= drawn:
                    gap.holders, gap.prepared = now, prepared
            elif gap.holders - now - gap.prepared:
                came = prepared - gap.prepared
                gap.holders = (gap.holders & now) | came
                gap.prepared |= came
            else:
                gap.holders &= now

    def _split(self, drawn: int) -> None:
        """Part the gap that was drawn up to a seq and no further, if nobody was noted for it yet."""
        at = bisect_right(self._gaps, drawn, key=lambda gap: gap.lo) - 1
        if at >= 0 and self._gaps[at].holders is None and self._gaps[at].hi > drawn:
            gap = self._gaps[at]
            self._gaps[at : at + 1] = [_Gap(gap.lo, drawn, gap.since), _Gap(drawn + 1, gap.hi, gap.since)]

    def ranges(self) -> tuple[list[int], list[int]]:
        """Return the first and the last seq of each gap, ascending: all are read again now."""
        for gap in self._gaps:
            gap.asked = gap.holders is not None
        return [gap.lo for gap in self._gaps], [gap.hi for gap in self._gaps]

    def found(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Take seqs out: they are visible, or settled. Ranges of first and last seq, both included."""
        for lo, hi in ranges:
            self._take_out(lo, hi)

    def _take_out(self, lo: int, hi: int) -> None:
        at = max(0, bisect_right(self._gaps, lo, key=lambda gap: gap.lo) - 1)
        while at < len(self._gaps) and self._gaps[at].lo <= hi:
            gap = self._gaps[at]
            if gap.hi < lo:
                at += 1
                continue
            rest = [
                _Gap(first, last, gap.since, gap.holders, gap.prepared, gap.asked)
                for first, last in ((gap.lo, lo - 1), (hi + 1, gap.hi))
                if first <= last
            ]
            self._gaps[at : at + 1] = rest
            at += len(rest)

    def cut(self, above: int) -> None:
        """Forget what is missing above a seq: it is read again from there on."""
        self._gaps = [gap for gap in self._gaps if gap.lo <= above]
        if self._gaps:
            self._gaps[-1].hi = min(self._gaps[-1].hi, above)

    def close(self, up_to: int | None = None) -> int:
        """Give up the gaps that were just read again and that nobody can fill any more.

        Args:
            up_to: The last seq that the read reached, if its limit cut it short; None: it was complete.

        Returns:
            How many gaps were given up.
        """
        before = len(self._gaps)
        self._gaps = [
            gap for gap in self._gaps if not gap.asked or gap.holders or (up_to is not None and gap.hi > up_to)
        ]
        for gap in self._gaps:
            gap.asked = False
        return before - len(self._gaps)
