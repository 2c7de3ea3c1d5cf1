"""Find events in doubt in the tails of their streams, before they are sent again.

JetStream cannot be asked whether it holds a message id. So the messages above the floor of a stream are read
(`relay.rules.floors`), and their ids are looked up among the pending events.
"""

import logging
import time

from relay.integrity.watched import Watched, WatchedStreams
from relay.jetstream.connection import Connection
from relay.jetstream.stream_reader import StreamReader, event_ids
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.envelopes import Envelopes, Poison
from relay.rules.in_hand import InHand
from relay.rules.streams import StreamFacts

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# How many messages of the tail to read of a stream with no saved state.
_UNKNOWN_TAIL = 10_000
_FIRST_PENDING = 200


class TailSearch:
    """Looks for events that a stream may hold without a mark."""

    def __init__(
        self, in_hand: InHand, streams: WatchedStreams, reader: OutboxReader, envelopes: Envelopes, metrics: Metrics
    ) -> None:
        self._in_hand = in_hand
        self._streams = streams
        self._reader = reader
        self._envelopes = envelopes
        self._metrics = metrics
        self._asked = in_hand.to_look_for

    async def answer(self, connection: Connection) -> int:
        """Look for all events that were asked for, and give them back to the lanes; returns how many.

        Raises:
            BrokerError: A stream could not be read; what was not looked for is still asked for.
        """
        answered = 0
        while self._asked:
            event = self._asked[0]
            await self._look_for(connection, event.seq, self._envelopes.subject(event))
            self._in_hand.lanes.put_back([self._asked.popleft()], alone=True)
            answered += 1
        return answered

    def give_up(self) -> int:
        """Return what was asked for to the lanes without having looked for it; return how many."""
        given = len(self._asked)
        while self._asked:
            self._in_hand.in_doubt.resolve(self._asked[0].seq)
            self._in_hand.lanes.put_back([self._asked.popleft()], alone=True)
        return given

    async def settle_old_doubts(self, connection: Connection) -> None:
        """Look for what has been in doubt for longer than its stream remembers ids.

        Such an event may wait long, for a right or for room. Meanwhile it would keep the floor of its stream down.

        Raises:
            BrokerError: A stream could not be read.
        """
        now = time.monotonic()
        doubts = self._in_hand.in_doubt
        for seq, subject in list(doubts.subjects.items()):
            facts = self._in_hand.streams.find(subject)
            if facts is not None and doubts.id_may_be_forgotten(seq, facts.duplicate_window_s, now):
                await self._look_for(connection, seq, subject)

    async def _look_for(self, connection: Connection, seq: int, subject: str) -> None:
        """Find out whether the stream holds an event in doubt, unless it remembers the id by itself."""
        facts = await self._facts(connection, subject)
        if facts is not None:
            if not self._in_hand.in_doubt.id_may_be_forgotten(seq, facts.duplicate_window_s, time.monotonic()):
                return
            await self.read(connection, self._streams.of(facts.name))
        if seq not in self._in_hand.in_doubt.found:
            self._in_hand.in_doubt.resolve(seq)

    async def read_of_unknown(self, connection: Connection) -> None:
        """Search the streams that nothing is saved of: those of the first pending events, and those known before.

        Raises:
            BrokerError: One of them could not be read.
        """
        # This database may be behind what is in memory.
        watermark = min(self._in_hand.watermark(), (await self._reader.starting_point()).above)
        subjects = set()
        for event in await self._reader.outlines(watermark, 2**63 - 1, _FIRST_PENDING):
            try:
                subjects.add(self._envelopes.subject(event))
            except Poison:
                continue
        unknown = set(self._streams.unsaved)
        for subject in subjects:
            facts = await self._facts(connection, subject)
            if facts is not None and self._streams.of(facts.name).saved is None:
                unknown.add(facts.name)
        for name in unknown:
            await self.read(connection, self._streams.of(name))

    async def _facts(self, connection: Connection, subject: str) -> StreamFacts | None:
        facts = self._in_hand.streams.find(subject)
        if facts is None:
            facts = await connection.stream_of(subject, _TIMEOUT_S)
            if facts is not None:
                self._in_hand.streams.learn(facts)
        return facts

    async def read(self, connection: Connection, watched: Watched) -> None:
        """Find pending events among the messages of a stream that were not read yet.

        Raises:
            BrokerError: It could not be read to the end.
        """
        state = None if watched.at_namesake else await connection.stream_state(watched.name, _TIMEOUT_S)
        if state is None:
            watched.searched_up_to(0)
            return
        floor = self._in_hand.floors.of(watched.name, otherwise=max(0, state.last_seq - _UNKNOWN_TAIL))
        first = max(watched.read_up_to, floor) + 1
        messages = found = 0
        began = time.monotonic()
        async for page in StreamReader(connection, state).pages(first, state.last_seq):
            messages += len(page)
            places = event_ids(page)
            for seq, event_id in await self._reader.pending_ids(list(places)):
                self._in_hand.in_doubt.find(seq, watched.name, places[event_id])
                found += 1
        watched.searched_up_to(state.last_seq)
        self._metrics.found(found)
        if messages:
            log_event(
                log,
                "info",
                "tail.read",
                "the end of a stream was searched for events that were sent and not marked",
                stream=watched.name,
                messages=messages,
                found=found,
                took_s=round(time.monotonic() - began, 3),
            )
