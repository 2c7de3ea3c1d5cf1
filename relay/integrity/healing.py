"""Find what a stream has lost among the delivered events, and have exactly that sent again."""

import logging
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from relay.errors import StatementRefused
from relay.integrity.comparison import Comparison
from relay.jetstream.stream_reader import StreamReader, event_ids
from relay.observe.logs import event as log_event
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import DeliveredRow, Seen

log = logging.getLogger(__name__)

# Delivered events are compared in ranges of this many seqs.
SPAN = 5000
# Messages that are read to find out on which side of the loss a sequence lies.
_PROBE = 64


def _stream_seq(mark: Mark) -> int:
    return mark.stream_seq


class Loss(NamedTuple):
    """What a stream has lost.

    Attributes:
        events: How many of ours.
        newest_at: When the newest of them was delivered, Unix seconds; 0 if there is none.
        oldest_intact_at: When the oldest event that it still holds was delivered, of those that were compared, Unix
            seconds; infinite if there is none.
        highest_intact: Where the highest of these lies.
    """

    events: int
    newest_at: float
    oldest_intact_at: float
    highest_intact: Mark


class Healing:
    """Goes through the delivered events of one stream, which may have lost some.

    Args:
        stored: The stream as it is; somebody has made sure that it is the one that has acknowledged our events.
        seen: What was last seen of it before, under the name that its rows have: without a domain if the stream had
            none when they were marked.
        mark: The highest sequence that it ever acknowledged, with the event there.
    """

    def __init__(
        self, stored: StreamReader, seen: Seen, mark: Mark, *, reader: OutboxReader, writer: OutboxWriter
    ) -> None:
        self._stored = stored
        self._seen = seen
        self._mark = mark
        self._reader = reader
        self._writer = writer
        self.intact_up_to = 0
        # Why rows were refused, so that each reason is logged once.
        self._reported: set[str] = set()

    async def run(self, *, redeliver: bool) -> Loss:
        """Compare, and return what was lost.

        Can be repeated if it was interrupted: what was given back is not delivered any more.

        Args:
            redeliver: Have them sent again; they are due at once, in the order of seq.

        Raises:
            BrokerError: The stream could not be read to the end. Some events may be pending again already.
        """
        state = self._stored.state
        if self._seen.created == state.created:
            self.intact_up_to = await self._bisect()
        above = max(self.intact_up_to, self._seen.first_seq - 1)
        due_at = await self._reader.now()
        comparison = Comparison(self._stored.connection, {self._seen.stream: self._seen}, None, now=due_at)
        newest = await self._reader.newest()
        following = await self._reader.next_seq(BELOW_ALL)
        cursor = newest if following is None else following - 1
        lost = 0
        newest_at, oldest_intact_at, highest_intact = 0.0, inf, Mark()
        while cursor < newest:
            rows = await self._reader.delivered(cursor, cursor + SPAN, self._seen.stream, above)
            if rows:
                compared = await comparison.compare(self._seen.stream, rows)
                oldest_intact_at = min(oldest_intact_at, compared.oldest_intact_at)
                highest_intact = max(highest_intact, compared.highest_intact, key=_stream_seq)
                lost += len(compared.lost) + len(compared.removed)
                newest_at = max([newest_at, *(row.delivered_at for row in (*compared.lost, *compared.removed))])
                for gone, wait_s in ((compared.lost, 0.0), (compared.removed, compared.forgotten_s)):
                    if gone and redeliver:
                        await self._give_back(gone, due_at, wait_s)
                cursor += SPAN
            else:
                following = await self._reader.next_seq(cursor + SPAN)
                cursor = newest if following is None else following - 1
        return Loss(lost, newest_at, oldest_intact_at, highest_intact)

    async def _give_back(self, gone: Sequence[DeliveredRow], due_at: float, wait_s: float) -> None:
        """Have lost events sent again, all but those whose rows the database refuses to change: the loss stays open."""
        try:
            await self._writer.mark_lost(self._seen.stream, gone, due_at, wait_s)
        except StatementRefused as error:
            middle = len(gone) // 2
            for part in (gone[:middle], gone[middle:]) if middle else ():
                await self._give_back(part, due_at, wait_s)
            if not middle and str(error) not in self._reported:
                self._reported.add(str(error))
                log_event(
                    log,
                    "error",
                    "settle.refused",
                    "PostgreSQL refuses to change the row of an event that its stream has lost; it is not sent again",
                    event_id=gone[0].event_id,
                    seq=gone[0].seq,
                    reason=str(error),
                )

    async def _bisect(self) -> int:
        """Return a sequence up to which the stream holds what it acknowledged: it is rolled back from its end."""
        state = self._stored.state
        event_id = self._mark.event_id
        places = {} if event_id is None else await self._reader.places([event_id])
        if event_id not in places:
            return 0
        before = places[event_id].delivered_at
        intact, beyond = state.first_seq - 1, min(state.last_seq, self._mark.stream_seq) + 1
        while beyond - intact > _PROBE:
            middle = (intact + beyond) // 2
            if await self._intact_at(middle, before):
                intact = middle
            else:
                beyond = middle
        return max(0, intact)

    async def _intact_at(self, seq: int, before: float) -> bool:
        """Report whether the first message from a sequence on that is ours is where we know it to be.

        What was not marked before the mark may have been stored after the stream was rolled back: that it is in its
        place says nothing of what lies below it. If none of the next ones is ours this says no, and more is compared
        than need be.
        """
        async for page in self._stored.pages(seq, seq + _PROBE - 1):
            places = event_ids(page)
            known = await self._reader.places(list(places))
            for event_id, at in places.items():
                if event_id in known:
                    stream, stream_seq, delivered_at = known[event_id]
                    return (stream, stream_seq) == (self._seen.stream, at) and delivered_at < before
        return False
