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

Nothing appears in a gap that was read after its holders were noted, as long as each of them is at work. So it is not
read again before one has ended. A snapshot decides that, by transaction ids: a lock may outlive the moment at which its
transaction becomes visible. The snapshot is taken *after* all reads: what is at work then was at work before. A holder
without a transaction id says nothing, and its gaps are read each time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.rules.order.seq_bounds import LARGEST

# So few gaps are all read each time: that costs no more than to ask who has ended.
FEW = 100


class Holder(NamedTuple):
    """A transaction that holds a lock on the table.

    Attributes:
        prepared: Whether it was prepared for a commit in two phases.
        xid: Its id, all 64 bits; None if it has changed nothing yet.
    """

    prepared: bool
    xid: int | None


@dataclass(slots=True)
class _Gap:
    lo: int
    hi: int
    since: float


@dataclass(slots=True)
class _Group:
    """Gaps that are next to each other and whose owners are among the same transactions.

    Attributes:
        gaps: Ascending.
        holders: The names of those that may own one of them.
        prepared: Prepared ones that were seen since these gaps were noted.
        xids: The ids of the holders that have one.
        all_have_xids: Whether each holder has one.
        unread: Whether one of them has ended since the gaps were read.
        asked: Whether all of them are being read.
    """

    gaps: list[_Gap]
    holders: frozenset[str]
    prepared: frozenset[str]
    xids: set[int] = field(default_factory=set)
    all_have_xids: bool = False
    unread: bool = True
    asked: bool = False

    @property
    def may_have_appeared(self) -> bool:
        """Whether rows may have appeared in them since they were read."""
        return self.unread or not self.all_have_xids

    @property
    def is_at_work(self) -> bool:
        """Whether each holder was at work when that was asked last, and a snapshot says whether it still is."""
        return not self.may_have_appeared and 0 < len(self.xids) == len(self.holders)

    def is_like(self, other: "_Group") -> bool:
        """Report whether both say the same of their gaps, and neither has to be read."""
        if self.may_have_appeared or other.may_have_appeared:
            return False
        return (self.holders, self.prepared, self.xids) == (other.holders, other.prepared, other.xids)


