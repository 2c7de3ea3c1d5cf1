"""Send events of the outbox again: beside the relay, over a connection of its own, leaving no mark on any event.

Events go in the order of seq, each key's one after the other. A replayed event has a message id of its own, made
of its id and the number of the replay: the duplicate window does not swallow it, but drops what a replay that was
broken off sends a second time.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import RelayError
from relay.event import Event
from relay.jetstream.acknowledgements import Stored
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.listener import Listener
from relay.outcomes import FailureClass
from relay.rules.failure.failures import Forbidden, NoResponders, Refused, classify, describe
from relay.rules.order.lanes import Lanes
from relay.rules.sending.envelopes import MESSAGE_ID, Envelopes, Poison

REPLAY = "Outbox-Replay"
"""Header with the number of the replay, which is that of its line in the audit table."""

REPLAY_OF = "Outbox-Replay-Of"
"""Header with the id of the event that is replayed."""

_OUR_HEADERS_BYTES = 256
# Fewer at a time than the relay sends, so that live events find short queues everywhere.
_WINDOW = 100
_CHUNK = 50
_CHUNKS_A_SECOND = 20
_ACK_TIMEOUT_S = 5.0


class Halted(RelayError):
    """An event cannot be replayed. All events before its batch were sent; the replay can be resumed."""


class Trouble(Exception):
    """The broker could not take the rest of a batch now; it may later. What was in flight is unknown."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How events are replayed.

    Attributes:
        number: Of the replay; part of the message ids.
        same_id: Send the id of the event instead, and have the duplicate window drop what the stream has.
        rate: Events a second at most.
    """

    number: int
    same_id: bool
    rate: float


def message_id(event_id: str, manner: Manner) -> str:
    """Return the message id under which an event is replayed."""
    return event_id if manner.same_id else f"{event_id}.replay-{manner.number}"


def envelope(event: Event, envelopes: Envelopes, manner: Manner, max_payload: int) -> tuple[str, str]:
    """Make subject and lines of the headers of a replayed event.

    Raises:
        Poison: They break a rule, or the message would be too large.
    """
    subject, lines = envelopes.make(event, max_payload - _OUR_HEADERS_BYTES)
    own = f"{MESSAGE_ID}: {message_id(event.id, manner)}\r\n{REPLAY}: {manner.number}\r\n{REPLAY_OF}: {event.id}\r\n"
    return subject, lines.replace(f"{MESSAGE_ID}: {event.id}\r\n", own)


class Pace:
    """Lets events go at an even rate; what was not used while waiting is not caught up with."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next_at = 0.0
        self.chunk = max(1, min(_CHUNK, round(rate / _CHUNKS_A_SECOND)))

    def pause(self, now: float, count: int) -> float:
        """Return the seconds to wait before that many events may go, at the monotonic time `now`."""
        begins = max(now, self._next_at)
        self._next_at = begins + count / self._rate
        return begins - now


class Replayer(Listener):
    """Sends batches of events and waits until all of one are in a stream.

    Attributes:
        duplicates: How many the duplicate window has dropped.
    """

    def __init__(self, envelopes: Envelopes, manner: Manner) -> None:
        self._envelopes = envelopes
        self._manner = manner
        self._pace = Pace(manner.rate)
        self._lanes = Lanes()
        self._in_flight: dict[int, Event] = {}
        self._left: dict[int, Event] = {}
        self._failure: tuple[Event | None, str, bool] | None = None
        self._changed = asyncio.Event()
        self.duplicates = 0

    async def send(self, connection: Connection, events: Sequence[Event]) -> None:
        """Send events, or what an earlier call has left of them, and wait for all acknowledgements.

        Raises:
            Trouble: The broker does not take them now; call it again.
            Halted: One of them can never be sent like this.
        """
        self._left = self._left or {event.seq: event for event in events}
        self._in_flight.clear()
        self._failure = None
        self._lanes = Lanes(stuck_limit=len(self._left))
        self._lanes.offer(self._left.values())
        while self._left:
            room = _WINDOW - len(self._in_flight)
            taken = self._lanes.take(min(room, self._pace.chunk)) if room > 0 else []
            if taken:
                await asyncio.sleep(self._pace.pause(time.monotonic(), len(taken)))
                await self._publish(connection, taken)
            else:
                await self._answered()
            if self._failure is not None:
                self._give_up(*self._failure)

    async def _publish(self, connection: Connection, events: Sequence[Event]) -> None:
        messages = []
        for event in events:
            try:
                subject, lines = envelope(event, self._envelopes, self._manner, connection.max_payload)
            except Poison as poison:
                raise Halted(f"event {event.seq} ({event.id}) cannot be sent: {poison}") from poison
            messages.append((event.seq, subject, event.payload, lines))
            self._in_flight[event.seq] = event
        try:
            await connection.publish(messages)
        except BrokerError as error:
            raise Trouble(str(error)) from error

    async def _answered(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(_ACK_TIMEOUT_S):
                await self._changed.wait()
        except TimeoutError:
            raise Trouble("no acknowledgement in time") from None

    def _give_up(self, event: Event | None, text: str, for_good: bool) -> None:
        if for_good and event is not None:
            raise Halted(f"event {event.seq} ({event.id}) was refused: {text}")
        raise Trouble(text)

    def stored(self, stored: Sequence[Stored]) -> None:
        """Take the acknowledgements of single events."""
        for token, _, _, duplicate in stored:
            event = self._in_flight.pop(token, None)
            if event is not None:
                self._left.pop(token, None)
                self.duplicates += duplicate
                self._lanes.release(event)
                self._changed.set()

    def refused(self, token: int, failure: Refused | NoResponders) -> None:
        """Take the refusal of one event."""
        event = self._in_flight.get(token)
        verdict = classify(failure)
        passing = verdict.failure_class in (FailureClass.OUTAGE, FailureClass.CAPACITY)
        self._fail(event, describe(failure), for_good=not passing)

    def forbidden(self, subject: str, failure: Forbidden) -> None:
        """Take a refused right."""
        for event in self._in_flight.values():
            if self._envelopes.subject(event).lower() == subject:
                self._fail(event, describe(failure), for_good=True)
                return

    def lost(self, reason: str) -> None:
        """Take the end of the connection."""
        self._fail(None, reason, for_good=False)

    def _fail(self, event: Event | None, text: str, *, for_good: bool) -> None:
        if self._failure is None:
            self._failure = (event, text, for_good)
        self._changed.set()
