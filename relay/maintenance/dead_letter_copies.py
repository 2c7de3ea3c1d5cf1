"""Publish dead letters to a subject of their own as well.

The table is the truth: an event is a dead letter from its row on, whatever becomes of the copy. The copies are taken
from the table, not from memory. One that could not be published (no stream, no right, an outage, a crash) is retried
until it is stored, and delays no event. Its message id is made of the event's id and the time at which it became a dead
letter, so that the duplicate window drops a second copy.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from relay.errors import BadValue
from relay.event import Event
from relay.jetstream.connection import Connection
from relay.maintenance.duty import DutyFailed, LogLine
from relay.observe.metrics import Metrics
from relay.outcomes import DeadLetter, FailureClass
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.failure.failure_class_of_old_rows import stored_class
from relay.rules.failure.failures import Failure, Refused, classify, describe
from relay.rules.sending.envelopes import MESSAGE_ID, Envelopes, Poison
from relay.text import printable

log = logging.getLogger(__name__)

# Dead letters read at once, and the bytes of payload and headers that they may have together.
_BATCH = 20
_BATCH_BYTES = 16 * 1024 * 1024
_ACK_TIMEOUT_S = 5.0
# A row that became a dead letter just before the last look may be committed only after it: a bound on one statement.
_LATE_S = 60.0
_VALUE_CHARS = 1000
_SHORT_CHARS = 40
# What the wire adds to names and values, and what a server takes at most: see `relay.rules.sending.envelopes`.
_FRAME_BYTES = 16
_PER_HEADER_BYTES = 4
_MAX_HEADER_BYTES = 60_000

_rules = Envelopes()


def copies_of(dead: DeadLetter, max_payload: int) -> Iterator[tuple[dict[str, str], bytes]]:
    """Return headers and payload of the copies of a dead letter that fit, the fullest first.

    The fullest has the payload, and the row's own headers if these keep the rules. If the payload is left out,
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


def _our_headers(dead: DeadLetter, limit: int) -> dict[str, str]:
    event = dead.event
    headers = {
        MESSAGE_ID: f"{event.id}.dead-{dead.died_at!r}",
        "Outbox-Id": event.id,
        "Outbox-Seq": str(event.seq),
        "Outbox-Topic": printable(event.topic)[:limit],
        "Outbox-Dead-At": _moment(dead.died_at),
        "Outbox-Dead-Reason": printable(dead.reason)[:limit],
        "Outbox-Dead-Attempts": str(event.attempts),
    }
    failure_class = stored_class(dead.failure_class, dead.reason)
    if failure_class is not None:
        headers["Outbox-Dead-Class"] = failure_class.value
    return headers if event.key is None else {**headers, "Outbox-Key": printable(event.key)[:limit]}


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    except (OverflowError, OSError, ValueError):
        return str(at)  # a time that Python cannot show, such as infinity


def _header_bytes(headers: Mapping[str, str]) -> int:
    return _FRAME_BYTES + sum(len(name) + len(value.encode()) + _PER_HEADER_BYTES for name, value in headers.items())


class DeadLetterCopies:
    """Copies dead letters that were not copied yet.

    Args:
        subject: Where to.
        reader: Reads the dead letters.
        writer: Marks those that were copied.
        metrics: Counts them.
    """

    every_s = 1.0
    longest_pause_s = 60.0

    def __init__(self, subject: str, *, reader: OutboxReader, writer: OutboxWriter, metrics: Metrics) -> None:
        self._subject = subject
        self._reader = reader
        self._writer = writer
        self._metrics = metrics
        self._since = float("-inf")

    async def turn(self, connection: Connection) -> float:
        """Copy what there is, batch by batch.

        Raises:
            DutyFailed: A copy was not stored; those before it were, and are marked.
            BrokerError: The connection has ended; whether the last copy was stored is not known.
        """
        looked_at = await self._reader.now()
        most = limit = max(1, min(_BATCH, _BATCH_BYTES // connection.max_payload))
        while True:
            try:
                found = await self._reader.dead_uncopied(self._since, limit, connection.max_payload)
            except BadValue:
                if limit > 1:
                    limit //= 2
                    continue
                found = await self._reader.dead_uncopied(self._since, 1, None)
            for dead in found:
                failure = await self._copy(connection, dead)
                if failure is not None:
                    raise self._failed(dead, failure)
                await self._writer.dead_copied(dead)
                self._metrics.dead_copied()
            if len(found) < limit:
                break
            limit = min(most, limit * 2)
        self._since = looked_at - _LATE_S
        return self.every_s

    async def _copy(self, connection: Connection, dead: DeadLetter) -> Failure | None:
        failure: Failure | None = Refused(0, "the server takes no message of this size")
        for headers, payload in copies_of(dead, connection.max_payload):
            failure = await connection.store(self._subject, payload, headers, _ACK_TIMEOUT_S)
            if failure is None or classify(failure).failure_class is not FailureClass.POISON:
                break
            # Most likely larger than this stream takes: a smaller copy may fit.
        return failure

    def _failed(self, dead: DeadLetter, failure: Failure) -> DutyFailed:
        return DutyFailed(
            describe(failure),
            LogLine(
                "error",
                "dead.uncopied",
                "a dead letter is in the table, but could not be published to its subject; it is retried",
                {"event_id": dead.event.id, "subject": self._subject},
            ),
            LogLine("info", "dead.copying", "dead letters are published again", {"subject": self._subject}),
        )

    def stand_down(self) -> None:
        """Do nothing: what was copied is marked."""
