"""Find what a stream has lost among the delivered events, and have exactly that sent again."""

from relay.integrity.comparison import Comparison
from relay.jetstream.stream_reader import StreamReader, event_ids
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.stream_loss import Seen

# Delivered events are compared so many seqs at a time.
SPAN = 5000
# Messages that are looked at to tell on which side of the loss a sequence lies.
_PROBE = 64


class Healing:
    """Goes through the delivered events of one stream, which may have lost some.

    Args:
        stored: The stream as it is.
        seen: What was last seen of it before.
        mark_seq: The highest sequence that it ever acknowledged.
    """

    def __init__(
        self, stored: StreamReader, seen: Seen, mark_seq: int, *, reader: OutboxReader, writer: OutboxWriter
    ) -> None:
        self._stored = stored
        self._seen = seen
        self._mark_seq = mark_seq
        self._reader = reader
        self._writer = writer
        self.intact_up_to = 0

    async def run(self, *, redeliver: bool) -> int:
        """Compare; give how many events were lost.

        Can be done again where it was interrupted: what was given back is not delivered any more.

        Args:
            redeliver: Have them sent again; they are due at once, in the order of seq.

        Raises:
            BrokerError: The stream could not be read to the end. Some events may be pending again already.
        """
        state = self._stored.state
        if self._seen.created == state.created:
            self.intact_up_to = await self._bisect()
        comparison = Comparison(self._stored.connection, {state.name: self._seen})
        above = max(self.intact_up_to, self._seen.first_seq - 1)
        due_at = await self._reader.now()
        newest = await self._reader.newest()
        cursor = lost = 0
        while cursor < newest:
            rows = await self._reader.delivered(cursor, cursor + SPAN, state.name, above)
            if rows:
                compared = await comparison.compare(state.name, rows)
                lost += len(compared.lost) + len(compared.removed)
                for gone, wait_s in ((compared.lost, 0.0), (compared.removed, compared.forgotten_s)):
                    if gone and redeliver:
                        await self._writer.mark_lost(state.name, [row.seq for row in gone], due_at, wait_s)
                cursor += SPAN
            else:
                following = await self._reader.next_seq(cursor + SPAN)
                cursor = newest if following is None else following - 1
        return lost

    async def _bisect(self) -> int:
        """Give a sequence up to which the stream holds what it acknowledged: a stream is rolled back from its end."""
        state = self._stored.state
        intact, beyond = state.first_seq - 1, min(state.last_seq, self._mark_seq) + 1
        while beyond - intact > _PROBE:
            middle = (intact + beyond) // 2
            if await self._intact_at(middle):
                intact = middle
            else:
                beyond = middle
        return max(0, intact)

    async def _intact_at(self, seq: int) -> bool:
        """Tell whether the first message from a sequence on that is ours is where we know it to be.

        Where none of the next ones is ours this says no, and more is compared than need be.
        """
        async for page in self._stored.pages(seq, seq + _PROBE - 1):
            places = event_ids(page)
            known = await self._reader.places(list(places))
            for event_id, at in places.items():
                if event_id in known:
                    return known[event_id] == (self._stored.state.name, at)
        return False
