"""Replay events of the outbox: which ones, whether their streams take them, and sending them in batches."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import starmap
from typing import TYPE_CHECKING

import psycopg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from relay.config.derived_options import envelopes as configured_envelopes
from relay.errors import Exit, RelayError, Unreachable
from relay.event import Event
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.operate.broker import broker
from relay.operate.changes import Audit, AuditLine, Changer, OnProgress, Tell, audit_line
from relay.operate.filters import Filters, from_record
from relay.operate.replayer import Halted, Manner, Replayer, Trouble, envelope
from relay.postgres.server_error import is_of_value, words
from relay.rules.database.origins import Origins
from relay.rules.sending.envelopes import Envelopes, Poison

if TYPE_CHECKING:
    from relay.config.settings import Settings

_ACTION = "replay"
# How many seqs one read may pass over, and how many one count.
_SPAN = 20_000
_COUNT_SPAN = 100_000
_BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024
_PATIENCE_S = 60.0
_LOOKUP_TIMEOUT_S = 3.0
# Number of topics whose stream is looked up before anything is sent; the others are looked up when their turn comes.
_TOPICS = 200


class CannotReplay(RelayError):
    """The replay cannot be begun, or resumed. Nothing was sent."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True)
class Plan:
    """What is replayed, and how.

    Attributes:
        subject: A subject or template of its own; None: where the relay sends each event.
        discarded: The discarded events instead of the delivered ones.
        rate: Events a second at most.
        above: Where it begins, not included.
        up_to: Where it ends, included.
    """

    filters: Filters
    subject: str | None
    same_id: bool
    discarded: bool
    rate: float
    above: int = 0
    up_to: int = 0

    def as_record(self) -> dict[str, object]:
        """Return it as the audit table keeps it; `resumed` reads it."""
        options = {
            "subject": self.subject,
            "same_id": self.same_id or None,
            "discarded": self.discarded or None,
            "rate": self.rate,
            "up_to": self.up_to,
        }
        return self.filters.as_record() | {name: value for name, value in options.items() if value is not None}

    def params(self, above: int, up_to: int) -> tuple[object, ...]:
        """Return what the queries need for a range."""
        return (*self.filters.params(), above, up_to, self.discarded)


@dataclass
class Extent:
    """How much a replay would send.

    Attributes:
        events: How many events match.
        first_seqs: Of some topics, the lowest seq that matches.
    """

    events: int = 0
    first_seqs: dict[str, int] = field(default_factory=dict)

    def add(self, topic: str, events: int, first_seq: int) -> None:
        """Count some more events of a topic, in ascending order of seq."""
        self.events += events
        if len(self.first_seqs) < _TOPICS:
            self.first_seqs.setdefault(topic, first_seq)


def planned(changer: Changer, plan: Plan) -> Plan:
    """Set the range: up to the newest event of now, so that a replay ends."""
    with changer.step():
        (newest,) = changer.row("delivery/newest")
    filters = plan.filters
    up_to = newest if filters.last_seq is None else min(newest, filters.last_seq)
    return replace(plan, above=(filters.first_seq or 1) - 1, up_to=up_to)


def resumed(changer: Changer, number: int, rate: float) -> Plan:
    """Return the rest of a replay that was broken off, by its number in the audit table.

    Raises:
        CannotReplay: There is no such replay, or it is finished.
    """
    with changer.step():
        line = audit_line(changer, number)
    if line is None or line.action != _ACTION:
        raise CannotReplay(f"{number} is no replay; see `relay audit`")
    if line.ended_at is not None:
        raise CannotReplay(f"replay {number} was finished")
    return planned_before(line, rate)


def planned_before(line: AuditLine, rate: float) -> Plan:
    """Return the rest of a replay, from its line in the audit table."""
    record = json.loads(line.filter)
    return Plan(
        from_record(record),
        record.get("subject"),
        bool(record.get("same_id")),
        bool(record.get("discarded")),
        rate,
        above=line.position or 0,
        up_to=record["up_to"],
    )


def measure(changer: Changer, plan: Plan, on_progress: OnProgress) -> Extent:
    """Count what a replay would send now, a range at a time.

    Args:
        on_progress: Called with how many more seqs were searched.
    """
    extent = Extent()
    # A list of ids has an index of its own: no need to go by ranges.
    span = max(1, plan.up_to - plan.above) if plan.filters.ids else _COUNT_SPAN
    above = plan.above
    while above < plan.up_to:
        up_to = min(above + span, plan.up_to)
        with changer.step():
            found = changer.rows("operate/replay_count", plan.params(above, up_to))
            if not found:
                up_to = _before_next(changer, up_to, plan.up_to)
        for topic, events, first_seq in found:
            extent.add(topic, events, first_seq)
        on_progress(up_to - above)
        above = up_to
    return extent


def _before_next(changer: Changer, above: int, up_to: int) -> int:
    """Return the seq before the next row above `above`, at most `up_to`: the cost follows rows and not their seqs."""
    following = changer.rows("delivery/next_seq", (above,))
    return min(up_to, following[0][0] - 1) if following else up_to


def check(settings: "Settings", changer: Changer, plan: Plan, extent: Extent) -> None:
    """Find out before anything is sent what would stop the replay: a right, a subject, a stream.

    The first event of each topic is tried, of 200 topics at most.

    Raises:
        CannotReplay: A subject has no stream that could acknowledge it, or an event breaks a rule.
        Unreachable: NATS cannot be reached.
        Denied: This role may not write to the audit table.
    """
    changer.check()
    events = []
    for seq in extent.first_seqs.values():
        with changer.step():
            events += _events(changer, plan, seq - 1, seq, 1)
    if events:
        asyncio.run(_check_events(settings, plan, events, _envelopes(settings, changer, plan)))


