"""What the relay keeps of each stream while it looks after it, and what of that stands in the database.

All of it is kept for each stream, so that a stream that cannot be read takes no care from the others.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from relay.errors import StatementRefused
from relay.jetstream.connection import Connection
from relay.observe.logs import event as log_event
from relay.postgres.database import Unfinished
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.in_hand import InHand
from relay.rules.settling.refused_rows import KEPT
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import Seen
from relay.rules.stream.streams import StreamState

log = logging.getLogger(__name__)

# What the database refuses to save of a stream is tried again after this, seconds.
_REFUSED_PAUSE_S = 5.0
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
        room: What was left of its narrowest limit at the last look, as a share of it; None without a limit, or a look.
        repaired_up_to: What it had lost is stored again once everything up to this seq is settled; None: nothing is
            under way.
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
    room: float | None = None
    repaired_up_to: int | None = None
    _repair: float = 0.0
    _reported: bool = False
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

    def looked(
        self, connection: Connection, mark: Mark, next_at: float, *, room: float | None, at_namesake: bool
    ) -> None:
        """Take a look that has succeeded.

        Args:
            connection: It was made over this one.
            mark: The highest mark when it began.
            next_at: When the next one is due, monotonic seconds.
            room: What is left of its narrowest limit, as a share of it; None without one.
            at_namesake: What was looked at is another stream, so that this one still cannot be read.
        """
        self.looked_over = connection
        self.looked_mark = mark
        self.look_at = next_at
        self.at_namesake = at_namesake
        self.denied = False
        self.room = room
        self._trouble_since = None
        # A look that succeeds may not have asked what was denied before: stay quiet while any right is missing.
        self._reported = self._reported and (at_namesake or connection.denies(self.name))

    def look_again(self) -> None:
        """Let the next look be due now: there is something new to know it by."""
        self.look_at = 0.0

    def begins(self, state: StreamState) -> None:
        """Take how a stream is as the first event is to go there, unless more is known of it."""
        if self.seen.created is None:
            self.seen = replace(self.seen, created=state.created, first_seq=state.first_seq)

    def take_up_loss(self, *, lost: bool) -> None:
        """Note whether a loss waits for the operator."""
        self.seen = replace(self.seen, lost=lost)

    def is_there(self) -> None:
        """Note that a stream of this name exists."""
        self.gone = False

    def is_absent(self, *, gone: bool) -> bool:
        """Note that no stream of this name exists.

        Args:
            gone: The outbox still has events that one has acknowledged.

        Returns:
            Whether it is gone, and was not before.
        """
        is_new = gone and not self.gone
        self.gone = gone
        return is_new

    def intact(self, state: StreamState, mark: Mark, repaired_at: float) -> None:
        """Take it that the stream has lost nothing.

        Args:
            state: How it was found.
            mark: The highest mark, up to which that is known.
            repaired_at: When its open repair was made, Unix seconds; 0 if there is none.
        """
        self.seen = replace(
            self.seen,
            created=state.created,
            first_seq=state.first_seq,
            repaired_at=repaired_at,
            looked=(mark,),
        )

    def repair_begins(self, newest: int) -> None:
        """Note that what the open repair has given back lies up to this seq; once for each repair."""
        if self.seen.repaired_at not in (0.0, self._repair):
            self.repaired_up_to, self._repair = newest, self.seen.repaired_at

    def repair_ends(self, watermark: int) -> bool:
        """Report whether all that was lost is settled again, once for each repair."""
        if self.repaired_up_to is None or watermark < self.repaired_up_to:
            return False
        self.repaired_up_to = None
        return True

    def compared(self, seen: Seen) -> None:
        """Take what a comparison with the outbox has found."""
        self.seen = seen

    def is_news(self) -> bool:
        """Report whether it is still unreported that the stream cannot be read; from now on it is reported.

        The next look that succeeds makes it unreported again.
        """
        is_new, self._reported = not self._reported, True
        return is_new

    def is_saved(self, seen: Seen) -> bool:
        """Report whether this is what the database holds of it."""
        return seen == self.saved

    def was_saved(self, seen: Seen) -> None:
        """Note what the database holds of it from now on; an open loss is the operator's to close."""
        self.saved = replace(seen, lost=False)

    def troubled(self, connection: Connection, now: float, next_at: float, *, denied: bool) -> bool:
        """Take a look, or a search, that has failed.

        Returns:
            Whether to do without it now: at once if the right is missing, after a while of silence else.
        """
        self.room = None
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

    def __init__(self, in_hand: InHand, reader: OutboxReader, writer: OutboxWriter) -> None:
        self._in_hand = in_hand
        self._reader = reader
        self._writer = writer
        self._streams: dict[str, Watched] = {}
        # Streams that were known before, and that the database knows nothing of.
        self.unsaved: set[str] = set()
        # Why the database takes nothing that is to be saved of a stream, and when that is tried again.
        self._refused: dict[str, tuple[str, float]] = {}
        self._database = ""
        # Over this connection to the database all of this was read.
        self.generation = -1
        self._saving = asyncio.Lock()

    def __iter__(self) -> Iterator[Watched]:
        """Go through the streams that our events go to."""
        return iter([self.of(name) for name in self._in_hand.floors.marks])

    def of(self, name: str) -> Watched:
        """Return a stream; one that appears while a term works holds nothing that an earlier one has left."""
        if name not in self._streams:
            self._streams[name] = Watched(Seen(name), searched=True)
        return self._streams[name]

    def rooms(self) -> tuple[tuple[str, float], ...]:
        """Return how much room each stream has that has a limit and could be looked at last: 0 to 1."""
        return tuple((one.name, max(0.0, one.room)) for one in self if one.room is not None)

    def lost(self) -> int:
        """Return how many streams have a loss that waits for the operator, or are gone."""
        return sum(watched.seen.lost or watched.gone for watched in self._streams.values())

    @property
    def is_current(self) -> bool:
        """Whether all of this was read over the connection to the database that is in use."""
        return self.generation == self._reader.generation

    async def recall(self) -> None:
        """Begin with what the database holds: what was saved, and the marks made after that.

        Whatever was known before is forgotten. It was made from marks that this database may have lost.
        """
        generation = self._reader.generation
        self._database = (await self._reader.starting_point()).database.identity
        saved = await self._reader.streams_seen()
        floors = self._in_hand.floors
        floors.clear()
        self.unsaved = self._streams.keys() - {seen.stream for seen in saved}
        self._streams = {seen.stream: Watched(_with_mark(seen), saved=seen) for seen in saved}
        self._in_hand.streams.saved = frozenset(seen.stream for seen in saved if seen.created is not None)
        for seen in saved:
            floors.start(seen.stream, seen.floor, seen.mark)
        watermark = self._in_hand.watermark()
        for stream, mark in await self._reader.highest_marks(watermark - _MARKS_BELOW, watermark + _MARKS_ABOVE):
            if stream in self._streams:
                floors.raise_mark(stream, mark)
        for stream, mark in floors.marks.items():
            self._in_hand.set_backs.begin(stream, mark)
        self.generation = generation

    async def take_up_losses(self) -> None:
        """Learn which losses stand open: another relay may have proved one, and the operator closes them.

        While somebody has locked that table it is left at what was known.
        """
        try:
            lost = {seen.stream for seen in await self._reader.streams_seen(patient=False) if seen.lost}
        except Unfinished:
            return
        for watched in self:
            watched.take_up_loss(lost=watched.name in lost)

    async def save(self) -> None:
        """Let floors rise, and save what has changed; nothing that another database may contradict.

        Raises:
            Unfinished: Somebody has locked the table, or it took too long. What was not saved will be later.
        """
        # One after another: many streams that begin at once would each save all the others too.
        async with self._saving:
            if self.is_current:
                await self._save()

    async def _save(self) -> None:
        in_hand = self._in_hand
        # What a search has found pending lies above the watermark, whatever that says.
        in_hand.in_doubt.forget(min([in_hand.watermark(), *(seq - 1 for seq in in_hand.in_doubt.found_pending())]))
        sent: dict[int, str | None] = dict.fromkeys(in_hand.sent_unmarked())
        sent.update(in_hand.in_doubt.places(in_hand.streams.name_of))
        # Until a tail was searched nobody knows what an earlier owner has sent and not marked.
        in_hand.floors.step(sent, {watched.name for watched in self if not watched.searched})
        now = time.monotonic()
        for watched in self:
            if watched.name in self._refused and now < self._refused[watched.name][1]:
                continue
            floor, mark = in_hand.floors.floors[watched.name], in_hand.floors.marks[watched.name]
            # What was acknowledged after a set-back must not hide it from whoever begins before somebody has looked.
            witnesses = in_hand.set_backs.witnesses(watched.name)
            mark = witnesses[0] if witnesses else mark
            await self.save_one(watched, replace(watched.seen, floor=floor, mark=mark, lost=False), patient=False)

    async def save_one(self, watched: Watched, seen: Seen, *, patient: bool = True) -> None:
        """Save what was seen of one stream, if that is not in the database yet.

        If the database refuses to take it, or keeps its rows as they are, that is reported (`refused`), and it is to be
        tried again.

        Raises:
            Unfinished: As `save`; only if not patient.
        """
        if watched.is_saved(seen):
            return
        try:
            if await self._writer.save_stream_state(seen, self._database, patient=patient):
                watched.was_saved(seen)
                self._refused.pop(watched.name, None)
            elif await self._writer.owns_shards() and await self._is_same_database():
                self._note_refusal(watched.name, KEPT)
        except StatementRefused as error:
            self._note_refusal(watched.name, str(error))

    async def _is_same_database(self) -> bool:
        return (await self._reader.starting_point()).database.identity == self._database

    def _note_refusal(self, name: str, reason: str) -> None:
        """Have the state of a stream saved again later; logged once for each reason."""
        known, _ = self._refused.get(name, ("", 0.0))
        self._refused[name] = reason, time.monotonic() + _REFUSED_PAUSE_S
        if reason != known:
            log_event(
                log,
                "error",
                "streams.unsaved",
                "PostgreSQL refuses to save what is kept of a stream; it is tried again, and events flow. A relay that"
                " begins has more to search, and a loss may be found again",
                stream=name,
                reason=reason,
            )

    def is_refused(self, name: str) -> bool:
        """Report whether the database refuses to save what is kept of a stream."""
        return name in self._refused

    def refused(self) -> tuple[int, str]:
        """Return of how many streams the database refuses to save what is kept, and why that of the last one."""
        reason = next(reversed(self._refused.values()))[0] if self._refused else ""
        return len(self._refused), reason


def _with_mark(seen: Seen) -> Seen:
    """Return what was saved of a stream with the saved mark among the looks: nobody may have looked since then."""
    return replace(seen, looked=tuple(dict.fromkeys((*seen.looked, seen.mark))))
