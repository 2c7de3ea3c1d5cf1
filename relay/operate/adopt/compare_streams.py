"""Read the streams of the old reader and of a trial beside it, and compare what both were sent."""

import time
from datetime import UTC, datetime
from typing import NamedTuple

from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.jetstream.connection import Connection
from relay.jetstream.consumer import StreamMessage, headers_of, open_consumer_at
from relay.jetstream.stream_look import NoSuchStream, look_at
from relay.operate.adopt.compare_rules import Comparison, Payloads, Sent, Window, compare
from relay.operate.adopt.payload_digests import digests
from relay.operate.broker import broker

# Of each stream; about 1 KB of memory for each message.
MOST = 500_000
_BATCH = 1_000
_BATCH_BYTES = 8 << 20
_WAIT_S = 5.0
_NANOSECONDS = 1_000_000_000


class Plan(NamedTuple):
    """What is compared.

    Attributes:
        old: The stream of the old reader.
        new: The stream of the trial.
        minutes: How far back the window begins.
        slack_s: How much earlier or later than the other side one may send an event: the window ends so many seconds
            ago, and as much is read before it.
        prefix: What the trial puts before each subject.
        id_header: The header that both sides send, the same for the same event.
        payloads: When two payloads are the same.
    """

    old: str
    new: str
    minutes: float
    slack_s: float
    prefix: str
    id_header: str
    payloads: Payloads = "bytes"


class NoStream(RelayError):
    """One of the streams does not exist, or this account does not see it."""

    exit_code = Exit.UNFIT


class TooMany(RelayError):
    """There are more messages than can be compared at once."""

    exit_code = Exit.UNFIT


async def compare_streams(settings: Settings, plan: Plan) -> Comparison:
    """Compare what two streams were sent in the same time. Changes nothing.

    Raises:
        TooMany: A stream holds more messages of that time than `MOST`.
        NoStream: A stream does not exist.
        Unreachable: NATS did not answer, or this account may not read a stream.
    """
    now_ns = time.time_ns()
    slack_ns = round(plan.slack_s * _NANOSECONDS)
    window = Window(now_ns - round(plan.minutes * 60 * _NANOSECONDS) - slack_ns, now_ns - slack_ns)
    begin_ns = window.begin_ns - slack_ns
    async with broker(settings) as connection:
        old = await _read(connection, plan.old, begin_ns, plan.id_header, "")
        new = await _read(connection, plan.new, begin_ns, plan.id_header, plan.prefix)
    return compare(old, new, window, plan.payloads)


async def _read(connection: Connection, stream: str, begin_ns: int, id_header: str, prefix: str) -> list[Sent]:
    """Return what a stream was sent from a time on until now, without the payloads."""
    try:
        last_seq = (await look_at(connection, stream)).last_seq
    except NoSuchStream as error:
        raise NoStream(f"there is no stream {stream}, or this account does not see it") from error
    start = datetime.fromtimestamp(begin_ns / _NANOSECONDS, UTC)
    consumer = await open_consumer_at(connection, stream, "outbox_compare", start)
    found: list[Sent] = []
    try:
        while not found or found[-1].stream_seq < last_seq:
            batch = await consumer.batch(_BATCH, _BATCH_BYTES, _WAIT_S if found else 1.0)
            if not batch and (await consumer.state()).pending == 0 and not consumer.waiting:
                break
            found += [_sent(one, id_header, prefix) for one in batch]
            if len(found) > MOST:
                raise TooMany(f"stream {stream} has more than {MOST:,} messages of that time: set fewer --minutes")
    finally:
        await consumer.close()
    return found


def _sent(message: StreamMessage, id_header: str, prefix: str) -> Sent:
    headers = headers_of(message.header_block)
    return Sent(
        id=headers.get(id_header),
        stream_seq=message.stream_seq,
        time_ns=message.time_ns,
        subject=message.subject.removeprefix(prefix),
        key=headers.get("Outbox-Key"),
        body=digests(message.payload),
        headers=headers,
    )
