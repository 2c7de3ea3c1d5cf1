"""What the outbox still says of the events that streams have acknowledged."""

from relay.integrity.healing import Healing
from relay.jetstream.stream_reader import StreamReader
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.sending.envelopes import Envelopes, Poison
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import Seen, made_again
from relay.rules.stream.streams import StreamState

# The newest seqs in which another event of a stream is looked for: 15 ms.
_LATELY = 50_000


class DeliveredEvents:
    """The delivered events of the outbox, found by their marks."""

    def __init__(self, reader: OutboxReader, writer: OutboxWriter, envelopes: Envelopes) -> None:
        self._reader = reader
        self._writer = writer
        self._envelopes = envelopes

    async def now(self) -> float:
        """Return the time of the database's clock, Unix seconds."""
        return await self._reader.now()

    def healing(self, stream: StreamReader, seen: Seen, mark: Mark) -> Healing:
        """Return what compares the events that were delivered to a stream with what it holds."""
        return Healing(stream, seen, mark, reader=self._reader, writer=self._writer)

    async def subject_of(self, name: str, mark: Mark, newest: int) -> str | None:
        """Return what the event of a mark was published on; None if that cannot be known any more.

        If its row was deleted, another one of the newest says what goes to the stream of this name: its mark came from
        an acknowledgement of that stream.

        Args:
            name: The stream.
            mark: Our highest mark in it.
            newest: The newest seq.
        """
        event = None if mark.event_id is None else await self._reader.outline_of(mark.event_id)
        if event is None:
            lately = dict(await self._reader.highest_marks(newest - _LATELY, newest))
            other = lately[name].event_id if name in lately else None
            event = None if other is None else await self._reader.outline_of(other)
        try:
            return None if event is None else self._envelopes.subject(event)
        except Poison:
            return None

    async def holds_mark(self, name: str, mark: Mark) -> bool:
        """Report whether the outbox still says that the event of a mark was delivered to the stream of this name."""
        place = None if mark.event_id is None else (await self._reader.places([mark.event_id])).get(mark.event_id)
        return place is not None and place.stream == name

    async def made_again(self, seen: Seen, state: StreamState, id_at_mark: str | None) -> bool:
        """Report whether the stream holds the event at the mark only because that was sent after it was made again."""
        event_id = seen.mark.event_id
        if seen.created in (None, state.created) or event_id is None or event_id != id_at_mark:
            return False
        place = (await self._reader.places([event_id])).get(event_id)
        return place is not None and made_again(seen, state.by_clock(await self.now()), place.delivered_at)

    async def repair_shows(self, seen: Seen, id_at_mark: str | None) -> bool:
        """Report whether the stream holds an event that was delivered after its repair: the one at the mark."""
        event_id = seen.mark.event_id
        if not seen.repaired_at or event_id is None or event_id != id_at_mark:
            return False
        place = (await self._reader.places([event_id])).get(event_id)
        return place is not None and place.delivered_at > seen.repaired_at
