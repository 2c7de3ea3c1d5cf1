"""What somebody who begins to look is shown of the last hour, read once beside the first look."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import psycopg

from relay.config.settings import Settings
from relay.console.history import LAST_S, SLOT_S
from relay.errors import RelayError
from relay.operate.access import foreseen, reading
from relay.operate.message_size import LargeDead
from relay.operate.status import LATELY_S, LATELY_SEQS, Count, DeadReason, Status, read_dead_reasons, read_large


class Past(NamedTuple):
    """The last hour, as far as the newest events tell.

    Attributes:
        slots: For each slot the time of its beginning, events delivered in it, and their longest delay.
        is_all: There are no other events.
        reasons: The most frequent ones of all dead letters.
        large: Those that a stream has refused for their size.
    """

    slots: Sequence[tuple[float, int, float | None]]
    is_all: bool
    reasons: list[DeadReason]
    large: tuple[LargeDead, ...]

    def completed(self, status: Status) -> Status:
        """Return a status with what `read_standing` leaves out; deliveries are counted in whole slots."""
        first_at = (status.at - LATELY_S) // SLOT_S * SLOT_S
        events = sum(delivered for at, delivered, _ in self.slots if at >= first_at)
        return replace(
            status,
            dead_by_reason=self.reasons if status.dead.events else [],
            large=self.large if status.dead.events else (),
            delivered=Count(events, "" if self.is_all else "at least "),
            delivered_s=status.at - first_at,
        )


def read_past(settings: Settings) -> Past | None:
    """Read it over a connection of its own; None if the outbox cannot be read."""
    try:
        with reading(settings) as reader:
            _, newest = reader.row("operate/range")
            slots = [
                (float(at), int(delivered), delay_s)
                for at, delivered, delay_s in reader.rows(
                    "console/history", (newest - LATELY_SEQS, newest, LAST_S, SLOT_S)
                )
            ]
            return Past(slots, newest <= LATELY_SEQS, read_dead_reasons(reader), read_large(reader))
    except RelayError:
        return None
    except psycopg.Error as error:
        if foreseen(error) is None:
            raise
        return None
