"""What is done with events that were not stored: asked about, held, postponed, or buried."""

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from relay.delivery.probes import Probes
from relay.delivery.settler import Settler
from relay.delivery.stream_lookups import StreamLookups
from relay.event import Event
from relay.jetstream.connection import Connection
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Buried, FailureClass, Noted, Postponed
from relay.rules.failure.crash_suspects import is_crasher
from relay.rules.failure.failures import (
    Failure,
    NoResponders,
    Scope,
    TimedOut,
    Unacknowledging,
    classify,
    describe,
    expects_another_stream,
)
from relay.rules.failure.holds import Hold
from relay.rules.failure.log_line_budget import LineBudget
from relay.rules.failure.retry_backoff import backoff
from relay.rules.in_hand import InHand
from relay.rules.sending.envelopes import Envelopes

if TYPE_CHECKING:
    from relay.config.sections import FailuresSection

log = logging.getLogger(__name__)

# A dead letter that must be written first is tried again after this, seconds.
_WRITE_PAUSE_S = 1.0
# So many holds of subjects are logged one by one, as they open and as they end; thousands may have one cause.
_HOLD_LINES = 50
_HOLD_LINES_WINDOW_S = 60.0
_OPENED, _ENDED = "opened", "ended"


class Refusals:
    """Decides by the table of `relay.rules.failure.failures` and carries it out."""

    def __init__(
        self,
        options: "FailuresSection",
        in_hand: InHand,
        envelopes: Envelopes,
        lookups: StreamLookups,
        probes: Probes,
        settler: Settler,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._in_hand = in_hand
        self._lanes = in_hand.lanes
        self._holds = in_hand.holds
        self._streams = in_hand.streams
        self._envelopes = envelopes
        self._lookups = lookups
        self._probes = probes
        self._settler = settler
        self._metrics = metrics
        self._hold_lines = LineBudget(_HOLD_LINES, _HOLD_LINES_WINDOW_S)

    def attach(self, connection: Connection) -> None:
        """Ask over this connection from now on; nothing that was known of streams or holds counts any more."""
        self._lookups.attach(connection)
        self._probes.attach(connection)
        for hold in self._holds.end_all():
            self._in_hand.resume(list(hold.parked))

    def held(self, subject: str) -> Hold | None:
        """Return the hold that a subject is under."""
        facts = self._streams.find(subject)
        scopes = (f"subject {subject}",) if facts is None else (f"subject {subject}", f"stream {facts.name}")
        return self._holds.find(*scopes)

    def park(self, event: Event, subject: str) -> bool:
        """Let an event wait if its subject is under a hold and it is not the probe. Return whether it waits."""
        hold = self.held(subject)
        if hold is None:
            return False
        if hold.probing == event.seq:
            facts = self._streams.find(subject)
            if facts is None or not facts.no_ack:
                return False
            # It may be stored already, and would be once more after the duplicate window: the look-up is the probe.
            self._ask(event, subject, Unacknowledging(facts.name))
            return True
        self._holds.put_off(event.seq, time.monotonic())
        self._wait(hold, event)
        return True

    def _wait(self, hold: Hold, event: Event) -> None:
        """Keep an event in its hold; if memory is short, leave it in the outbox, but for one to probe with."""
        if hold.parked and self._in_hand.may_not_wait():
            self._in_hand.drop(self._lanes.drop_head(event))
        else:
            self._in_hand.stick(event)
            self._holds.park(hold, event)

    def probe(self, now: float) -> None:
        """Send the probes that are due; count in the log the holds without a line."""
        left_out = self._hold_lines.left_out(now)
        if left_out:
            log_event(
                log,
                "warning",
                "hold.more",
                "more subjects are held, or flow again, than are logged one by one",
                opened=left_out.get(_OPENED, 0),
                ended=left_out.get(_ENDED, 0),
                held_now=len(self._holds.open),
            )
        for event in self._holds.due(now):
            self._probes.send(event, self._envelopes.wanted(event))

    def accepted(self, event: Event, subject: str, stream: str) -> None:
        """End the holds that an acknowledged event was under, and note who took one that knocked."""
        self._streams.begun.accepted(event.seq, subject)
        # By what it probed as well: the subject may belong to another stream by now.
        probed = self._holds.probed_by(event.seq)
        scopes = (*(() if probed is None else (probed.scope,)), f"subject {subject}", f"stream {stream}")
        ended = [self._end(scope) for scope in scopes]
        if any(ended):
            self._in_hand.set_backs.returned(stream)

    def _end(self, scope: str) -> bool:
        """End a hold, if there is one of this scope; report whether it was one of an outage."""
        hold = self._holds.end(scope)
        if hold is not None:
            if self._is_logged(scope, _ENDED):
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
            self._in_hand.resume(list(hold.parked))
        return hold is not None and hold.was_outage

    def _is_logged(self, scope: str, kind: str) -> bool:
        """Report whether a hold has a line of its own. One of a stream always has: there are few, and each matters."""
        return scope.startswith("stream ") or self._hold_lines.takes(kind, time.monotonic())

    def failed(self, event: Event, subject: str, failure: Failure) -> None:
        """Do what the class of a failure asks for, when it is known."""
        by_condition = expects_another_stream(failure)
        if self._streams.begun.knocks.failed(event.seq, by_condition=by_condition):
            self._ask(event, subject, None)
        elif isinstance(failure, NoResponders) and failure.stream_exists is None:
            self._ask(event, subject, failure)
        else:
            self._decide(event, subject, failure)

    def is_of_no_stream(self, subject: str, sent_at: float) -> bool:
        """Report whether no stream took a subject after an event was sent on it; it is looked up if that is not known.

        A plain subscriber on the subject keeps NATS from saying so, and nobody acknowledges the event.
        """
        return self._streams.find(subject) is None and self._lookups.is_without(subject, sent_at)

    def unanswered(self, event: Event, subject: str, sent_at: float, passed_over: int) -> None:
        """Take an event whose acknowledgement did not come in time, or will never come.

        Args:
            event: Which.
            subject: What it was sent on.
            sent_at: When, monotonic seconds.
            passed_over: How often its stream has stored what was sent later, and left this event without an answer.
        """
        self._streams.begun.knocks.end(event.seq)
        if self.is_of_no_stream(subject, sent_at):
            self._decide(event, subject, NoResponders(stream_exists=False))
        else:
            self._ask(event, subject, TimedOut(passed_over))

    def _decide(self, event: Event, subject: str, failure: Failure) -> None:
        verdict = classify(failure)
        self._metrics.failed(str(verdict.failure_class))
        match verdict.failure_class:
            case FailureClass.POISON:
                self.bury(event, verdict.failure_class, "refused", describe(failure))
            case FailureClass.UNKNOWN:
                self._retry(event, subject, describe(failure))
            case FailureClass.OUTAGE if verdict.scope is Scope.EVENT:
                self._lanes.put_back([event], alone=True)
            case FailureClass.CONFIGURATION if self._options.on_misconfigured == "dead":
                self.bury(event, verdict.failure_class, "configuration", describe(failure))
            case _:
                facts = self._streams.find(subject)
                by_stream = verdict.scope is Scope.STREAM and facts is not None
                scope = f"stream {facts.name}" if by_stream and facts is not None else f"subject {subject}"
                self._hold(event, subject, scope, verdict.failure_class, describe(failure))

    def _hold(self, event: Event, subject: str, scope: str, failure_class: FailureClass, reason: str) -> None:
        hold, is_new = self._holds.fail(scope, failure_class, reason, event, time.monotonic(), random.random())
        self._wait(hold, event)
        if is_new:
            self._settler.take(Noted(event, failure_class, reason))
        if is_new and self._is_logged(scope, _OPENED):
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
        if hold is not None and self._end(hold.scope):
            stream = self._streams.name_of(self._envelopes.wanted(event))
            if stream is not None:
                self._in_hand.set_backs.returned(stream)

    def _retry(self, event: Event, subject: str, error: str) -> None:
        attempts = event.attempts + 1
        if attempts >= self._options.max_attempts:
            self.bury(event._replace(attempts=attempts), FailureClass.UNKNOWN, "attempts", error)
            return
        self._concluded(event)
        delay_s = backoff(attempts, self._options.backoff_base_s, self._options.backoff_max_s, random.random())
        self._in_hand.stick(event)
        self._in_hand.unsettled.postpone(event)
        self._settler.take(Postponed(event, attempts, delay_s, FailureClass.UNKNOWN, error))
        log_event(
            log,
            "warning",
            "event.postponed",
            "an event was refused and is tried again",
            event_id=event.id,
            subject=subject,
            failure_class=str(FailureClass.UNKNOWN),
            attempts=attempts,
            retry_in_s=round(delay_s, 1),
            reason=error,
        )

    def bury(self, event: Event, failure_class: FailureClass, reason: str, error: str) -> None:
        """Make an event a dead letter; once that is written its key goes on without it, or waits for the operator."""
        buried = Buried(event, event.attempts, reason, failure_class, error)
        self._report_dead(buried)
        self._concluded(event)
        self._in_hand.bury(event)
        self._settler.take(buried)

    def warn_isolated(self, event: Event) -> None:
        """Report an event that is sent alone because relays may have crashed by it."""
        log_event(
            log,
            "warning",
            "event.suspect",
            "several relays crashed while holding this event; sending it alone",
            event_id=event.id,
            subject=self._envelopes.wanted(event),
            failure_class=str(FailureClass.POISON),
            attempts=event.attempts + 1,
        )

    def warn_aside(self, event: Event, reason: str) -> None:
        """Report an event that was alone in flight when the connection ended: others flow before it is sent again."""
        log_event(
            log,
            "warning",
            "event.aside",
            "the connection ended while this event alone was sent; it waits while other events are sent",
            event_id=event.id,
            subject=self._envelopes.wanted(event),
            failure_class=str(FailureClass.POISON),
            reason=reason,
        )

    def is_crasher(self, attempts: int) -> bool:
        """Report whether an event was sent alone, with a crash each time, so often that it is given up."""
        return is_crasher(attempts, self._options.max_attempts)

    async def bury_crasher(self, event: Event, version: str, error: str) -> bool:
        """Make a dead letter of an event that crashes the relay, and is in no lane.

        Args:
            event: Its outline.
            version: That of its row, as it was read with the outline.
            error: Why it becomes a dead letter.

        Returns:
            Whether it is written. It is not if its row was changed since it was read.

        Raises:
            LeaseLost: It could not be written: another relay owns shards.
            Unfinished: Somebody else has locked its row.
            StatementRefused: The database refuses to change its row.
        """
        buried = Buried(event, event.attempts, "crash", FailureClass.POISON, error, version)
        is_written = await self._settler.write(buried)
        if is_written:
            self._report_dead(buried)
        return is_written

    def _report_dead(self, buried: Buried) -> None:
        """Log a dead letter, and bar its key if dead letters do."""
        event = buried.event
        if buried.failure_class is FailureClass.POISON and buried.reason != "refused":
            self._metrics.failed(str(buried.failure_class))
        log_event(
            log,
            "error",
            "event.dead",
            "an event became a dead letter",
            event_id=event.id,
            subject=self._envelopes.wanted(event),
            failure_class=str(buried.failure_class),
            attempts=buried.attempts,
            reason=buried.error,
        )
        if self._options.on_dead == "block" and event.key is not None:
            self._in_hand.unsettled.block(event.seq, event.key)
            self._lanes.bar(event.key)

    def look_up(self, subject: str) -> None:
        """Find out which stream takes a subject, unless that was asked a moment ago."""
        self._lookups.look_up(subject)

    def begin(self, event: Event, subject: str) -> None:
        """Have the stream of an event written down before the first one is sent there; until then its key waits."""
        if self._streams.find(subject) is None:
            self._ask(event, subject, None)
        else:
            self._in_hand.look_for(event)

    def _ask(self, event: Event, subject: str, failure: Failure | None) -> None:
        """Decide about an event only when its stream was looked up; until then its key waits."""
        self._in_hand.stick(event)
        self._lookups.ask(event, subject, failure)

    async def run(self) -> None:
        """Decide about events whose streams were looked up, for ever."""
        while True:
            free: list[Event] = []
            for event, subject, failure in await self._lookups.answers():
                if failure is not None:
                    self._decide(event, subject, failure)
                elif self._holds.probed_by(event.seq) is not None:
                    self._probes.send(event, subject)
                else:
                    free.append(event)
            # Together, so that they keep their order, as far as they come at once; within a key there is one.
            self._lanes.put_back(free, alone=True)
            await asyncio.sleep(0)
