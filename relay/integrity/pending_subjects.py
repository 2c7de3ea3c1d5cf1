"""On which subjects the events go that are not delivered yet."""

from collections.abc import Iterator
from itertools import chain, islice

from relay.event import Event
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.in_hand import InHand
from relay.rules.order.seq_bounds import LARGEST
from relay.rules.sending.envelopes import Envelopes, Poison

_FIRST = 200


class PendingSubjects:
    """The subjects of the first pending events, from the table and from memory."""

    def __init__(self, in_hand: InHand, reader: OutboxReader, envelopes: Envelopes) -> None:
        self._in_hand = in_hand
        self._reader = reader
        self._envelopes = envelopes

    async def first(self) -> set[str]:
        """Return the subjects of the first pending events, and of the first in memory that are not in flight."""
        # This database may be behind what is in memory.
        watermark = min(self._in_hand.watermark(), (await self._reader.starting_point()).above)
        subjects = set()
        pending = await self._reader.outlines(watermark, LARGEST, _FIRST)
        # The rows of those in memory may have been deleted since they were read.
        for event in (*pending, *islice(unsent(self._in_hand), _FIRST)):
            try:
                subjects.add(self._envelopes.subject(event))
            except Poison:
                continue
        return subjects

    async def all_known(self) -> set[str]:
        """Return these, and what the events in doubt were sent on: their rows may have been corrected or deleted."""
        return await self.first() | self._in_hand.in_doubt.sent_on()


def unsent(in_hand: InHand) -> Iterator[Event]:
    """Go through the events in memory that are not in flight."""
    return chain(in_hand.lanes.unsent(), in_hand.to_look_for, *(one.parked for one in in_hand.holds.open.values()))
