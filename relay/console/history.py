"""The last hour in slots of ten seconds: how much was delivered, and how late. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from relay.operate.status import Status

SLOT_S = 10.0
LAST_S = 3600.0


class Slot(NamedTuple):
    """Ten seconds.

    Attributes:
        at: When it begins, Unix seconds.
        delivered: Events delivered in it.
        lag_s: The longest that an event delivered in it had waited, or the age of the oldest pending event.
    """

    at: float
    delivered: int
    lag_s: float


class History:
    """What was seen, slot by slot; slots without anything seen are missing."""

    def __init__(self) -> None:
        self._slots: dict[float, Slot] = {}
        self._first_at: float | None = None
        self._last_at: float | None = None

    def fill(self, rows: Iterable[tuple[float, int, float | None]]) -> None:
        """Begin with what the table says: the beginning of a slot, events delivered in it, the longest delay."""
        for at, delivered, delay_s in rows:
            self._slots[at] = Slot(at, delivered, max(0.0, delay_s or 0.0))

    def add(self, status: Status) -> None:
        """Add a look; deliveries count from the second one on, since the first look counts those of a minute."""
        at = status.at // SLOT_S * SLOT_S
        before = self._slots.get(at, Slot(at, 0, 0.0))
        delivered = status.delivered.events if self._last_at is not None else 0
        self._slots[at] = Slot(at, before.delivered + delivered, max(before.lag_s, status.lag_s))
        self._last_at = status.at
        self._first_at = at if self._first_at is None else self._first_at
        for old in [one for one in self._slots if one <= status.at - LAST_S]:
            del self._slots[old]

    def clear(self) -> None:
        """Forget everything: nobody looked for a while, and what happened meanwhile is in the table."""
        self._slots.clear()
        self._first_at = self._last_at = None

    def slots(self, now: float) -> list[Slot]:
        """Return every slot from the first one seen to that of `now`.

        In a slot that was not looked at nothing was delivered. Before the first look, nothing waited in it as far
        as the table can tell. Since then its lag is what the previous look has shown.
        """
        if not self._slots:
            return []
        first, last = min(self._slots), max(max(self._slots), now // SLOT_S * SLOT_S)
        found: list[Slot] = []
        for number in range(round((last - first) / SLOT_S) + 1):
            at = first + SLOT_S * number
            looked_before = self._first_at is not None and at > self._first_at
            found.append(self._slots.get(at) or Slot(at, 0, found[-1].lag_s if looked_before and found else 0.0))
        return found
