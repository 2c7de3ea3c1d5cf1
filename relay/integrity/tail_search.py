"""Find events in doubt in the tails of their streams, before they are sent again.

JetStream cannot be asked whether it holds a message id. So the messages above the floor of a stream are read
(`relay.rules.stream.stream_floors`), and their ids are looked up among the pending events.

Each stream is waited for by itself: one that does not answer gives up no doubt about the events of another one.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from relay.cancellation import all_of
from relay.event import Event
from relay.integrity.marked_tail import ranges_to_read
from relay.integrity.pending_subjects import PendingSubjects, unsent
from relay.integrity.reused_seqs import ReusedSeqs
from relay.integrity.watched import PATIENCE_S, Watched, WatchedStreams
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError, LookupRefused
from relay.jetstream.stream_reader import StoredId, StreamReader, event_ids
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.postgres.database import Unfinished
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.failure.answer_timeouts import Patience
from relay.rules.in_hand import InHand
from relay.rules.sending.envelopes import Envelopes, Poison
from relay.rules.stream.streams import StreamFacts

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# How many messages of the tail to read of a stream with no saved state.
_UNKNOWN_TAIL = 10_000
# Streams, or subjects whose stream is not known, that are asked at once.
_ASKED_AT_ONCE = 50


class TailSearch:
    """Looks for events that a stream may hold without a mark."""

    def __init__(
        self,
        in_hand: InHand,
        streams: WatchedStreams,
        reader: OutboxReader,
        envelopes: Envelopes,
        pending: PendingSubjects,
        reused: ReusedSeqs,
        metrics: Metrics,
    ) -> None:
        self._in_hand = in_hand
        self._streams = streams
        self._reader = reader
        self._envelopes = envelopes
        self._pending = pending
        self._reused = reused
        self._metrics = metrics
        self._patience = Patience(PATIENCE_S)
        self._at_once = asyncio.Semaphore(_ASKED_AT_ONCE)
        # Streams that nothing is saved of and that were not searched, and subjects of the first pending events whose
        # stream may be one of these; None if they have to be found out first.
        self._unknown: set[str] | None = None
        self._first_subjects: set[str] = set()

    @property
    def knows_all(self) -> bool:
        """Whether each stream that nothing is saved of was searched, or is done without."""
        return self._unknown is not None and not self._unknown and not self._first_subjects

    def connected(self) -> None:
        """Wait for each stream again: the connection to NATS is new."""
        self._patience.begin_again()

    def begin_again(self) -> None:
        """Search again what nothing is saved of: the connection to the database is new."""
        self._unknown = None
        self._patience.begin_again()

    async def answer(self, connection: Connection) -> int:
        """Look for the events that were asked for, and for those that are in doubt for longer than ids are remembered.

        A stream that was asked for and is not written down yet is written down.

        The former return to the lanes, at last if their stream does not answer. The latter may wait long, for a right
        or for room, and would keep the floor of their stream down meanwhile.

        Returns:
            How many have returned to the lanes.
        """
        asked, doubts, streams = self._in_hand.to_look_for, self._in_hand.in_doubt, self._in_hand.streams
        # What each was sent on: its row may have been corrected since.
        subjects = {event.seq: doubts.subject(event.seq) or self._envelopes.subject(event) for event in asked}
        # And what it goes to now. What can go nowhere is left to the publisher.
        targets = {event.seq: self._subject(event) for event in asked}
        unknown = {one for one in (*subjects.values(), *targets.values()) if one and streams.find(one) is None}
        answered = await self._try_each(
            connection, {subject: partial(self._facts, connection, subject) for subject in unknown}
        )
        places: dict[int, set[str]] = {}
        forgotten: set[int] = set()
        starts = {
            seq: name
            for seq, target in targets.items()
            if target and not streams.begun.may_send(target) and (name := streams.name_of(target)) is not None
        }
        unbegun = set(starts.values())
        for seq, subject in {**doubts.subjects, **subjects}.items():
            name = streams.name_of(subject)
            if name is None and (seq not in subjects or subject not in answered):
                continue
            may_hold = self._may_hold(seq, name)
            is_forgotten = self._is_forgotten(seq, subject) and (seq in subjects or self._may_ask(may_hold))
            if is_forgotten:
                forgotten.add(seq)
            if seq in subjects or is_forgotten:
                places[seq] = may_hold
            if name is not None and seq in subjects and self._is_unbegun(seq, subject, name):
                unbegun.add(name)
        to_read = set[str]().union(*(places[seq] for seq in forgotten))
        searches = {
            name: partial(self._look_into, connection, name, begin=name in unbegun, read=name in to_read)
            for name in unbegun.union(*places.values())
        }
        done = set(await self._try_each(connection, searches))
        for seq in forgotten:
            if places[seq] <= done and seq not in doubts.found and not self._given_up(places[seq]):
                doubts.miss(seq)
        returned: list[Event] = []
        unready: set[str] = set()
        for _ in range(len(asked)):
            event = asked.popleft()
            of_event = places.get(event.seq)
            if event.seq not in subjects or of_event is None or not of_event <= done:
                asked.append(event)
                continue
            if event.seq in starts and starts[event.seq] not in done:
                asked.append(event)
                continue
            if event.seq not in doubts.found:
                if not of_event:
                    doubts.resolve(event.seq)
                elif event.seq in doubts.absent or self._given_up(of_event):
                    doubts.let_go(event.seq, time.monotonic())
            if event.seq in starts and not streams.begun.may_send(targets[event.seq]):
                unready.add(starts[event.seq])
            returned.append(event)
        self._begin_otherwise(unready)
        # Together, so that they keep their order, which nobody is owed but within a key.
        self._in_hand.lanes.put_back(returned, alone=True)
        return len(returned)

    def _begin_otherwise(self, unready: Collection[str]) -> None:
        """Have the subjects of streams that are not written down looked up again; ask no more if one is silent."""
        begun = self._in_hand.streams.begun
        if self._given_up(unready):
            begun.give_up()
        elif unready:
            begun.asked_in_vain()

    def _subject(self, event: Event) -> str:
        try:
            return self._envelopes.subject(event)
        except Poison:
            return ""

    def _may_hold(self, seq: int, stream: str | None) -> set[str]:
        """Return the streams to look into for an event; none if none may hold it, and none takes its subject.

        Args:
            stream: The one that takes its subject now. If another one may hold the event, each that is written down
                is searched, as after a crash.
        """
        now = set[str]() if stream is None else {stream}
        doubts = self._in_hand.in_doubt
        if not doubts.may_be_elsewhere(seq, stream):
            return now
        return now.union(doubts.sent_to(seq), (watched.name for watched in self._streams))

    def _is_unbegun(self, seq: int, subject: str, stream: str) -> bool:
        """Report whether the stream that takes a subject now is to be written down before the event goes there."""
        if not self._in_hand.streams.begun.may_send(subject):
            return True
        return self._in_hand.in_doubt.may_be_elsewhere(seq, stream) and self._streams.of(stream).saved is None

    def _is_forgotten(self, seq: int, subject: str) -> bool:
        """Report whether an event may be stored, and the stream that takes its subject now may not know its id."""
        facts, doubts = self._in_hand.streams.find(subject), self._in_hand.in_doubt
        if facts is None:
            return doubts.may_be_elsewhere(seq, None)
        return doubts.id_may_be_forgotten(seq, facts.name, facts.duplicate_window_s, time.monotonic())

    def _given_up(self, streams: Collection[str]) -> bool:
        """Report whether one of some streams is done without."""
        return any(self._patience.is_over(name) for name in streams)

    def _may_ask(self, streams: Collection[str]) -> bool:
        """Report whether none of some streams was found silent a moment ago."""
        now = time.monotonic()
        return all(self._patience.may_ask(name, now) for name in streams)

    async def _look_into(self, connection: Connection, name: str, *, begin: bool, read: bool) -> None:
        """Prepare for events that may be in a stream, or are to go there.

        Args:
            begin: Whether to write the stream down first.
            read: Whether to find out which events it holds.
        """
        if begin:
            await self._begin(connection, name)
        if read:
            await self.read(connection, self._streams.of(name))

    async def _begin(self, connection: Connection, name: str) -> None:
        """Write a stream down, if it is not, before the first event is sent there.

        What a later relay finds in doubt lies above what the stream holds now.

        Raises:
            BrokerError: It did not say what it holds, or is to be looked at first.
        """
        state = await connection.stream_state(name, _TIMEOUT_S)
        if state is None:
            # It is gone since it was looked up. Perhaps another one takes its subjects now.
            self._in_hand.streams.forget()
            return
        if self._streams.of(name).gone:
            # It was made again since it was looked at: what it has lost goes before what is to be sent to it first.
            self._streams.of(name).look_again()
            raise BrokerError("it was gone when it was looked at")
        # Known from the first: if it is set back before the first look, and the rows of what it has acknowledged are
        # deleted, nothing else would prove that it is ours.
        self._streams.of(name).begins(state)
        if self._streams.of(name).saved is None:
            self._in_hand.floors.stored(name, state.last_seq + 1)
            # While somebody has locked that table events flow without.
            with suppress(Unfinished):
                await self._streams.save()
        self._in_hand.streams.learn(state.facts)
        self._in_hand.streams.begun.wrote(name, state.facts.subjects)

    async def _try_each(
        self, connection: Connection, searches: Mapping[str, Callable[[], Awaitable[object]]]
    ) -> Collection[str]:
        """Search for several places at once; return those that have answered, and those that are done without."""
        tries = await all_of(*(self._try(connection, place, search) for place, search in searches.items()))
        return [place for place, has_answered in zip(searches, tries, strict=True) if has_answered]

    async def _try(self, connection: Connection, place: str, search: Callable[[], Awaitable[object]]) -> bool:
        """Search for one place; return whether it has answered, or is done without."""
        if self._patience.may_ask(place, time.monotonic()):
            try:
                async with self._at_once:
                    await search()
            except BrokerError as error:
                if connection.up:
                    refused = isinstance(error, LookupRefused)
                    self._patience.no_answer(place, time.monotonic(), refused=refused)
            else:
                self._patience.answered(place)
                return True
        return connection.up and self._patience.is_over(place)

    async def read_of_unknown(self, connection: Connection) -> None:
        """Search the streams that nothing is saved of: those of the first pending events, and those known before."""
        if self._unknown is None:
            self._first_subjects = await self._pending.first()
            self._unknown = set(self._streams.unsaved)
        if self._first_subjects:
            asks = {subject: partial(self._learn_stream, connection, subject) for subject in self._first_subjects}
            self._first_subjects.difference_update(await self._try_each(connection, asks))
        if self._unknown:
            searches = {name: partial(self.read, connection, self._streams.of(name)) for name in self._unknown}
            self._unknown.difference_update(await self._try_each(connection, searches))

    async def _learn_stream(self, connection: Connection, subject: str) -> None:
        facts = await self._facts(connection, subject)
        if facts is not None and self._unknown is not None and self._streams.of(facts.name).saved is None:
            self._unknown.add(facts.name)

    async def _facts(self, connection: Connection, subject: str) -> StreamFacts | None:
        facts = self._in_hand.streams.find(subject)
        if facts is None:
            facts = await connection.stream_of(subject, _TIMEOUT_S)
            if facts is not None:
                self._in_hand.streams.learn(facts, subject, time.monotonic())
        return facts

    async def read(self, connection: Connection, watched: Watched) -> None:
        """Find pending events among the messages of a stream that were not read yet.

        Raises:
            BrokerError: It could not be read to the end, or is to be looked at first.
        """
        if watched.at_namesake and self._takes_what_was_sent(watched.name):
            # It was not known for ours when it was looked at. That it takes what is in doubt proves that it is.
            watched.look_again()
            raise BrokerError("whether it is the stream that acknowledges events was not known")
        state = None if watched.at_namesake else await connection.stream_state(watched.name, _TIMEOUT_S)
        if state is None:
            watched.searched_up_to(0)
            return
        floor = self._in_hand.floors.of(watched.name, otherwise=max(0, state.last_seq - _UNKNOWN_TAIL))
        first = max(watched.read_up_to, floor) + 1
        messages = found = 0
        began = time.monotonic()
        stored = StreamReader(connection, state)
        in_memory = min(self._ids_sent(watched).values(), default=None)
        ranges = await ranges_to_read(stored, watched, first, self._reader, self._in_hand.watermark(), in_memory)
        marked = state.last_seq - first + 1 - sum(end - begin + 1 for begin, end in ranges)
        for begin, end in ranges:
            async for page in stored.pages(begin, end):
                messages += len(page)
                found += await self._find_among(page, watched)
        watched.searched_up_to(state.last_seq)
        self._metrics.found(found)
        if messages or marked:
            log_event(
                log,
                "info",
                "tail.read",
                "the end of a stream was searched for events that were sent and not marked",
                stream=watched.name,
                messages=messages,
                marked=marked,
                found=found,
                took_s=round(time.monotonic() - began, 3),
            )

    def _takes_what_was_sent(self, name: str) -> bool:
        streams = self._in_hand.streams
        return any(streams.name_of(subject) == name for subject in self._in_hand.in_doubt.sent_on())

    async def _find_among(self, page: Sequence[StoredId], watched: Watched) -> int:
        """Find pending events in a page of a stream; return how many."""
        places = event_ids(page)
        pending = {event_id: seq for seq, event_id in await self._reader.pending_ids(list(places))}
        for event_id, seq in pending.items():
            self._in_hand.in_doubt.find(seq, watched.name, places[event_id], event_id)
        # The rows of others that were sent may have been deleted, or marked by hand.
        others = {event_id: seq for event_id, seq in self._ids_sent(watched).items() if event_id in places}
        for event_id in others.keys() - pending.keys():
            self._in_hand.in_doubt.find(others[event_id], watched.name, places[event_id], event_id, listed=False)
        await self._reused.compare(watched.name, page)
        return len(pending)

    def _ids_sent(self, watched: Watched) -> dict[str, int]:
        """Return the seqs of what may have been sent to a stream and is not acknowledged, by id.

        Until all streams were searched over the connections of now an earlier relay may have sent what is in memory.
        """
        in_hand = self._in_hand
        sent = {event_id: seq for seq, event_id in in_hand.in_doubt.ids.items()}
        sent.update((event.id, event.seq) for event, _, _ in in_hand.in_flight.values())
        sent.update((event.id, event.seq) for batch in in_hand.batches.values() for event in batch.events)
        if not (watched.searched and self.knows_all):
            sent.update((event.id, event.seq) for event in unsent(in_hand))
        return sent
