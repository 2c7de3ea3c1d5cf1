"""How fast the outbox moves, measured over several looks at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.operate.status import Status


@dataclass(frozen=True, slots=True)
class Pace:
    """What has changed between two looks.

    Attributes:
        delivered: Events delivered a second.
        backlog: By how many events a second the backlog grows; None if it was not wholly counted.
    """

    delivered: float
    backlog: float | None


def pace(looks: Sequence[Status]) -> Pace | None:
    """Measure over some looks, the oldest first; None if there are not two."""
    if len(looks) < 2:
        return None
    first, last = looks[0], looks[-1]
    seconds = last.at - first.at
    if seconds <= 0:
        return None
    counted = not (first.backlog.bound or last.backlog.bound)
    return Pace(
        (sum(look.delivered.events for look in looks) - first.delivered.events) / seconds,
        (last.backlog.events - first.backlog.events) / seconds if counted else None,
    )
