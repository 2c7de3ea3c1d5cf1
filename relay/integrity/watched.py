"""What the relay keeps of each stream while it looks after it, and what of that stands in the database.

All of it is kept for each stream, so that a stream that cannot be read takes no care from the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from relay.jetstream.connection import Connection
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.envelopes import Envelopes, Poison
from relay.rules.floors import Mark
from relay.rules.in_hand import InHand
from relay.rules.stream_loss import Seen, made_again
from relay.rules.streams import StreamState

# Marks are read back from the table in this range around the watermark, seqs.
_MARKS_BELOW = 2_000
_MARKS_ABOVE = 50_000

# How long to wait for the leader of a stream before sending without having looked at it, seconds.
PATIENCE_S = 10.0


@dataclass
class Watched:
    """One stream.

    Attributes:
        seen: What was last seen of it.
        saved: The same as it stands in the database; None if nothing does.
        searched: Its tail needs no search: it was searched, or will not be.
        read_up_to: Its messages were searched up to here, over the connection of now.
        looked_over: The connection over which it was looked at last, or over which that was given up.
        looked_mark: The highest mark at that time.
        look_at: When the next look is due, monotonic seconds.
        gone: It does not exist any more, and the outbox has events that it has acknowledged.
        at_namesake: What answers to its name is another stream.
        denied: The server has refused to say what it holds, for want of a right.
        reported: That it cannot be read was reported, and no look has succeeded since.
    """

    seen: Seen
    saved: Seen | None = None
    searched: bool = False
    read_up_to: int = 0
    looked_over: Connection | None = None
    looked_mark: Mark | None = None
    look_at: float = 0.0
    gone: bool = False
    at_namesake: bool = False
    denied: bool = False
    reported: bool = False
    _trouble_since: float | None = None

    @property
    def name(self) -> str:
        """The stream as it is written in marks."""
        return self.seen.stream

    def searched_up_to(self, stream_seq: int) -> None:
        """Take it that its messages up to this one were searched."""
        self.read_up_to = max(self.read_up_to, stream_seq)
        self.searched = True

    def connected(self) -> None:
        """Begin to count again: over a new connection everything may be different."""
        self.read_up_to = 0
        self._trouble_since = None

    def looked(self, connection: Connection, mark: Mark, next_at: float, *, at_namesake: bool) -> None:
        """Take a look that has succeeded.

        Args:
            connection: It was made over this one.
            mark: The highest mark when it began.
            next_at: When the next one is due, monotonic seconds.
            at_namesake: What was looked at is another stream, so that this one still cannot be read.
        """
        self.looked_over = connection
        self.looked_mark = mark
        self.look_at = next_at
        self.at_namesake = at_namesake
        self.denied = False
        self._trouble_since = None
        # A look that succeeds may not have asked what was denied before: stay quiet while any right is missing.
        self.reported = self.reported and (at_namesake or connection.denies(self.name))

    def troubled(self, connection: Connection, now: float, next_at: float, *, denied: bool) -> bool:
        """Take a look, or a search, that has failed.

        Returns:
            Whether to do without it now: at once if the right is missing, after a while of silence else.
        """
        if self._trouble_since is None:
            self._trouble_since = now
        if not denied and now - self._trouble_since < PATIENCE_S:
            return False
        self.denied = denied
        self.looked_over = connection
        self.look_at = next_at
        self.searched = True
        return True


class WatchedStreams:
    """The streams that our events go to, and what of them stands in the database."""

    def __init__(self, in_hand: InHand, reader: OutboxReader, writer: OutboxWriter, envelopes: Envelopes) -> None:
        self._in_hand = in_hand
        self._reader = reader
        self._writer = writer
        self._envelopes = envelopes
        self._streams: dict[str, Watched] = {}
        # Streams that were known before, and that the database knows nothing of.
        self.unsaved: set[str] = set()
        self._database = ""

    def __iter__(self) -> Iterator[Watched]:
        """Go through the streams that our events go to."""
        return iter([self.of(name) for name in self._in_hand.floors.marks])

    def of(self, name: str) -> Watched:
        """Return a stream; one that appears while a term works holds nothing that an earlier one has left."""
        if name not in self._streams:
            self._streams[name] = Watched(Seen(name), searched=True)
        return self._streams[name]

    def lost(self) -> int:
        """Return how many streams have a loss that waits for the operator, or are gone."""
        return sum(watched.seen.lost or watched.gone for watched in self._streams.values())

    async def recall(self) -> None:
        """Begin with what the database holds: what was saved, and the marks made after that.

        Whatever was known before is forgotten. It was made from marks that this database may have lost.
        """
        self._database = (await self._reader.starting_point()).database.identity
        saved = await self._reader.streams_seen()
        floors = self._in_hand.floors
        floors.clear()
        self.unsaved = self._streams.keys() - {seen.stream for seen in saved}
        self._streams = {seen.stream: Watched(seen, saved=seen) for seen in saved}
        for seen in saved:
            floors.start(seen.stream, seen.floor, seen.mark)
        watermark = self._in_hand.watermark()
        for stream, mark in await self._reader.highest_marks(watermark - _MARKS_BELOW, watermark + _MARKS_ABOVE):
            if stream in self._streams:
                floors.raise_mark(stream, mark)

    async def take_up_losses(self) -> None:
        """Learn which losses stand open: another relay may have proved one, and the operator closes them."""
        lost = {seen.stream for seen in await self._reader.streams_seen() if seen.lost}
        for watched in self:
            watched.seen = replace(watched.seen, lost=watched.name in lost)

    async def subject_of(self, mark: Mark) -> str | None:
        """Return what the event of a mark was published on; None if its row was deleted, or the rules have changed."""
        event = None if mark.event_id is None else await self._reader.outline_of(mark.event_id)
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
        return place is not None and made_again(seen, state, place.delivered_at)

    async def repair_shows(self, seen: Seen, id_at_mark: str | None) -> bool:
        """Report whether the stream holds an event that was delivered after its repair: the one at the mark."""
        event_id = seen.mark.event_id
        if not seen.repaired_at or event_id is None or event_id != id_at_mark:
            return False
        place = (await self._reader.places([event_id])).get(event_id)
        return place is not None and place.delivered_at > seen.repaired_at

    async def save(self) -> None:
        """Let floors rise, and save what has changed."""
        in_hand = self._in_hand
        # What a search has found pending lies above the watermark, whatever that says.
        in_hand.in_doubt.forget(min([in_hand.watermark(), *(seq - 1 for seq in in_hand.in_doubt.found)]))
        sent: dict[int, str | None] = dict.fromkeys(in_hand.sent_unmarked())
        sent.update(in_hand.in_doubt.places(in_hand.streams.name_of))
        # Until a tail was searched nobody knows what an earlier owner has sent and not marked.
        in_hand.floors.step(sent, {watched.name for watched in self if not watched.searched})
        for watched in self:
            floor, mark = in_hand.floors.floors[watched.name], in_hand.floors.marks[watched.name]
            await self.save_one(watched, replace(watched.seen, floor=floor, mark=mark, lost=False))

    async def save_one(self, watched: Watched, seen: Seen) -> None:
        """Save what was seen of one stream, if that is not in the database yet."""
        if seen != watched.saved and await self._writer.save_stream_state(seen, self._database):
            watched.saved = replace(seen, lost=False)
