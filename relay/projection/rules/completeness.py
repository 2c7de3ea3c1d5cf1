"""Up to which event, and up to which time, a partition is complete. Pure: no I/O.

The relay publishes its watermark: everything up to a seq is stored or given up, and so is everything that was committed
up to a time. All of that lies in the stream up to a *bar*: before the watermark's own message if it is in the same
stream, else up to the last message that the stream held after the watermark was read. Once the position has reached
the bar, the partition has settled all of it.

Only a watermark in the same stream is exact if that stream loses its newest messages: then it is lost with them. With
one in another stream or bucket, events that were lost and not read yet are counted as settled, until the relay has
noticed the loss and sent them again.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class WatermarkSeen(NamedTuple):
    """A watermark of the relay.

    Attributes:
        origin: Which history of the outbox `seq` belongs to; empty from a relay that does not say.
        seq: Everything up to it is stored or given up.
        at: Everything that was committed up to then is, too; Unix seconds of the outbox's database, None if not known.
        origins: All histories of the outbox that it speaks of; None from a relay that does not say.
    """

    origin: str
    seq: int
    at: float | None
    origins: frozenset[str] | None = None

    def foreign(self, seen: Iterable[str]) -> str | None:
        """Return an origin of events that it says nothing of, for they are another outbox's; None if there is none."""
        if self.origins is None:
            return None
        return next((one for one in sorted(seen) if one and one not in self.origins), None)


def read_watermark(payload: bytes) -> WatermarkSeen | None:
    """Read the relay's message (relay.maintenance.announcer); None if it is none, since anybody may publish there."""
    try:
        found = json.loads(payload)
        seq, origin, at = found["seq"], found.get("origin", ""), found["complete_up_to"]
        moment = None if at is None else datetime.fromisoformat(at).timestamp()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    if type(seq) is not int or not 0 <= seq < 2**63 or not isinstance(origin, str) or "\x00" in origin:
        return None
    origins = found.get("origins")
    if not isinstance(origins, list) or not all(isinstance(one, str) for one in origins):
        origins = None
    return WatermarkSeen(origin, seq, moment, None if origins is None else frozenset(origins))


class Completeness:
    """The watermarks of one partition that its position has not reached yet."""

    def __init__(self) -> None:
        self._newest: WatermarkSeen | None = None
        self._waiting: list[tuple[int, WatermarkSeen]] = []

    @property
    def waits(self) -> bool:
        """Whether a watermark waits for the position."""
        return bool(self._waiting)

    def is_new(self, mark: WatermarkSeen) -> bool:
        """Return whether a watermark is another one than the last that was taken."""
        return mark != self._newest

    def take(self, mark: WatermarkSeen, bar: int) -> None:
        """Take a watermark; everything it speaks of lies in the stream up to sequence `bar`.

        While the position is far behind, the newest of each bar and the oldest that waits are enough: two are kept.
        """
        self._newest = mark
        self._waiting = [*self._waiting[:1], (bar, mark)]

    def reached(self, position: int) -> WatermarkSeen | None:
        """Return the last watermark that the position has reached, once; None if there is no new one."""
        found = [mark for bar, mark in self._waiting if bar <= position]
        self._waiting = [(bar, mark) for bar, mark in self._waiting if bar > position]
        return found[-1] if found else None
