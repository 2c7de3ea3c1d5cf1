"""Reads of the outbox that bring as much as there is room for, and less each time one of them fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from relay.errors import BadValue
from relay.observe.logs import event as log_event
from relay.postgres.database import TooSlow
from relay.rules.in_hand import InHand
from relay.rules.reading.read_batch_size import Read, ReadSize, Room

if TYPE_CHECKING:
    from relay.config.sections import DeliverySection

log = logging.getLogger(__name__)

# A read that fails at whatever it reads is tried again after this.
_UNREADABLE_PAUSE_S = 1.0


class SizedReads:
    """Each kind of read has its own size: what is large or slow for one of them says nothing of the others.

    Attributes:
        fetching: The size of a read above the cursor.
        rereading: That of a read in gaps.
        backfilling: That of a read of what was dropped from memory.
    """

    def __init__(self, options: "DeliverySection", in_hand: InHand) -> None:
        self._in_hand = in_hand
        self.fetching, self.rereading, self.backfilling = (
            ReadSize(options.fetch_batch, options.buffer_bytes) for _ in range(3)
        )
        # Why a read has failed at last that no smaller one can replace.
        self._unreadable = ""
        # The same while nothing above the cursor can be read; empty while it can.
        self._barred_by = ""

    async def read(self, size: ReadSize, read: Callable[[Room], Awaitable[Read]]) -> Read | None:
        """Read as much as there is room for; None if it was not done: the next one is smaller."""
        try:
            found = await read(size.room())
        except TooSlow:
            size.too_slow()
            return None
        except BadValue as error:
            if not size.failed():
                self._report_unreadable(str(error))
                if size is self.fetching:
                    self._barred_by = str(error)
                await asyncio.sleep(_UNREADABLE_PAUSE_S)
            return None
        self.note(size, found)
        return found

    def note(self, size: ReadSize, found: Read) -> None:
        """Note what a read of this size has brought."""
        size.took(found)
        if size is self.fetching:
            self._barred_by = ""

    @property
    def refusal(self) -> str | None:
        """Why nothing that is new can be read, None while it can."""
        if not self._barred_by:
            return None
        return f"nothing after seq {self._in_hand.cursor} can be read: {self._barred_by}"

    def _report_unreadable(self, reason: str) -> None:
        """Report that a read fails and no row can be named as the cause; once for each reason."""
        if reason != self._unreadable:
            self._unreadable = reason
            log_event(
                log,
                "error",
                "read.refused",
                "PostgreSQL cannot read the outbox any further, and names no row as the cause; it is tried again",
                after_seq=self._in_hand.cursor,
                reason=reason,
            )
