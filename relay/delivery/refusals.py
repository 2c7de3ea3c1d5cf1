"""What is done with events that were not stored: asked about, held, postponed, or buried."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relay.event import Event
from relay.jetstream.connection import BrokerError, Connection
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Buried, Noted, Postponed
from relay.rules.envelopes import Envelopes
from relay.rules.failures import (
    Failure,
    FailureClass,
    NoResponders,
    Scope,
    TimedOut,
    Unacknowledging,
    backoff,
    classify,
    describe,
)
from relay.rules.holds import Hold, Holds
from relay.rules.lanes import Lanes
from relay.rules.streams import StreamMap
from relay.rules.unsettled import Books

log = logging.getLogger(__name__)

_LOOKUP_TIMEOUT_S = 2.0
# A subject that no stream takes is looked up again at most this often, seconds.
_LOOKUP_PAUSE_S = 1.0


@dataclass(frozen=True)
class RefusalOptions:
    """What follows a failure; the fields follow the ``[failures]`` section.

    Attributes:
        held_events: How many events may wait in memory before further ones are left in the outbox.
        held_bytes: With so many bytes of payload in memory likewise.
    """

    max_attempts: int = 10
    backoff_base_s: float = 1.0
    backoff_max_s: float = 300.0
    on_dead: Literal["skip", "block"] = "skip"
    on_misconfigured: Literal["hold", "dead"] = "hold"
    held_events: int = 10_000
    held_bytes: int = 16 * 1024 * 1024


class Refusals:
    """Decides by the table of `relay.rules.failures` and carries it out.

    Args:
        write: Takes what must be written down: postponements, dead letters, notes.
        on_hold_end: Called when held events may flow again.
    """

    def __init__(
        self,
        options: RefusalOptions,
        *,
        lanes: Lanes,
        holds: Holds,
        books: Books,
        envelopes: Envelopes,
        metrics: Metrics,
        write: Callable[[Postponed | Buried | Noted], None],
        on_hold_end: Callable[[], None],
    ) -> None:
        self._options = options
        self._lanes = lanes
        self._holds = holds
        self._books = books
        self._envelopes = envelopes
        self._metrics = metrics
        self._write = write
        self._on_hold_end = on_hold_end
        self._connection: Connection | None = None
        self._questions: deque[tuple[str, Event | None, Failure]] = deque()
        self._asked: dict[str, float] = {}
        self._asking = asyncio.Event()
        self.streams = StreamMap()

    @property
    def open_holds(self) -> dict[str, Hold]:
        """The open holds by scope: the very dict, so that its being empty costs nothing to see."""
        return self._holds.open

    def attach(self, connection: Connection) -> None:
        """Ask over this connection from now on; nothing that was known of streams or holds counts any more."""
        self._connection = connection
        self.streams.forget()
        self._asked.clear()
        for hold in self._holds.end_all():
            self._resume(hold)

    def held(self, subject: str) -> Hold | None:
        """Give the hold that a subject is under."""
        facts = self.streams.find(subject)
        scopes = (f"subject {subject}",) if facts is None else (f"subject {subject}", f"stream {facts.name}")
        return self._holds.find(*scopes)

    def park(self, event: Event, subject: str) -> bool:
        """Let an event wait if its subject is under a hold and it is not the probe. Gives whether it waits."""
        hold = self.held(subject)
        if hold is None:
            return False
        if hold.probing == event.seq:
            facts = self.streams.find(subject)
            if facts is None or not facts.no_ack:
                return False
            # It may be stored already, and would be once more after the duplicate window: the look-up is the probe.
            self._ask(event, Unacknowledging(facts.name))
            return True
        self._holds.put_off(event.seq, time.monotonic())
        self._wait(hold, event)
        return True

    def _wait(self, hold: Hold, event: Event) -> None:
        """Keep an event in its hold; where memory is short, leave it in the outbox, but for one to probe with."""
        waiting = self._holds.parked_events() + self._lanes.stuck_events
        crowded = waiting >= self._options.held_events or self._books.payload_bytes > self._options.held_bytes
        if crowded and hold.parked:
            self._books.settle(self._lanes.drop_head(event))
        else:
            self._lanes.stick(event)
            hold.parked.append(event)

    def probe(self, now: float) -> None:
        """Send the probes that are due, by giving them back to the lanes."""
        for event in self._holds.due(now):
            self._lanes.put_back([event], alone=True)

    def accepted(self, event: Event, stream: str) -> None:
        """End the holds that an acknowledged event was under."""
        # By what it probed as well: the subject may belong to another stream by now.
        self._concluded(event)
        self._end(f"subject {self._envelopes.subject(event)}")
        self._end(f"stream {stream}")

    def _end(self, scope: str) -> None:
        hold = self._holds.end(scope)
        if hold is not None:
            log_event(
                log,
                "info",
                "hold.ended",
                "events flow again",
                scope=hold.scope,
                failure_class=str(hold.failure_class),
                held_s=round(time.monotonic() - hold.since, 1),
                events=len(hold.parked),
            )
            self._resume(hold)

    def _resume(self, hold: Hold) -> None:
        # One by one: more than one of a key may be parked only behind its lane, never in the hold itself.
        self._lanes.put_back(list(hold.parked), alone=True)
        self._on_hold_end()

    def failed(self, event: Event, failure: Failure) -> None:
        """Do what the class of a failure asks for, when it is known."""
        if isinstance(failure, NoResponders) and failure.stream_exists is None:
            self._ask(event, failure)
        else:
            self._decide(event, failure)

    def _decide(self, event: Event, failure: Failure) -> None:
        verdict = classify(failure)
        subject = self._envelopes.subject(event)
        self._metrics.failed(str(verdict.failure_class))
        match verdict.failure_class:
            case FailureClass.POISON:
                self.bury(event, verdict.failure_class, "refused", describe(failure))
            case FailureClass.UNKNOWN:
                self._retry(event, describe(failure))
            case FailureClass.CONFIGURATION if self._options.on_misconfigured == "dead":
                self.bury(event, verdict.failure_class, "configuration", describe(failure))
            case _:
                facts = self.streams.find(subject)
                by_stream = verdict.scope is Scope.STREAM and facts is not None
                scope = f"stream {facts.name}" if by_stream and facts is not None else f"subject {subject}"
                self._hold(event, subject, scope, verdict.failure_class, describe(failure))

    def _hold(self, event: Event, subject: str, scope: str, failure_class: FailureClass, reason: str) -> None:
        hold, news = self._holds.fail(scope, failure_class, reason, event, time.monotonic(), random.random())
        self._wait(hold, event)
        if news:
            self._write(Noted(event, reason))
            log_event(
                log,
                "error" if failure_class is FailureClass.CONFIGURATION else "warning",
                "hold.opened",
                "events wait; one of them is tried again from time to time",
                scope=scope,
                failure_class=str(failure_class),
                event_id=event.id,
                subject=subject,
                reason=reason,
            )

    def _concluded(self, event: Event) -> None:
        """End the hold whose probe got an answer of its own: whatever was wrong there is over."""
        hold = self._holds.probed_by(event.seq)
        if hold is not None:
            self._end(hold.scope)

    def _retry(self, event: Event, error: str) -> None:
        attempts = event.attempts + 1
        if attempts >= self._options.max_attempts:
            self.bury(event._replace(attempts=attempts), FailureClass.UNKNOWN, "attempts", error)
            return
        self._concluded(event)
        delay_s = backoff(attempts, self._options.backoff_base_s, self._options.backoff_max_s, random.random())
        self._lanes.stick(event)
        self._books.postpone(event)
        self._write(Postponed(event, attempts, delay_s, error))
        log_event(
            log,
            "warning",
            "event.postponed",
            "an event was refused and is tried again",
            event_id=event.id,
            subject=self._envelopes.subject(event),
            failure_class=str(FailureClass.UNKNOWN),
            attempts=attempts,
            retry_in_s=round(delay_s, 1),
            reason=error,
        )

    def bury(self, event: Event, failure_class: FailureClass, reason: str, error: str) -> None:
        """Make an event a dead letter; its key goes on without it, or waits for a person."""
        buried = self._dead_letter(event, failure_class, reason, error)
        self._concluded(event)
        self._write(buried)
        self._lanes.release(event)

    def accuse(self, event: Event) -> None:
        """Tell of an event that is sent alone because relays may have ended by it."""
        log_event(
            log,
            "warning",
            "event.suspect",
            "relays have ended again and again with this event among those in hand: it is sent alone",
            event_id=event.id,
            subject=self._envelopes.wanted(event),
            failure_class=str(FailureClass.POISON),
            attempts=event.attempts + 1,
        )

    def convict(self, event: Event, error: str) -> Buried:
        """Make a dead letter of an event that ends the relay, and is in no lane: it is still to be written."""
        return self._dead_letter(event, FailureClass.POISON, "crash", error)

    def _dead_letter(self, event: Event, failure_class: FailureClass, reason: str, error: str) -> Buried:
        if failure_class is FailureClass.POISON and reason != "refused":
            self._metrics.failed(str(failure_class))
        log_event(
            log,
            "error",
            "event.dead",
            "an event became a dead letter",
            event_id=event.id,
            subject=self._envelopes.wanted(event),
            failure_class=str(failure_class),
            attempts=event.attempts,
            reason=error,
        )
        if self._options.on_dead == "block" and event.key is not None:
            self._books.blocked[event.seq] = event.key
            self._lanes.bar(event.key)
        return Buried(event, event.attempts, reason, error)

    def unanswered(self, event: Event) -> None:
        """Take an event whose acknowledgement did not come in time."""
        self._ask(event, TimedOut())

    def look_up(self, subject: str) -> None:
        """Find out which stream takes a subject, unless that was asked a moment ago."""
        now = time.monotonic()
        if now - self._asked.get(subject, -_LOOKUP_PAUSE_S) >= _LOOKUP_PAUSE_S:
            if len(self._asked) > 10_000:
                self._asked.clear()
            self._asked[subject] = now
            self._questions.append((subject, None, TimedOut()))
            self._asking.set()

    def _ask(self, event: Event, failure: Failure) -> None:
        """Decide about an event only when its stream was looked up; until then its key waits."""
        self._lanes.stick(event)
        self._questions.append((self._envelopes.subject(event), event, failure))
        self._asking.set()

    async def run(self) -> None:
        """Answer the questions about streams, for ever."""
        while True:
            await self._asking.wait()
            self._asking.clear()
            answers: dict[str, bool | None] = {}
            while self._questions:
                subject, event, failure = self._questions.popleft()
                if subject not in answers:
                    answers[subject] = await self._exists(subject)
                if event is not None:
                    found = self._after_lookup(subject, failure, answers[subject])
                    if found is None:
                        self._lanes.put_back([event], alone=True)
                    else:
                        self._decide(event, found)

    def _after_lookup(self, subject: str, failure: Failure, exists: bool | None) -> Failure | None:
        """Say what a failure was in the light of a look-up; None where nothing is wrong any more."""
        if exists is False:
            # Whatever it looked like: where a subscriber listens on the subject it looks like a timeout.
            return NoResponders(False)
        facts = self.streams.find(subject)
        if facts is not None and facts.no_ack:
            return Unacknowledging(facts.name)
        match failure:
            case NoResponders():
                # Unknown stays an outage: nothing may die of a question that nobody answered.
                return NoResponders(exists)
            case Unacknowledging():
                return None
            case _:
                return failure

    async def _exists(self, subject: str) -> bool | None:
        connection = self._connection
        if connection is None:
            return None
        try:
            facts = await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
        except BrokerError as error:
            log.debug("stream of %s not found out: %s", subject, error)
            return None
        if facts is None:
            self.streams.forget()
            return False
        self.streams.learn(facts)
        return True
