"""Publish dead letters to a subject of their own as well, where one is configured.

The table is the truth: an event is a dead letter from its row on, whatever becomes of the copy. The copies are taken
from the table, not from memory, by one of the relays: one that could not be published (no stream, no right, an
outage, a crash) is tried again until it is stored, and holds up no event. Each has a message id made of the event's
id and the time of its death, so that the duplicate window drops a second one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from relay.event import Event
from relay.jetstream.connection import BrokerError, Connection
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import DeadLetter
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.envelopes import MESSAGE_ID, Envelopes, Poison
from relay.rules.failures import Failure, FailureClass, Refused, classify, describe
from relay.text import printable

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
# Dead letters read at once: each may be as large as a row can be.
_BATCH = 20
_ACK_TIMEOUT_S = 5.0
# A row that died a moment before the last look may be committed only after it: a bound on one statement.
_LATE_S = 60.0
_VALUE_CHARS = 1000
_SHORT_CHARS = 40
# What the wire adds to names and values, and what a server takes in all: see `relay.rules.envelopes`.
_FRAME_BYTES = 16
_PER_HEADER_BYTES = 4
_MAX_HEADER_BYTES = 60_000

_rules = Envelopes()


def copies_of(dead: DeadLetter, max_payload: int) -> Iterator[tuple[dict[str, str], bytes]]:
    """Make headers and payload of the copy of a dead letter, the fullest first, as far as they fit.

    The fullest has the payload and the row's own headers, where these keep the rules. Where the payload is left out,
    ``Outbox-Payload-Bytes`` says how large it is in the table.
    """
    event = dead.event
    without = {"Outbox-Payload-Bytes": str(dead.payload_bytes)}
    own = _own_headers(event)
    long, short = _our_headers(dead, _VALUE_CHARS), _our_headers(dead, _SHORT_CHARS)
    copies = [(own | long | without, b""), (short | without, b"")]
    if len(event.payload) == dead.payload_bytes:
        copies.insert(0, (own | long, event.payload))
    for headers, payload in copies:
        if _header_bytes(headers) <= min(_MAX_HEADER_BYTES, max_payload - len(payload)):
            yield headers, payload


def _own_headers(event: Event) -> dict[str, str]:
    try:
        headers = _rules.headers(event._replace(payload=b""), _MAX_HEADER_BYTES)
    except Poison:
        return {}
    return {name: value for name, value in headers.items() if not name.lower().startswith(("nats-", "outbox-"))}


def _our_headers(dead: DeadLetter, most: int) -> dict[str, str]:
    event = dead.event
    headers = {
        MESSAGE_ID: f"{event.id}.dead-{dead.died_at!r}",
        "Outbox-Id": event.id,
        "Outbox-Seq": str(event.seq),
        "Outbox-Topic": printable(event.topic)[:most],
        "Outbox-Dead-At": _moment(dead.died_at),
        "Outbox-Dead-Reason": printable(dead.reason)[:most],
        "Outbox-Dead-Attempts": str(event.attempts),
    }
    return headers if event.key is None else {**headers, "Outbox-Key": printable(event.key)[:most]}


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    except (OverflowError, OSError, ValueError):
        return str(at)  # a time that Python cannot say, such as infinity


def _header_bytes(headers: Mapping[str, str]) -> int:
    return _FRAME_BYTES + sum(len(name) + len(value.encode()) + _PER_HEADER_BYTES for name, value in headers.items())


class DeadLetters:
    """Copies dead letters while there is a connection.

    Args:
        subject: Where to; empty: nowhere.
        may_work: Asked before each look: of several relays one is enough.
    """

    def __init__(
        self,
        subject: str,
        *,
        reader: OutboxReader,
        writer: OutboxWriter,
        metrics: Metrics,
        may_work: Callable[[], bool] = lambda: True,
    ) -> None:
        self._subject = subject
        self._reader = reader
        self._writer = writer
        self._metrics = metrics
        self._may_work = may_work
        self._connection: Connection | None = None
        self._since = float("-inf")
        self._pause_s = _PAUSE_S
        self._told: str | None = None

    def attach(self, connection: Connection) -> None:
        """Publish over this connection."""
        self._connection = connection
        self._pause_s = _PAUSE_S

    def detach(self) -> None:
        """Publish no more."""
        self._connection = None

    async def run(self) -> None:
        """Copy for ever; ends at once where no subject is configured."""
        while self._subject:
            connection = self._connection
            if connection is not None and connection.up and self._may_work():
                try:
                    await self._copy_all(connection)
                except BrokerError as error:
                    log.debug("the connection ended while dead letters were copied: %s", error)
            await asyncio.sleep(self._pause_s)

    async def _copy_all(self, connection: Connection) -> None:
        looked_at = await self._reader.now()
        while True:
            found = await self._reader.dead_uncopied(self._since, _BATCH, connection.max_payload)
            for dead in found:
                failure = await self._copy(connection, dead)
                if failure is not None:
                    self._missed(dead, failure)
                    return
                await self._writer.dead_copied(dead)
                self._metrics.dead_copied += 1
            if len(found) < _BATCH:
                break
        if self._told is not None:
            log_event(log, "info", "dead.copying", "dead letters are published again", subject=self._subject)
        self._told = None
        self._pause_s = _PAUSE_S
        self._since = looked_at - _LATE_S

    async def _copy(self, connection: Connection, dead: DeadLetter) -> Failure | None:
        failure: Failure | None = Refused(0, "the server takes no message of this size")
        for headers, payload in copies_of(dead, connection.max_payload):
            failure = await connection.store(self._subject, payload, headers, _ACK_TIMEOUT_S)
            if failure is None or classify(failure).failure_class is not FailureClass.POISON:
                break
            # Larger than this stream takes, most likely: with less in it it may fit.
        return failure

    def _missed(self, dead: DeadLetter, failure: Failure) -> None:
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        reason = describe(failure)
        if reason != self._told:
            self._told = reason
            log_event(
                log,
                "error",
                "dead.uncopied",
                "a dead letter is in the table, but could not be published to its subject; tried again",
                event_id=dead.event.id,
                subject=self._subject,
                reason=reason,
            )
