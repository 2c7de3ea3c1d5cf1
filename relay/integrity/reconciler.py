"""Keep outbox and streams of one mind: look for events in doubt, notice what a stream has lost, have it sent again.

Nothing is sent over a connection before the streams were looked at: the *gate* is shut until then. The first time in a
term the tail of each stream is read for events that a former run may have sent and not marked. After that single events
are looked for when the duplicate window does not cover them any more (`relay.rules.in_doubt`). Each stream is compared
with the highest mark at each connect, when acknowledgements go back in sequence, and every now and then
(`relay.rules.stream_loss`).
"""

import asyncio
import logging
import time
from dataclasses import replace

from relay.config.sections import HealingSection
from relay.errors import StreamHealed
from relay.event import Event
from relay.integrity.healing import Healing
from relay.jetstream.connection import BrokerError, Connection, LookupRefused
from relay.jetstream.stream_reader import StreamReader, event_ids
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.envelopes import Envelopes, Poison
from relay.rules.floors import Mark
from relay.rules.gate import Gate
from relay.rules.in_hand import InHand
from relay.rules.stream_loss import Seen, suspicious
from relay.rules.streams import StreamFacts

log = logging.getLogger(__name__)

_TICK_S = 0.25
_STEP_S = 1.0
_TIMEOUT_S = 2.0
# So long the leader of a stream, or of the cluster, may take to be found; then events flow unlooked at.
_PATIENCE_S = 10.0
_QUIET_TICK_S = 0.05
_QUIET_TICKS = 100
# Of a stream that nothing is written down of yet, so much of its end is read.
_UNKNOWN_TAIL = 10_000
_FIRST_PENDING = 200
# Marks are read from the table so far around the watermark.
_MARKS_BELOW = 2_000
_MARKS_ABOVE = 50_000


