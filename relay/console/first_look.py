"""What somebody who begins to look is shown, read beside the first look over connections of its own."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import psycopg

from relay.console.last_hour import LAST_S
from relay.errors import RelayError
from relay.operate.access import Reader, foreseen, reading
from relay.operate.delivered import DeliveredSlot, read_delivered, slot_of
from relay.operate.message_size import LargeDead
from relay.operate.sent_again import SentAgain, read_sent_again
from relay.operate.status import LATELY_S, LATELY_SEQS, Count, DeadReason, Status, read_dead_reasons, read_large

if TYPE_CHECKING:
    from relay.config.settings import Settings

T = TypeVar("T")

# How far a first look counts, and how many dead letters it reads the reasons of: somebody waits for it. The next look,
# within seconds, counts as far as every other.
FIRST_UP_TO = 10_000
_REASONS = 2_000


class FirstLook(NamedTuple):
    """The last hour, as far as the newest events tell.

    Attributes:
        slots: What was delivered, slot by slot; the first one is left out if it may be cut.
        is_all: There are no other events.
        reasons: The most frequent ones of the newest dead letters.
        large: Those that a stream has refused for their size.
        again: What streams had lost and was sent again.
    """

    slots: tuple[DeliveredSlot, ...]
    is_all: bool
    reasons: list[DeadReason]
    large: tuple[LargeDead, ...]
    again: tuple[SentAgain, ...]

    def completed(self, status: Status) -> Status:
        """Return a status with what `read_standing` leaves out; deliveries are counted in whole slots."""
        first_at = slot_of(status.at - LATELY_S)
        events = sum(one.delivered for one in self.slots if one.at >= first_at)
        return replace(
            status,
            dead_by_reason=self.reasons if status.dead.events else [],
            reasons_of=_REASONS if status.dead.events > _REASONS else None,
            large=self.large if status.dead.events else (),
            delivered=Count(events, "" if self.is_all else "at least "),
            delivered_s=status.at - first_at,
            last_delivered_at=max((one.last_at for one in self.slots if one.last_at is not None), default=None),
        )


def read_first_look(settings: "Settings") -> FirstLook | None:
    """Read it over a connection of its own; None if the outbox cannot be read."""
    return _alone(settings, _past)


def _past(reader: Reader) -> FirstLook:
    _, newest = reader.row("operate/range")
    now = time.time()
    begin = slot_of(now - LAST_S)
    slots, _ = read_delivered(reader, [(newest - LATELY_SEQS, newest)], begin, LATELY_S)
    is_all = newest <= LATELY_SEQS
    return FirstLook(
        slots if is_all else slots[1:],
        is_all,
        read_dead_reasons(reader, _REASONS),
        read_large(reader),
        read_sent_again(reader, newest, now),
    )


def _alone(settings: "Settings", look: Callable[[Reader], T]) -> T | None:
    try:
        with reading(settings) as reader:
            return look(reader)
    except RelayError:
        return None
    except psycopg.Error as error:
        if foreseen(error) is None:
            raise
        return None
