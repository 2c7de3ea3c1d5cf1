"""The last hour in slots of ten seconds: how much was delivered, and how late. Pure.

A delivery belongs to the slot in which it was marked, whenever somebody looks: each look reads again the slots that may
have changed since the one before, whole, and they take the place of what was read of them.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from relay.operate.delivered import SLOT_S, DeliveredSlot
from relay.operate.status import Status

LAST_S = 3600.0


class Slot(NamedTuple):
    """Ten seconds.

    Attributes:
        at: When it begins, Unix seconds.
        delivered: Events delivered in it.
        lag_s: The longest that an event had waited which was delivered in it, or was still pending at its end.
    """

    at: float
    delivered: int
    lag_s: float


class LastHour:
    """What the table tells of the last hour, and what was seen at each look."""

    def __init__(self) -> None:
        self._slots: dict[float, DeliveredSlot] = {}
        self._seen: dict[float, float] = {}
        self._oldest_at: float | None = None

    def fill(self, slots: Iterable[DeliveredSlot]) -> None:
        """Begin with what the table says."""
        self._slots.update((one.at, one) for one in slots)

    def add(self, status: Status) -> None:
        """Add a look, with the slots that it has read again."""
        self.fill(status.slots)
        at = status.at // SLOT_S * SLOT_S
        self._seen[at] = max(self._seen.get(at, 0.0), status.lag_s)
        # An event of which nobody knows how old it is says nothing of the time before this look.
        known = status.oldest is not None and 0 < status.lag_s < math.inf
        self._oldest_at = status.at - status.lag_s if known else None
        for slots in (self._slots, self._seen):
            for old in [one for one in slots if one <= status.at - LAST_S]:
                del slots[old]

    def clear(self) -> None:
        """Forget everything: nobody looked for a while, and what happened meanwhile is in the table."""
        self._slots.clear()
        self._seen.clear()
        self._oldest_at = None

    def slots(self, now: float) -> list[Slot]:
        """Return every slot from the first one known to that of `now`, which is not over.

        What is delivered later than a slot, or pending now, and was created before its end was waiting then: so the lag
        of an outage is known for the time in which nobody looked, too.
        """
        if not self._slots and not self._seen:
            return []
        known = [*self._slots, *self._seen]
        first, last = min(known), max(*known, now // SLOT_S * SLOT_S)
        later = self._oldest_at
        found: list[Slot] = []
        for number in range(round((last - first) / SLOT_S), -1, -1):
            at = first + SLOT_S * number
            slot = self._slots.get(at, DeliveredSlot(at))
            waited_s = 0.0 if later is None else min(at + SLOT_S, max(now, at)) - later
            found.append(Slot(at, slot.delivered, max(0.0, slot.delay_s or 0.0, self._seen.get(at, 0.0), waited_s)))
            if slot.first_created_at is not None:
                later = slot.first_created_at if later is None else min(later, slot.first_created_at)
        return found[::-1]
