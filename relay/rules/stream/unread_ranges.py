"""Which messages of a tail have to be read, if it is known where marked events lie. Pure: no I/O, no clock."""

from collections.abc import Iterable, Iterator

# Fewer messages between two others are read over: a question costs as much.
_WORTH_A_QUESTION = 500


def unread_ranges(first: int, last: int, marked: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges of sequences to read, ascending.

    Args:
        first: The tail begins with this sequence,
        last: and ends with this one.
        marked: Ranges of sequences within the tail at which marked events lie, both ends included, in any order.
    """
    unread = []
    for low, high in _joined(marked):
        if high - low + 1 >= _WORTH_A_QUESTION:
            if first < low:
                unread.append((first, low - 1))
            first = high + 1
    if first <= last:
        unread.append((first, last))
    return unread


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join the ranges that overlap, or between which nothing lies; ascending."""
    low = high = None
    for begin, end in sorted(ranges):
        if low is None or high is None:
            low, high = begin, end
        elif begin <= high + 1:
            high = max(high, end)
        else:
            yield low, high
            low, high = begin, end
    if low is not None and high is not None:
        yield low, high