async def _check_events(settings: "Settings", plan: Plan, events: Sequence[Event], envelopes: Envelopes) -> None:
    manner = Manner(0, plan.same_id, plan.rate)
    looked_up: set[str] = set()
    async with broker(settings) as connection:
        for event in events:
            try:
                subject, _ = envelope(event, envelopes, manner, connection.max_payload)
            except Poison as poison:
                raise CannotReplay(f"event {event.seq} ({event.id}) cannot be sent: {poison}") from poison
            if subject not in looked_up:
                looked_up.add(subject)
                await _check_subject(connection, subject)


async def _check_subject(connection: Connection, subject: str) -> None:
    try:
        facts = await connection.stream_of(subject, _LOOKUP_TIMEOUT_S)
    except BrokerError:
        if not connection.up:
            raise
        return  # the right to ask is missing: sending will tell
    if facts is None:
        raise CannotReplay(f"no stream takes {subject}: create it, or choose another --subject")
    if facts.no_ack:
        raise CannotReplay(f"stream {facts.name} has no_ack: nobody could know what arrived")


def _events(changer: Changer, plan: Plan, above: int, up_to: int, limit: int) -> list[Event]:
    rows = changer.rows("operate/replay", (*plan.params(above, up_to), limit))
    return [event._replace(payload=bytes(event.payload)) for event in starmap(Event, rows)]


def _envelopes(settings: "Settings", changer: Changer, plan: Plan) -> Envelopes:
    with changer.step():
        (origins,) = changer.row("operate/origin")
    return configured_envelopes(settings, plan.subject).with_origins(Origins(origins))


class Replay:
    """One run of a replay, until it is done or told to stop.

    Attributes:
        number: Of its line in the audit table, by which it can be resumed.
        position: The seq up to which all is sent.
        sent: How many events were sent.
    """

    def __init__(self, settings: "Settings", changer: Changer, plan: Plan, audit: Audit, tell: Tell) -> None:
        self._settings = settings
        self._changer = changer
        self._plan = plan
        self._audit = audit
        self._tell = tell
        # A second's worth at most, since a stop waits for the end of a batch.
        self._largest = max(1, min(_BATCH, round(plan.rate)))
        self._limit = min(50, self._largest)
        self._stop = asyncio.Event()
        self._replayer = Replayer(_envelopes(settings, changer, plan), Manner(audit.number, plan.same_id, plan.rate))
        self.number = audit.number
        self.position = plan.above
        self.sent = 0

    @property
    def duplicates(self) -> int:
        """How many of them the duplicate window has dropped."""
        return self._replayer.duplicates

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Stop after the batch that is being sent."""
        self._stop.set()

    async def run(self, on_progress: OnProgress) -> bool:
        """Send everything; return False if it was told to stop before.

        Each batch is counted in the audit table once it is in its streams.

        Raises:
            Halted: An event cannot be sent. What was sent before is written down, and the replay can be resumed.
            Unreachable: NATS accepted nothing for a minute. Likewise.
        """
        async with AsyncExitStack() as stack:
            connection: Connection | None = None
            while self.position < self._plan.up_to and not self._stop.is_set():
                events, reached = self._read()
                if events:
                    connection = await self._send(stack, connection, events)
                with self._changer.step():
                    self._audit.add(len(events), reached)
                self.position = reached
                self.sent += len(events)
                on_progress(len(events))
        if self.position < self._plan.up_to:
            return False
        self._audit.end()
        return True

    def _read(self) -> tuple[list[Event], int]:
        """Read the next events; return them, and the seq up to which they are all.

        Raises:
            Halted: PostgreSQL cannot read the next one.
        """
        plan = self._plan
        reached = plan.up_to if plan.filters.ids else min(self.position + _SPAN, plan.up_to)
        limit = self._limit
        with self._changer.step():
            try:
                with self._changer.cursor.connection.transaction():
                    events = _events(self._changer, plan, self.position, reached, limit)
            except psycopg.Error as error:
                if not is_of_value(error):
                    raise
                if limit == 1:
                    raise Halted(f"the next event above seq {self.position} cannot be read: {words(error)}") from None
                self._limit = 1
                return [], self.position
            if not events and reached < plan.up_to:
                reached = _before_next(self._changer, reached, plan.up_to)
        if events:
            mean_bytes = sum(len(event.payload) for event in events) // len(events) + 1
            self._limit = max(1, min(self._largest, limit * 2, _BATCH_BYTES // mean_bytes))
        return events, events[-1].seq if len(events) == limit else reached

    async def _send(self, stack: AsyncExitStack, connection: Connection | None, events: list[Event]) -> Connection:
        reported = False
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_delay(_PATIENCE_S),
                wait=wait_random_exponential(multiplier=0.2, max=5),
                retry=retry_if_exception_type((Trouble, Unreachable, BrokerError)),
                reraise=True,
            ):
                with attempt:
                    if connection is None or not connection.up:
                        await stack.aclose()
                        connection = await stack.enter_async_context(broker(self._settings, self._replayer))
                    try:
                        await self._replayer.send(connection, events)
                    except Trouble as trouble:
                        if not reported:
                            self._tell(f"waiting for NATS: {trouble}")
                        reported = True
                        raise
                    return connection
        except (Trouble, BrokerError) as error:
            raise Unreachable(f"NATS accepted nothing for {_PATIENCE_S:.0f} s: {error}") from error
        raise AssertionError("tenacity retries until it gives up")


def begin(changer: Changer, plan: Plan, events: int, preview: str | None = None) -> Audit:
    """Write down that a replay is begun; its number is that of the line in the audit table.

    Args:
        preview: See `Changer.begin`.

    Raises:
        Confirmed: See there.
    """
    return changer.begin(_ACTION, plan.as_record(), events, plan.above, preview)
