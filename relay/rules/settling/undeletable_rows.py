"""Old rows that the database lets nobody delete, as a trigger or a foreign key may. Pure: no I/O, no clock.

Rows are deleted together. If that is refused they are tried again in halves, the largest parts first, so that what can
be deleted is found by few statements. What is refused alone, and what the statements of a turn did not suffice for, is
passed over until the next pass over the table.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

MOST_REFUSED = 100
"""How many statements of a turn may be refused; one row among a thousand takes 11."""

# After rows of which none was deleted the next ones may have this many: enough to find a part of an eighth.
_FEW_REFUSED = 15


class Search:
    """A search among some rows, for those that can be deleted.

    Args:
        parts: Seqs that are tried together, each part in order.
        most_refused: How many statements may be refused.

    Attributes:
        refused: How many were.
        passed: What is left behind, in parts.
    """

    def __init__(self, parts: Iterable[Sequence[int]], most_refused: int) -> None:
        self._most_refused = most_refused
        # Each with the refused part that it is a half of.
        self._parts: deque[tuple[Sequence[int], int | None]] = deque((part, None) for part in parts if part)
        self._refused: list[Sequence[int]] = []
        # Refused parts of which a half was refused as well.
        self._narrowed: set[int | None] = set()
        self._tried: tuple[Sequence[int], int | None] = (), None
        self.passed: list[Sequence[int]] = []

    @property
    def refused(self) -> int:
        """How many statements were refused."""
        return len(self._refused)

    def parts(self) -> Iterator[Sequence[int]]:
        """Return what is to be tried next, again and again; `refuse` says of the last part that it was refused."""
        while self._parts:
            if self.refused >= self._most_refused:
                self.passed.extend(part for part, _ in self._parts)
                return
            self._tried = self._parts.popleft()
            yield self._tried[0]

    def refuse(self) -> None:
        """Note that the rows tried last cannot be deleted together."""
        part, whole = self._tried
        number = len(self._refused)
        self._refused.append(part)
        self._narrowed.add(whole)
        if len(part) == 1:
            self.passed.append(part)
            return
        middle = len(part) // 2
        self._parts.extend(((part[:middle], number), (part[middle:], number)))

    def undeletable(self) -> list[Sequence[int]]:
        """Return parts that hold an undeletable row each, as small as they were found."""
        return [part for number, part in enumerate(self._refused) if number not in self._narrowed]


class UndeletableRows:
    """What passes over a table have found.

    Attributes:
        reason: Why rows cannot be deleted, as it was last said.
    """

    def __init__(self) -> None:
        self.reason = ""
        # How many, at least, and the lowest seq, of this pass and of the one before.
        self._now: tuple[int, int | None] = 0, None
        self._before: tuple[int, int | None] = 0, None
        self._left = MOST_REFUSED
        self._none_deleted = False
        # Of this pass, in parts: what is not tried again.
        self._passed: list[range] = []

    @property
    def found(self) -> tuple[int, int | None]:
        """How many rows there are at least, and the first seq at which there may be one; None without any."""
        return max(self._now, self._before, key=lambda found: found[0])

    @property
    def refused_now(self) -> int:
        """How many statements of this turn were refused."""
        return MOST_REFUSED - self._left

    @property
    def is_spent(self) -> bool:
        """Whether no further statement of this turn may be refused."""
        return self._left <= 0

    def begin_turn(self) -> None:
        """Take it that statements may be refused again."""
        self._left = MOST_REFUSED

    def begin_pass(self) -> None:
        """Try everything again. What is known stays to be told until the pass has ended, or found more."""
        self._before, self._now = self.found, (0, None)
        self._passed.clear()

    def end_pass(self) -> None:
        """Note that this pass has come to its end, as far as rows are old enough."""
        self._before = 0, None

    def forget(self) -> None:
        """Forget what was found, to tell nothing."""
        self._before = self._now = 0, None
        self._passed.clear()

    def search_range(self, seqs: range) -> Search:
        """Search a range of seqs, but for what this pass has passed over."""
        self._passed = [part for part in self._passed if part.stop > seqs.start]
        parts = [seqs]
        for passed in self._passed:
            parts = [rest for part in parts for rest in _without(part, passed)]
        return self.search(parts)

    def search(self, parts: Iterable[Sequence[int]]) -> Search:
        """Search among rows."""
        return Search(parts, min(self._left, _FEW_REFUSED) if self._none_deleted else self._left)

    def take(self, search: Search, reason: str, deleted: int) -> None:
        """Take what a search has found.

        Args:
            search: Which.
            reason: Why the last statement was refused, if one was.
            deleted: How many rows were deleted by the others.
        """
        if deleted:
            self._none_deleted = False
        if not search.refused:
            return
        self._none_deleted = not deleted
        self.reason = reason
        self._left -= search.refused
        self._passed.extend(part for part in search.passed if isinstance(part, range))
        found = search.undeletable()
        events, first = self._now
        lowest = min(min(part) for part in found)
        self._now = events + len(found), lowest if first is None else min(first, lowest)


def _without(part: range, passed: range) -> Iterator[range]:
    """Return what is left of a range."""
    below, above = range(part.start, min(part.stop, passed.start)), range(max(part.start, passed.stop), part.stop)
    yield from (rest for rest in (below, above) if rest)
