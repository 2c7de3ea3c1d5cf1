"""What was delivered lately, by the time of its mark, in slots of the clock. Cheap on a table of any size."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relay.operate.access import Reader

SLOT_S = 10.0
# Whatever is marked is visible this long after its time at the latest, clocks that differ included.
_LATE_S = 15.0


class DeliveredSlot(NamedTuple):
    """What was delivered in ten seconds of the clock; times in Unix seconds.

    Attributes:
        at: When they begin.
        delay_s: The longest from creation to mark; None if it is not known of any.
        first_created_at: When the first of these was created, likewise. What was refused or sent again before counts in
            neither: it did not wait all the time.
        last_at: When the last one was delivered.
    """

    at: float
    delivered: int = 0
    delay_s: float | None = None
    first_created_at: float | None = None
    last_at: float | None = None


class Mark(NamedTuple):
    """Up to which seq everything was settled at one moment (Unix seconds)."""

    at: float
    watermark: int


def slot_of(at: float) -> float:
    """Return when the slot of a moment begins."""
    return at // SLOT_S * SLOT_S


def changed_since(before: float) -> float:
    """Return the beginning of the first slot that may have changed since a look."""
    return slot_of(before - _LATE_S)


def marks_from(marks: Sequence[Mark], begin: float) -> tuple[Mark, ...]:
    """Return of marks, the earliest first, the last one that is not later than `begin`, and those after it."""
    earlier = [one for one in marks if one.at <= begin]
    return (*earlier[-1:], *(one for one in marks if one.at > begin))


def read_delivered(
    reader: Reader, ranges: Iterable[tuple[int, int]], begin: float, since_s: float
) -> tuple[tuple[DeliveredSlot, ...], int]:
    """Read the slots from `begin` on, and how many events were delivered in the last `since_s` seconds.

    Args:
        ranges: The seqs that are looked at, from above the first to the second; they do not overlap.
        begin: Unix seconds, the beginning of a slot.
    """
    found: dict[float, DeliveredSlot] = {}
    lately = 0
    for above, up_to in ranges:
        if above < up_to:
            for count, *row in reader.rows("operate/delivered_slots", (above, up_to, begin, SLOT_S, since_s)):
                lately += count
                one = DeliveredSlot(*row)
                found[one.at] = one if one.at not in found else _both(found[one.at], one)
    return tuple(found[at] for at in sorted(found)), lately


def _both(one: DeliveredSlot, other: DeliveredSlot) -> DeliveredSlot:
    return DeliveredSlot(
        one.at,
        one.delivered + other.delivered,
        max((at for at in (one.delay_s, other.delay_s) if at is not None), default=None),
        min((at for at in (one.first_created_at, other.first_created_at) if at is not None), default=None),
        max((at for at in (one.last_at, other.last_at) if at is not None), default=None),
    )
