"""Find the event that crashes the relay each time. Pure: no I/O.

If several relays crashed in a row, the next events are suspects: one of them may have crashed them. They are sent in
groups, each settled before the next is read. The attempts of a group are raised before it is read, so that they are
counted even if reading it crashes the relay. The more attempts an event has, the smaller is its group. So the event
that crashes the relay is soon alone, and from then on its attempts are crashes that it alone can have caused. See
docs/design/decisions/0010-rows-that-kill.md.
"""

from collections.abc import Sequence

# How many relays may crash in a row before events are suspected: nodes fail, and memory runs out for many reasons.
TOLERATED_CRASHES = 1
# How many suspects are sent together, by the attempts of the one that has most of them.
_GROUPS = (1000, 250, 60, 15, 4)
_ALONE = len(_GROUPS)


def group_size(attempts: int) -> int:
    """Return how many events may be sent together with one that has this many attempts."""
    return _GROUPS[attempts] if attempts < _ALONE else 1


def next_group(attempts: Sequence[int]) -> int:
    """Return how many of the next events, given by their attempts, are sent together: at least 1 if there are any."""
    limit = len(attempts)
    for at, count in enumerate(attempts):
        if at >= min(limit, group_size(count)):
            return at
        limit = min(limit, group_size(count))
    return limit


def goes_alone(attempts: int) -> bool:
    """Report whether an event with this many attempts is sent alone, so that a crash is its own."""
    return attempts >= _ALONE


def own_attempts(attempts: int, *, refused: bool) -> int:
    """Return how often a suspect was refused: without the attempt that was raised when it was sent as a suspect.

    An event that was never refused has no attempts of its own, whatever was counted.
    """
    return max(0, attempts - 1) if refused else 0


def is_crasher(attempts: int, max_attempts: int) -> bool:
    """Report whether an event was sent alone, with a crash each time, so often that it is given up."""
    return attempts >= max(max_attempts, _ALONE + 1)


def why_given_up(attempts: int) -> str:
    """Return why an event becomes a dead letter that was sent alone, with a crash each time."""
    return f"the relay ended each time while this event alone was sent, {attempts} times at least"
