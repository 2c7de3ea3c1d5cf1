"""Find the event that ends the relay each time. Pure: no I/O.

Where relays have ended again and again without a word, the next events are suspects: one of them may be what ended
them. They are sent group after group, each settled before the next is read, and the attempts of a group are raised
before it is read. An event that was among the suspects before goes in a smaller group: the one that ends the relay is
soon alone, and from then on its attempts count for it alone. See docs/design/decisions/0010-rows-that-kill.md.
"""

from collections.abc import Sequence

# So many relays may end in a row before anybody is suspected: nodes fail, and memory runs out for many reasons.
TOLERATED_CRASHES = 1
# How many suspects go together, by the attempts of the most suspicious of them.
_GROUPS = (1000, 250, 60, 15, 4)
_ALONE = len(_GROUPS)


def group_size(attempts: int) -> int:
    """Give how many events may go together with one that has so many attempts."""
    return _GROUPS[attempts] if attempts < _ALONE else 1


def next_group(attempts: Sequence[int]) -> int:
    """Give how many of the next events, by their attempts, go together: at least one, where there are any."""
    most = len(attempts)
    for at, count in enumerate(attempts):
        if at >= min(most, group_size(count)):
            return at
        most = min(most, group_size(count))
    return most


def goes_alone(attempts: int) -> bool:
    """Tell whether an event with so many attempts is sent alone, so that they count for it alone."""
    return attempts >= _ALONE


def own_attempts(attempts: int, *, refused: bool) -> int:
    """Take the trial off a suspect's attempts; of one that was never refused, nothing is left."""
    return max(0, attempts - 1) if refused else 0


def is_crasher(attempts: int, max_attempts: int) -> bool:
    """Tell whether an event was alone often enough, and the relay ended each time."""
    return attempts >= max(max_attempts, _ALONE + 1)