class Reconciler:
    """Stands between the connection and the publisher."""

    def __init__(
        self,
        options: HealingSection,
        *,
        reader: OutboxReader,
        writer: OutboxWriter,
        in_hand: InHand,
        gate: Gate,
        envelopes: Envelopes,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._reader = reader
        self._writer = writer
        self._in_hand = in_hand
        self._gate = gate
        self._doubts = in_hand.in_doubt
        self._floors = in_hand.floors
        self._streams = in_hand.streams
        self._lanes = in_hand.lanes
        self._envelopes = envelopes
        self._metrics = metrics
        self._connection: Connection | None = None
        self._checked_over: Connection | None = None
        # What is known of each stream, and the same as far as it stands in the database.
        self._seen: dict[str, Seen] = {}
        self._written: dict[str, Seen] = {}
        self._asked = in_hand.to_look_for
        self._read_up_to: dict[str, int] = {}
        self._first_time = True
        self._trouble_since: float | None = None
        # Until a look succeeds: that streams cannot be read was said, and they cannot for want of a right.
        self._told = False
        self._forbidden = False
        # Streams whose first look came to nothing; they are looked at with the others.
        self._tried: set[str] = set()
        self._wake = in_hand.look_for_wanted
        self._check_at = 0.0
        self._step_at = 0.0

    def attach(self, connection: Connection) -> None:
        """Look at the streams over this connection before anything is sent over it."""
        self._connection = connection
        self._read_up_to.clear()
        self._trouble_since = None
        # Where they may not be looked at, each connect would wait for an answer that never comes: a right that was
        # given meanwhile shows beside. Silence may be that of a server which has just begun, and is waited for.
        if self._forbidden:
            self._gate.open()
        else:
            self._gate.shut()
        self._wake.set()

    def detach(self) -> None:
        """Ask nothing more: the connection has ended."""
        self._connection = None
        self._gate.shut()

    async def run(self) -> None:
        """Look after the streams for ever.

        Raises:
            StreamHealed: Lost events are pending again; the term has to begin anew to send them in their order.
        """
        await self._recall()
        while True:
            connection = self._connection
            if connection is not None and connection.up:
                try:
                    await self._turn(connection)
                    self._trouble_since = None
                except BrokerError as error:
                    await self._troubled(connection, error)
            if time.monotonic() >= self._step_at:
                self._step_at = time.monotonic() + _STEP_S
                await self.write_down()
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _recall(self) -> None:
        """Begin with what was written down, and with the marks of the last moment before it ended."""
        for seen in await self._reader.streams_seen():
            self._seen[seen.stream] = self._written[seen.stream] = seen
            self._floors.start(seen.stream, seen.floor, seen.mark)
        self._metrics.losses_open(sum(seen.lost for seen in self._seen.values()))
        watermark = self._in_hand.watermark()
        for stream, mark in await self._reader.highest_marks(watermark - _MARKS_BELOW, watermark + _MARKS_ABOVE):
            if stream in self._seen and mark.stream_seq > self._floors.marks[stream].stream_seq:
                self._floors.marks[stream] = mark

    async def _turn(self, connection: Connection) -> None:
        if not self._gate.is_open:
            await self._examine(connection)
            self._open(connection)
        while self._asked:
            await self._answer(connection, self._asked[0])
            self._lanes.put_back([self._asked.popleft()], alone=True)
            self._in_hand.may_flow()
        unknown = self._floors.marks.keys() - self._seen.keys() - self._tried
        news = unknown or (self._floors.regressed and not self._forbidden)
        if news or connection is not self._checked_over or time.monotonic() >= self._check_at:
            await self._check_all(connection)

    async def _troubled(self, connection: Connection, error: BrokerError) -> None:
        """Try again for a while; where this account may not ask, or nobody ever answers, let events flow."""
        if not connection.up:
            return
        now = time.monotonic()
        self._trouble_since = self._trouble_since or now
        self._check_at = now + self._options.check_every_s
        refused = isinstance(error, LookupRefused)
        if not refused and now - self._trouble_since < _PATIENCE_S:
            return
        self._forbidden = refused
        self._tried |= self._floors.marks.keys()
        if not self._told:
            self._told = True
            log_event(
                log,
                "warning",
                "streams.unreadable",
                "the streams cannot be read: an event may be stored twice after an outage longer than the duplicate"
                " window, and what a stream loses is not noticed",
                reason=str(error),
            )
        while self._asked:
            self._doubts.resolve(self._asked[0].seq)
            self._lanes.put_back([self._asked.popleft()], alone=True)
        self._first_time = False
        self._open(connection)

    def _open(self, connection: Connection) -> None:
        if connection is self._connection:
            self._gate.open()
            self._in_hand.may_flow()

    async def _examine(self, connection: Connection) -> None:
        """Look at every stream before anything is sent: has it lost something, does it hold something unmarked?"""
        await self._check_all(connection)
        if self._first_time:
            for stream in list(self._floors.marks):
                await self._read_tail(connection, stream)
            await self._read_tails_of_unknown(connection)
        self._first_time = False

    async def _check_all(self, connection: Connection) -> None:
        self._checked_over = connection
        self._check_at = time.monotonic() + self._options.check_every_s
        self._floors.regressed.clear()
        open_losses = {seen.stream for seen in await self._reader.streams_seen() if seen.lost}
        for stream in list(self._floors.marks):
            seen = replace(self._seen.get(stream, Seen(stream)), lost=stream in open_losses)
            state = await connection.stream_state(stream, _TIMEOUT_S)
            if state is not None:
                self._streams.learn(state.facts)
                self._seen[stream] = await self._check(StreamReader(connection, state), seen)
            else:
                # There is nothing to look at: its events are held until there is, or it is another account's.
                self._tried.add(stream)
        if self._floors.marks:
            self._forbidden = False
            # Not each look asks all that another one was refused.
            self._told = self._told and connection.denied
        self._metrics.losses_open(sum(seen.lost for seen in self._seen.values()))

    async def _check(self, stored: StreamReader, seen: Seen) -> Seen:
        """Compare a stream with our highest mark, and act on a loss; gives what is seen of it."""
        state = stored.state
        mark = self._floors.marks[state.name]
        id_at_mark = None
        # An empty stream begins and ends at 0, which no message has.
        if not seen.lost and max(1, state.first_seq) <= mark.stream_seq <= state.last_seq:
            at_mark = await stored.at(mark.stream_seq)
            id_at_mark = None if at_mark is None else at_mark.message_id or ""
        if seen.lost or not suspicious(replace(seen, mark=mark), state, id_at_mark):
            return replace(seen, created=state.created, first_seq=state.first_seq)
        return await self._suspect(stored, seen, mark)

    async def _suspect(self, stored: StreamReader, seen: Seen, mark: Mark) -> Seen:
        """Find out what a stream has lost. Nothing is sent meanwhile: what was lost goes before what follows it."""
        state = stored.state
        redeliver = self._options.on_loss == "redeliver"
        self._gate.shut()
        await self._quiet()
        healing = Healing(stored, seen, mark.stream_seq, reader=self._reader, writer=self._writer)
        lost = await healing.run(redeliver=redeliver)
        self._floors.start(state.name, healing.intact_up_to, Mark())
        same = seen.created in (None, state.created)
        left_open = bool(lost) and not redeliver
        known = replace(
            seen,
            created=state.created,
            first_seq=state.first_seq,
            floor=healing.intact_up_to,
            mark=Mark(),
            lost=left_open,
            # Nobody has seen to what was lost and is left to a person: `relay verify` has to find it.
            begun_at=seen.begun_at if same or left_open else await self._reader.now(),
        )
        await self._write(known)
        if lost:
            log_event(
                log,
                "error",
                "stream.lost",
                "the stream has lost events that it had acknowledged; "
                + ("they are sent again" if redeliver else "see `relay verify`, which can send them again"),
                stream=state.name,
                events=lost,
                last_seq=state.last_seq,
                acknowledged_up_to=mark.stream_seq,
                recreated=not same,
            )
            if redeliver:
                self._metrics.redelivered(lost)
                raise StreamHealed(f"{lost} events that stream {state.name} has lost are pending again")
        if self._connection is stored.connection and not self._first_time:
            self._open(stored.connection)
        return known

    async def _quiet(self) -> None:
        """Wait until what was sent is marked, or an acknowledgement takes too long."""
        for _ in range(_QUIET_TICKS):
            if not self._in_hand.sent_unmarked() - self._doubts.since.keys() - self._doubts.found.keys():
                return
            await asyncio.sleep(_QUIET_TICK_S)

    async def _read_tails_of_unknown(self, connection: Connection) -> None:
        """Look at the streams that the first pending events go to and that nothing was written down of."""
        subjects = set()
        for event in await self._reader.outlines(self._in_hand.watermark(), 2**63 - 1, _FIRST_PENDING):
            try:
                subjects.add(self._envelopes.subject(event))
            except Poison:
                continue
        for subject in subjects:
            facts = await self._facts(connection, subject)
            if facts is not None and facts.name not in self._read_up_to:
                await self._read_tail(connection, facts.name)

    async def _facts(self, connection: Connection, subject: str) -> StreamFacts | None:
        facts = self._streams.find(subject)
        if facts is None:
            facts = await connection.stream_of(subject, _TIMEOUT_S)
            if facts is not None:
                self._streams.learn(facts)
        return facts

    async def _read_tail(self, connection: Connection, name: str) -> None:
        """Find pending events among the messages of a stream that were not read yet."""
        state = await connection.stream_state(name, _TIMEOUT_S)
        if state is None:
            return
        floor = self._floors.floors.setdefault(name, max(0, state.last_seq - _UNKNOWN_TAIL))
        first = max(self._read_up_to.get(name, 0), floor) + 1
        messages = found = 0
        began = time.monotonic()
        async for page in StreamReader(connection, state).pages(first, state.last_seq):
            messages += len(page)
            places = event_ids(page)
            for seq, event_id in await self._reader.pending_ids(list(places)):
                self._doubts.found[seq] = (name, places[event_id])
                found += 1
        self._read_up_to[name] = state.last_seq
        self._metrics.found(found)
        if messages:
            log_event(
                log,
                "info",
                "tail.read",
                "the end of a stream was searched for events that were sent and not marked",
                stream=name,
                messages=messages,
                found=found,
                took_s=round(time.monotonic() - began, 3),
            )

    async def _answer(self, connection: Connection, event: Event) -> None:
        """Find out whether the stream holds an event in doubt, unless it remembers the id by itself."""
        facts = await self._facts(connection, self._envelopes.subject(event))
        if facts is not None:
            if not self._doubts.outlived(event.seq, facts.duplicate_window_s, time.monotonic()):
                return
            await self._read_tail(connection, facts.name)
        if event.seq not in self._doubts.found:
            self._doubts.resolve(event.seq)

    async def write_down(self) -> None:
        """Let floors rise, and write down what has changed."""
        sent = self._in_hand.sent_unmarked()
        self._doubts.forget(self._in_hand.watermark())
        if not self._first_time:
            # Until the tails were read nobody knows what an earlier owner has sent and not marked.
            self._floors.step(sent, sent)
        for stream, mark in self._floors.marks.items():
            seen = replace(
                self._seen.get(stream, Seen(stream)), floor=self._floors.floors[stream], mark=mark, lost=False
            )
            if seen != self._written.get(stream):
                await self._write(seen)

    async def _write(self, seen: Seen) -> None:
        await self._writer.save_stream_state(seen)
        self._written[seen.stream] = replace(seen, lost=False)
