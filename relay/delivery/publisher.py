"""Publish: from the lanes to the stream, and back as an outcome.

Events leave one by one, pipelined, with at most one of a key in flight; or in atomic batches, with no key in two
batches, if the stream takes them. An acknowledged event goes on to be settled and opens its lane; what is
refused goes to `relay.delivery.refusals`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from relay.delivery.refusals import Refusals
from relay.delivery.settler import Settler
from relay.event import Event
from relay.jetstream.acknowledgements import Stored
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.frames import Message
from relay.jetstream.listener import Listener
from relay.lease_clock import lease_now
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Delivered, FailureClass
from relay.rules.failure.connection_suspects import ConnectionSuspects
from relay.rules.failure.failures import ENDS_CONNECTIONS, Forbidden, NoResponders, Refused, describe
from relay.rules.in_hand import InHand
from relay.rules.sending.atomic_batch import fit
from relay.rules.sending.envelopes import Envelopes, Poison, knocking
from relay.rules.sending.in_flight import Batch, InFlight
from relay.rules.sending.send_gate import Gate
from relay.rules.sending.worth_a_batch import WorthABatch

if TYPE_CHECKING:
    from relay.config.sections import DeliverySection

log = logging.getLogger(__name__)

# Events between two returns to the event loop: about 3 ms, so that acknowledgements and marks go on meanwhile.
_CHUNK = 250
# Room for a row's headers and those of a batch: an event that might not fit with them goes alone.
_BATCH_HEADERS_BYTES = 70_000
_UNSURE_S = 0.25  # what is not answered after this is looked up if its stream is not known
# At most this many unanswered events at once are judged one by one, if what was sent later was stored.
_FEW = 10


class Publisher(Listener):
    """Sends what the lanes let go and takes the answers."""

    def __init__(
        self,
        options: "DeliverySection",
        in_hand: InHand,
        gate: Gate,
        envelopes: Envelopes,
        refusals: Refusals,
        settler: Settler,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._in_hand = in_hand
        self._gate = gate
        self._envelopes = envelopes
        self._refusals = refusals
        self._metrics = metrics
        # Of the parts in hand, those that are asked for each event.
        self._lanes = in_hand.lanes
        self._in_doubt = in_hand.in_doubt
        self._in_flight = in_hand.in_flight
        self._batches = in_hand.batches
        self._open_holds = in_hand.holds.open
        self._settle = settler.take_delivered
        self._timed: int | None = None
        self._worth = WorthABatch(always=options.strategy == "atomic")
        self._connection: Connection | None = None
        self._next_batch = 0
        # Seqs of events that no batch may take again: one that is stored, or was refused, would spoil it.
        self._suspects: set[int] = set()
        # When the newest event was sent that a stream has stored, monotonic seconds.
        self._answered_up_to: dict[str, float] = {}
        # Events that may be what ends the connection each time.
        self._enders = ConnectionSuspects()
        self._wake = in_hand.to_send
        self._changed = asyncio.Event()
        self._resting = True
        self._stopping = False

    def attach(self, connection: Connection) -> None:
        """Send over this connection from now on; every hold ends, since every answer is new."""
        self._connection = connection
        self._enders.stands(time.monotonic())
        self._refusals.attach(connection)
        self._wake.set()

    def detach(self) -> None:
        """Send nothing: `lost` was told that the connection has ended."""

    def stop(self) -> None:
        """Send nothing more; what is in flight is still awaited."""
        self._stopping = True

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        while self._in_hand.in_flight_count():
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._resting = True
            await self._wake.wait()
            self._wake.clear()
            self._resting = False
            try:
                await self._send_all()
            except BrokerError as error:
                self.lost(str(error))

    async def _send_all(self) -> None:
        while self._lanes and not self._stopping and self._gate.may_send(lease_now()):
            connection = self._connection
            if connection is None:
                return
            if self._atomic_next():
                if len(self._batches) >= self._options.atomic_in_flight:
                    return
                await self._send_batch(connection)
            else:
                room = self._options.window - len(self._in_flight)
                if self._enders:
                    allowed = self._enders.allowance(self._in_hand.in_flight_count())
                    room = room if allowed is None else min(room, allowed)
                if room <= 0:
                    return
                await self._send_singles(connection, self._lanes.take(min(room, _CHUNK)))
            if self._lanes:
                await asyncio.sleep(0)

    async def _send_singles(self, connection: Connection, events: Sequence[Event]) -> None:
        now = time.monotonic()
        taken = events
        if self._suspects:
            self._suspects.difference_update(event.seq for event in events)
        if self._in_doubt:
            events = [event for event in events if self._may_go(event, now)]
        in_flight, open_holds, make = self._in_flight, self._open_holds, self._envelopes.make
        begun, unbegun = self._in_hand.streams.begun, set()
        may_send, knocks = begun.may_send, begun.knocks or ()
        max_payload = connection.max_payload
        messages: list[Message] = []
        # Not the exceptions: what they were raised in has this list, and would live on with its events and headers
        # until the collector comes.
        poisoned: list[tuple[Event, str, str]] = []
        for event in events:
            try:
                subject, headers = make(event, max_payload)
            except Poison as poison:
                poisoned.append((event, poison.reason, str(poison)))
                continue
            if open_holds and self._refusals.park(event, subject):
                continue
            if event.seq in knocks:
                headers = knocking(headers, event.payload, max_payload)
            elif not may_send(subject):
                unbegun.add(event.seq)
                self._refusals.begin(event, subject)
                continue
            in_flight[event.seq] = (event, subject, now)
            messages.append((event.seq, subject, event.payload, headers))
        if self._enders:
            # What is looked for in its stream comes back, and is as suspicious then; so does what was not sent yet.
            waiting = {event.seq for event in self._in_hand.to_look_for} | unbegun
            concluded = [event.seq for event in taken if event.seq not in in_flight and event.seq not in waiting]
            self._enders.answered(concluded, proven=False)
        if messages and self._timed not in in_flight:
            self._timed = messages[-1][0]
        await connection.publish(messages)
        for event, kind, fault in poisoned:
            if kind == "size" and not event.unread and await connection.ask_limit() > max_payload:
                self._lanes.put_back([event], alone=True)  # it was too large, and need not be any more
            else:
                self._refusals.bury(event, FailureClass.POISON, kind, fault)

    def _may_go(self, event: Event, now: float) -> bool:
        """Let an event be sent unless the stream holds it already, or may hold it and has forgotten its id."""
        place = self._in_doubt.place_of(event.seq, event.id)
        if not self._in_doubt.must_be_looked_at(event.seq):
            return True
        if place is not None:
            self._in_doubt.resolve(event.seq)
            self._settle(((event, *place, True, time.time()),))
            self._lanes.release(event)
            if self._open_holds:
                # An earlier relay may have sent it by other rules than ours: what it is called now need not be good.
                self._refusals.accepted(event, self._envelopes.wanted(event), place[0])
            return False
        if self._in_doubt.takes_leave(event.seq, now):
            return True
        # What it was sent on, as the search goes by: its row may have been corrected since.
        facts = self._in_hand.streams.find(self._in_doubt.subject(event.seq) or self._envelopes.subject(event))
        if facts is None or self._in_doubt.id_may_be_forgotten(event.seq, facts.name, facts.duplicate_window_s, now):
            self._in_hand.look_for(event)
            return False
        return True

    def _atomic_next(self) -> bool:
        """Report whether the next events go in an atomic batch."""
        head = self._lanes.head_of_batch()
        if head is None or head.seq in self._suspects or self._options.strategy == "singles" or self._enders.isolating:
            return False
        try:
            subject = self._envelopes.subject(head)
        except Poison:
            return False
        facts = self._in_hand.streams.find(subject)
        if facts is None:
            self._refusals.look_up(subject)
            return False
        return self._in_hand.streams.begun.may_send(subject) and self._worth.is_so(facts, self._lanes, time.monotonic())

    async def _send_batch(self, connection: Connection) -> None:
        """Send the next run of events that go to one stream as one batch.

        If one of them is poison, held or very large they all go one by one: that path knows what to do with each.
        """
        taken = self._lanes.take_runs(self._options.atomic_batch)
        if self._in_doubt and not self._in_doubt.disjoint(event.seq for event in taken):
            self._lanes.put_back(taken, alone=True)
            return
        most_bytes = max(connection.max_payload - _BATCH_HEADERS_BYTES, connection.max_payload // 2)
        messages: list[Message] = self._envelopes.make_all(taken, connection.max_payload, most_bytes)
        if self._open_holds:
            messages = list(takewhile(lambda message: not self._refusals.held(message[1]), messages))
        if len(messages) < len(taken):
            self._suspects.add(taken[len(messages)].seq)
            self._lanes.put_back(taken, alone=True)
            return
        batch = fit(taken, messages, self._in_hand.streams, self._suspects)
        self._lanes.requeue(batch.behind)
        self._lanes.put_back(batch.left)
        events, now = batch.events, time.monotonic()
        if batch.stream is None or len(events) == 1:
            self._in_flight[events[0].seq] = (events[0], batch.messages[0][1], now)
            await connection.publish(batch.messages[:1])
        else:
            self._next_batch += 1
            self._batches[self._next_batch] = Batch.of(batch.stream.name, events, batch.messages, now)
            await connection.publish_batch(self._next_batch, batch.messages)

    def stored(self, stored: Sequence[Stored]) -> None:
        """Take the acknowledgements of single events."""
        now, in_flight, release = time.time(), self._in_flight, self._lanes.release_key
        # Answers may end what is known of these, never begin it.
        in_doubt, enders = bool(self._in_doubt), bool(self._enders)
        is_awaited = bool(self._open_holds or self._in_hand.streams.begun.knocks)
        delivered: list[Delivered] = []
        for token, stream, stream_seq, duplicate in stored:
            found = in_flight.pop(token, None)
            if found is None:
                self._in_doubt.answered_late(token, stream, stream_seq)
                continue
            event, subject, sent_at = found
            if token == self._timed:
                self._metrics.stage("publish", (at := time.monotonic()) - sent_at)
                self._worth.answered(stream, at - sent_at, at)
            self._answered_up_to[stream] = sent_at
            if in_doubt:
                self._in_doubt.resolve(token)
            if enders:
                self._enders.answered((token,))
            delivered.append((event, stream, stream_seq, duplicate, now))
            if event.key is not None:
                release(event.key)
            if is_awaited:
                self._refusals.accepted(event, subject, stream)
        if delivered:
            self._settle(delivered)
            if self._resting:
                self._answered()

    def batch_stored(self, batch: int, stream: str, last_seq: int, count: int) -> None:
        """Take the acknowledgement of an atomic batch: contiguous sequences that end with `last_seq`."""
        if (found := self._batches.pop(batch, None)) is None:
            return
        if count == len(found.events):
            now = time.time()
            self._metrics.stage("publish", time.monotonic() - found.sent_at)
            first = last_seq - count + 1
            self._settle([(event, stream, at, False, now) for at, event in enumerate(found.events, first)])
            if self._enders:
                self._enders.answered([event.seq for event in found.events])
            for key in found.keys:
                self._lanes.release_key(key)
        else:
            self._doubt(found)
            self._one_by_one(found.events)
        self._answered()

    def refused(self, token: int, failure: Refused | NoResponders) -> None:
        """Take the refusal of one event."""
        if (found := self._in_flight.pop(token, None)) is not None:
            self._enders.answered((token,))
            self._refusals.failed(found[0], found[1], failure)
            self._answered()

    def batch_refused(self, batch: int, failure: Refused | NoResponders) -> None:
        """Take the refusal of a batch: its events go one by one, so that each shows its own fault."""
        found = self._batches.pop(batch, None)
        if found is None:
            return
        log_event(
            log,
            "info",
            "batch.refused",
            "an atomic batch was refused; its events are sent one by one",
            stream=found.stream,
            events=len(found.events),
            reason=describe(failure),
        )
        self._one_by_one(found.events)
        self._answered()

    def forbidden(self, subject: str, failure: Forbidden) -> None:
        """Take a refused right: nothing that was sent on this subject will be acknowledged."""
        for token, (event, sent_on, _) in list(self._in_flight.items()):
            if sent_on.lower() == subject:
                del self._in_flight[token]
                self._enders.answered((token,))
                self._refusals.failed(event, sent_on, failure)
        for number, batch in list(self._batches.items()):
            if any(sent_on.lower() == subject for sent_on in batch.subjects):
                del self._batches[number]
                self._one_by_one(batch.events)
        self._answered()

    def lost(self, reason: str) -> None:
        """Take the end of the connection: what was in flight is unknown, and is sent again with the same ids."""
        if self._connection is None:
            return
        self._connection, unknown = None, list[Event]()
        for event, sent_at in self._in_hand.take_in_flight():
            self._in_doubt.doubt(event.seq, sent_at, self._envelopes.subject(event), event.id)
            unknown.append(event)
        aside, guilty = self._enders.ended(unknown, reason)
        for event in aside:
            self._in_hand.stick(event)
            self._refusals.warn_aside(event, reason)
        for event in guilty:
            self._in_doubt.resolve(event.seq)
            self._refusals.bury(event, FailureClass.POISON, "connection", f"{ENDS_CONNECTIONS}: {reason}")
        self._one_by_one([event for event in unknown if event not in aside and event not in guilty])
        self._answered()

    def sweep(self) -> None:
        """Give up what was not answered in time, and send the probes that are due; called a few times a second."""
        now = time.monotonic()
        late = self._late(now)
        for token, (event, subject, sent_at) in late:
            del self._in_flight[token]
            self._enders.answered((token,), proven=False)
            self._in_doubt.doubt(event.seq, sent_at, subject, event.id)
            facts = self._in_hand.streams.find(subject)
            answered = self._answered_up_to.get(facts.name, sent_at) if facts is not None else sent_at
            passed_over = self._in_doubt.pass_over(event.seq) if len(late) <= _FEW and answered > sent_at else 0
            self._refusals.unanswered(event, subject, sent_at, passed_over)
        for number, batch in list(self._batches.items()):
            if batch.sent_at <= now - self._options.ack_timeout_s:
                del self._batches[number]
                self._doubt(batch)
                self._one_by_one(batch.events)
        if self._connection is not None:
            self._refusals.probe(now)
            if self._enders and (retry := self._enders.next_retry(now)) is not None:
                self._lanes.put_back([retry], alone=True)
        self._answered()

    def _late(self, now: float) -> list[tuple[int, InFlight]]:
        """Return what was sent by itself and not answered in time, and what no stream will answer."""
        unsure, overdue = now - _UNSURE_S, now - self._options.ack_timeout_s
        sent = takewhile(lambda one: one[1][2] <= unsure, self._in_flight.items())
        no_stream = self._refusals.is_of_no_stream
        return [one for one in sent if one[1][2] <= overdue or no_stream(one[1][1], one[1][2])]

    def _doubt(self, batch: Batch) -> None:
        for event in batch.events:
            self._in_doubt.doubt(event.seq, batch.sent_at, self._envelopes.subject(event), event.id)
        self._in_hand.streams.forget()  # they are looked up again: their subjects may be another stream's by now

    def _one_by_one(self, events: Sequence[Event]) -> None:
        """Put taken events back, to be sent one by one: those too that now wait behind the first of their key."""
        self._suspects.update(event.seq for event in events)
        self._lanes.put_back(events, alone=True)

    def _answered(self) -> None:
        self._wake.set()
        self._changed.set()