class Gaps:
    """The gaps below one cursor.

    One round is `observe`, `ask` and a read of that, `skipped`, `ended`, then `found` and `close`, in that order: the
    sequence is read before the locks and these before the rows, or a commit between two of them would be lost. If
    something of what was skipped has ended, the round goes on from `ask`. A round without `observe` gives up no gap
    whose holders were not noted before. As long as the gaps are at rest it is not needed.

    Args:
        few: So few gaps are all read each time.
    """

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        # Ascending, none of them empty.
        self._groups: list[_Group] = []
        # The newest ones: their holders were not noted yet.
        self._new: list[_Gap] = []
        # Gaps that need not be read are read one after another all the same: how far that has come.
        self._swept = 0

    def __len__(self) -> int:
        return sum(len(group.gaps) for group in self._groups) + len(self._new)

    def lowest(self) -> int | None:
        """Return the lowest seq that may still appear."""
        first = self._first()
        return None if first is None else first.lo

    def has(self, seq: int) -> bool:
        """Report whether a seq is missing and may still appear."""
        at = bisect_right(self._groups, seq, key=lambda group: group.gaps[0].lo) - 1
        known = self._groups[at].gaps if at >= 0 else []
        return any(_is_in(gaps, seq) for gaps in (known, self._new))

    def oldest_since(self) -> float | None:
        """Return when the lowest gap was passed, which is the oldest one: the cursor only rises."""
        first = self._first()
        return None if first is None else first.since

    def _first(self) -> _Gap | None:
        gaps = self._groups[0].gaps if self._groups else self._new
        return gaps[0] if gaps else None

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
                self._new.append(_Gap(previous + 1, seq - 1, now))
            previous = seq
        if reached > previous:
            self._new.append(_Gap(previous + 1, reached, now))

    def reach_beyond(self, drawn: int) -> bool:
        """Report whether something is missing beyond a seq, so that `observe` would have to know of later draws."""
        last = self._new or (self._groups[-1].gaps if self._groups else [])
        return bool(last) and last[-1].hi > drawn

    def are_at_rest(self) -> bool:
        """Report whether a look at the locks would say nothing that `skipped` and `ended` do not say.

        So it is if the holders of all gaps are known, by their ids, and were all at work. PREPARE TRANSACTION gives a
        holder another name, but no other id: that may be noted when one has ended.
        """
        return not self._new and self._others() > self._few and all(group.is_at_work for group in self._groups)

    def _others(self) -> int:
        """Return how many gaps need not be read."""
        return sum(len(group.gaps) for group in self._groups if not group.may_have_appeared)

    def observe(self, holders: Mapping[str, Holder], drawn: int | None = None) -> None:
        """Note the transactions that hold a lock on the table now.

        Args:
            holders: They by their names.
            drawn: How far the sequence had drawn before the locks were read. What is missing beyond that stays open:
                its owner may not have begun yet. None: that is not known, and everything missing counts as drawn.
        """
        now = frozenset(holders)
        prepared = frozenset(name for name, holder in holders.items() if holder.prepared)
        for group in self._groups:
            before = group.holders
            if before - now - group.prepared:
                came = prepared - group.prepared
                group.holders = (before & now) | came
                group.prepared |= came
            else:
                group.holders = before & now
            # Somebody may have ended in between without an id that was known.
            group.unread |= group.holders != before
            _note_xids(group, holders)
        self._note_new(holders, now, prepared, drawn)
        self._join()

    def _note_new(
        self, holders: Mapping[str, Holder], now: frozenset[str], prepared: frozenset[str], drawn: int | None
    ) -> None:
        """Part the new gaps at what was drawn, and note the holders for those below."""
        noted = self._new
        self._new = []
        if drawn is not None:
            at = bisect_right(noted, drawn, key=lambda gap: gap.hi)
            noted, self._new = noted[:at], noted[at:]
            if self._new and self._new[0].lo <= drawn:
                beyond = self._new[0]
                noted.append(_Gap(beyond.lo, drawn, beyond.since))
                beyond.lo = drawn + 1
        if noted:
            group = _Group(noted, now, prepared)
            _note_xids(group, holders)
            self._groups.append(group)

    def _join(self) -> None:
        """Make one of neighbours that say the same: however long they are open, there are few groups."""
        joined: list[_Group] = []
        for group in self._groups:
            if joined and joined[-1].is_like(group):
                joined[-1].gaps += group.gaps
            else:
                joined.append(group)
        self._groups = joined

    def ask(self, below: int = LARGEST, spare: int = 0) -> tuple[list[int], list[int]]:
        """Return the gaps in which a row may have appeared since they were read: they are read again now.

        Args:
            below: Only what is missing below this seq.
            spare: So many others are read besides, in turn: whoever writes a seq by hand, or draws it from a cache,
                is none of the holders.

        Returns:
            The first and the last seq of each, ascending.
        """
        others = self._others()
        asked: list[_Gap] = []
        swept: list[_Gap] = []
        for group in self._groups:
            group.asked = others <= self._few or group.may_have_appeared
            if group.asked:
                asked += group.gaps
            elif len(swept) < spare:
                at = bisect_right(group.gaps, self._swept, key=lambda gap: gap.lo)
                more = group.gaps[at : at + spare - len(swept)]
                swept += more
                asked += more
        if spare:
            self._swept = swept[-1].lo if len(swept) == spare else 0
        asked += self._new
        asked = asked[: bisect_left(asked, below, key=lambda gap: gap.lo)]
        return [gap.lo for gap in asked], [min(gap.hi, below - 1) for gap in asked]

    def skipped(self) -> set[int]:
        """Return the ids of the transactions that own what was not asked for."""
        return set().union(*(group.xids for group in self._groups if not group.asked))

    def ended(self, xids: Collection[int]) -> bool:
        """Learn which transactions have ended; report whether rows may have appeared in what was skipped."""
        appeared = False
        for group in self._groups:
            if not group.xids.isdisjoint(xids):
                group.xids.difference_update(xids)
                group.unread = True
                appeared |= not group.asked
        return appeared

    def found(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Take seqs out: they are visible, or settled. Ranges of first and last seq, both included."""
        for lo, hi in ranges:
            at = max(0, bisect_right(self._groups, lo, key=lambda group: group.gaps[0].lo) - 1)
            while at < len(self._groups) and self._groups[at].gaps[0].lo <= hi:
                _take_out(self._groups[at].gaps, lo, hi)
                if self._groups[at].gaps:
                    at += 1
                else:
                    del self._groups[at]
            _take_out(self._new, lo, hi)

    def cut(self, above: int) -> None:
        """Forget what is missing above a seq: it is read again from there on."""
        for gaps in (*(group.gaps for group in self._groups), self._new):
            del gaps[bisect_right(gaps, above, key=lambda gap: gap.lo) :]
            if gaps:
                gaps[-1].hi = min(gaps[-1].hi, above)
        self._groups = [group for group in self._groups if group.gaps]

    def close(self, up_to: int = LARGEST) -> int:
        """Note that what was asked for was read, and give up the gaps of it that nobody can fill any more.

        Args:
            up_to: The last seq that the read reached, if its limit cut it short.

        Returns:
            How many gaps were given up.
        """
        before = len(self)
        for group in self._groups:
            if not group.asked:
                continue
            group.asked = False
            if group.gaps[-1].hi <= up_to:
                group.unread = False
            if not group.holders:
                group.gaps = group.gaps[bisect_right(group.gaps, up_to, key=lambda gap: gap.hi) :]
        self._groups = [group for group in self._groups if group.gaps]
        return before - len(self)


def _note_xids(group: _Group, holders: Mapping[str, Holder]) -> None:
    """Note the ids of a group's holders, of whom each is among those of now."""
    xids = {holders[name].xid for name in group.holders}
    group.all_have_xids = None not in xids
    group.xids = {xid for xid in xids if xid is not None}


def _is_in(gaps: list[_Gap], seq: int) -> bool:
    at = bisect_right(gaps, seq, key=lambda gap: gap.lo) - 1
    return at >= 0 and seq <= gaps[at].hi


def _take_out(gaps: list[_Gap], lo: int, hi: int) -> None:
    at = max(0, bisect_right(gaps, lo, key=lambda gap: gap.lo) - 1)
    while at < len(gaps) and gaps[at].lo <= hi:
        gap = gaps[at]
        if gap.hi < lo:
            at += 1
            continue
        rest = [_Gap(first, last, gap.since) for first, last in ((gap.lo, lo - 1), (hi + 1, gap.hi)) if first <= last]
        gaps[at : at + 1] = rest
        at += len(rest)
