"""Read a stream in its order, from one sequence on, by an ephemeral pull consumer without acknowledgements.

The reader keeps its own position, so JetStream keeps nothing for it: no acknowledgement, no redelivery, and so no
message that comes late and out of order. Whatever is not as it must be ends the consumer: a gap in its own count, a
sequence that does not rise, a server that is silent for two heartbeats. The caller opens another one behind what it
has stored.

A message that was gone before it was read leaves no trace here: a sequence that was passed over may have been a
message of another subject, or one that was purged. The caller compares with what the stream says of itself.
"""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from relay.jetstream.client import Inbox
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError

# Asked for again once half of it has come: whoever takes a thousand at a time finds as many.
_REQUEST = 2_000
_MAX_BYTES = 4 * 1024 * 1024
_HEADERS_BYTES = 70 * 1024
_EXPIRES_S = 30
_HEARTBEAT_S = 5
_SILENCE_S = 2 * _HEARTBEAT_S + 2.0
_INACTIVE_S = 60
_TIMEOUT_S = 5.0
_NANOSECONDS = 1_000_000_000
# Statuses that end one request and not the consumer: nothing there, expired, as many messages or bytes as were asked
# for. The server says so behind the last message of a request that asked for more bytes than came.
_REQUEST_ENDED = ("404", "408", "409 batch completed", "409 message size exceeds maxbytes")
_HEARTBEAT = "100"


class ConsumerLost(BrokerError):
    """The consumer has ended, or cannot be trusted any more. Open another one behind what was stored."""


class StreamMessage(NamedTuple):
    """A message as it lies in the stream; a named tuple, because one is made for each message.

    Attributes:
        stream_seq: Its sequence in the stream.
        time_ns: When the stream stored it, Unix nanoseconds.
        subject: The subject it was published on.
        header_block: Its headers as they came over the wire; see `headers_of`.
        payload: Its body.
    """

    stream_seq: int
    time_ns: int
    subject: str
    header_block: bytes
    payload: bytes


class ConsumerState(NamedTuple):
    """What the server says of a consumer: how many messages it was sent, and how many are still to come."""

    delivered: int
    pending: int


def headers_of(block: bytes) -> dict[str, str]:
    """Read the headers of a message, each value as it was sent; of a name that comes twice the last one counts.

    One space after the colon belongs to the line. What is left is the value: two keys may differ in white space alone.
    """
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, found, value = line.partition(":")
        if found:
            headers[name] = value.removeprefix(" ")
    return headers


class StreamConsumer:
    """The messages of a stream from one sequence on; made by `open_consumer`."""

    def __init__(self, connection: Connection, stream: str, name: str) -> None:
        self._connection = connection
        self._stream = stream
        self._name = name
        self._inbox: Inbox | None = None
        self._messages: deque[StreamMessage] = deque()
        self._outstanding = 0
        self._received = 0
        # How many the server had behind the newest one that came.
        self._pending = 0
        self._last_stream_seq = 0
        self._heard_at = time.monotonic()
        self._changed = asyncio.Event()
        self._fault: str | None = None
        self._max_bytes = max(_MAX_BYTES, 2 * (connection.max_payload + _HEADERS_BYTES))

    @property
    def received(self) -> int:
        """How many messages this consumer has brought."""
        return self._received

    @property
    def waiting(self) -> int:
        """How many messages have come that `batch` has not returned."""
        return len(self._messages)

    @property
    def behind(self) -> int:
        """How many messages `batch` has not returned: those that have come, and those that the server spoke of."""
        return len(self._messages) + self._pending

    @property
    def next_time_ns(self) -> int | None:
        """When the stream stored the next message that `batch` returns, None if none has come."""
        return self._messages[0].time_ns if self._messages else None

    async def start(self) -> None:
        """Listen for messages.

        Raises:
            BrokerError: The connection has ended.
        """
        self._inbox = await self._connection.listen(self._take)

    def begins(self, pending: int) -> None:
        """Take note of how many messages the server has for it; before the first `batch`."""
        self._pending = pending

    async def batch(self, limit: int, limit_bytes: int, wait_s: float) -> list[StreamMessage]:
        """Return the messages that have come, at most `limit` of them, and no more bytes of payload than `limit_bytes`.

        Waits for the first one only, for at most `wait_s` seconds; empty if none came. The first one is returned
        however large it is.

        Raises:
            ConsumerLost: The consumer has ended. Messages that were not returned are lost to it.
        """
        await self._ask_for_more()
        if not self._messages:
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                self._check_heard()
        if self._fault is not None:
            raise ConsumerLost(self._fault)
        taken: list[StreamMessage] = []
        size = 0
        while self._messages and len(taken) < limit:
            size += len(self._messages[0].payload)
            if taken and size > limit_bytes:
                break
            taken.append(self._messages.popleft())
        return taken

    async def state(self) -> ConsumerState:
        """Ask the server how far the consumer is.

        Raises:
            ConsumerLost: There is no such consumer.
            BrokerError: No answer, or not permitted.
        """
        answer = await self._connection.request(f"CONSUMER.INFO.{self._stream}.{self._name}", None, _TIMEOUT_S)
        if "error" in answer:
            raise ConsumerLost(f"the consumer is gone: {answer['error'].get('description')}")
        return ConsumerState(answer["delivered"]["consumer_seq"], answer["num_pending"])

    async def close(self) -> None:
        """Delete the consumer. The server does so by itself after a minute if this could not."""
        if self._inbox is not None:
            await self._connection.stop_listening(self._inbox)
        await self._connection.request(f"CONSUMER.DELETE.{self._stream}.{self._name}", None, _TIMEOUT_S)

    async def _ask_for_more(self) -> None:
        """Keep one request at the server while less than half of it has come: the next one is on its way by then."""
        if self._inbox is None or self._outstanding + len(self._messages) > _REQUEST // 2:
            return
        body = {
            "batch": _REQUEST,
            "max_bytes": self._max_bytes,
            "expires": _EXPIRES_S * _NANOSECONDS,
            "idle_heartbeat": _HEARTBEAT_S * _NANOSECONDS,
        }
        if self._outstanding == 0:
            self._heard_at = time.monotonic()
        self._outstanding += _REQUEST
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._connection.tell(subject, self._inbox, json.dumps(body).encode())

    def _check_heard(self) -> None:
        if not self._connection.up:
            self._fault = "the connection has ended"
        elif time.monotonic() - self._heard_at > _SILENCE_S:
            self._fault = "the server is silent: two heartbeats did not come"

    def _take(self, subject: bytes, reply: bytes, payload: bytes, header_block: bytes) -> None:
        """Take what comes on the inbox; must not raise, the reader of the client library would end."""
        self._heard_at = time.monotonic()
        if self._fault is not None:
            return
        place = _place(reply)
        if place is None:
            self._take_status(header_block)
            return
        stream_seq, consumer_seq, time_ns, pending = place
        if consumer_seq != self._received + 1:
            self._fail(f"message {consumer_seq} of the consumer came after message {self._received}")
        elif stream_seq <= self._last_stream_seq:
            self._fail(f"sequence {stream_seq} came after sequence {self._last_stream_seq}")
        else:
            self._received = consumer_seq
            self._pending = pending
            self._last_stream_seq = stream_seq
            self._outstanding = max(0, self._outstanding - 1)
            text = subject.decode("utf-8", "replace")
            self._messages.append(StreamMessage(stream_seq, time_ns, text, header_block, payload))
            self._changed.set()

    def _take_status(self, header_block: bytes) -> None:
        status = header_block.split(b"\r\n", 1)[0].removeprefix(b"NATS/1.0").strip().decode("utf-8", "replace")
        if status.startswith(_HEARTBEAT):
            return
        if status.lower().startswith(_REQUEST_ENDED):
            left = headers_of(header_block).get("Nats-Pending-Messages", "").strip()
            self._outstanding = max(0, self._outstanding - (int(left) if left.isdigit() else _REQUEST))
            self._changed.set()
        else:
            self._fail(f"the server ended the consumer: {status or 'without a status'}")

    def _fail(self, reason: str) -> None:
        self._fault = reason
        self._changed.set()


def _place(reply: bytes) -> tuple[int, int, int, int] | None:
    """Read where a message is out of its reply subject; None for a status.

    Returns:
        Its sequence in the stream, its number of the consumer, its time, and how many come behind it.
    """
    tokens = reply.split(b".")
    if tokens[:2] != [b"$JS", b"ACK"] or len(tokens) < 9:
        return None
    # Newer servers put the domain and the account before the name of the stream.
    first = 5 if len(tokens) == 9 else 7
    try:
        return int(tokens[first]), int(tokens[first + 1]), int(tokens[first + 2]), int(tokens[first + 3])
    except (ValueError, IndexError):
        return None


async def open_consumer(
    connection: Connection, stream: str, prefix: str, start_seq: int, subjects: Sequence[str]
) -> StreamConsumer:
    """Make a consumer that brings every message of these subjects from a sequence on.

    A consumer that begins beyond the end of the stream is made without an error and would pass over all that is
    stored below; the caller has compared `start_seq` with the stream before.

    Args:
        prefix: Of the consumer's name; a random part makes it unique.
        subjects: Patterns; empty: every subject.

    Raises:
        ConsumerLost: The server refused it.
        BrokerError: No answer, or not permitted.
    """
    begin = {"deliver_policy": "by_start_sequence", "opt_start_seq": start_seq}
    return await _open(connection, stream, prefix, begin, subjects)


async def open_consumer_at(connection: Connection, stream: str, prefix: str, start: datetime) -> StreamConsumer:
    """Make a consumer that brings every message that was stored at a time or later.

    Args:
        prefix: Of the consumer's name; a random part makes it unique.
        start: With a time zone, by the server's clock.

    Raises:
        ConsumerLost: The server refused it.
        BrokerError: No answer, or not permitted.
    """
    begin = {"deliver_policy": "by_start_time", "opt_start_time": start.isoformat()}
    return await _open(connection, stream, prefix, begin, ())


async def _open(
    connection: Connection, stream: str, prefix: str, begin: Mapping[str, object], subjects: Sequence[str]
) -> StreamConsumer:
    name = f"{prefix}_{secrets.token_hex(4)}"
    config: dict[str, object] = {
        "name": name,
        **begin,
        "ack_policy": "none",
        "replay_policy": "instant",
        "max_deliver": 1,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _INACTIVE_S * _NANOSECONDS,
    }
    if len(subjects) == 1:
        config["filter_subject"] = subjects[0]
    elif subjects:
        config["filter_subjects"] = list(subjects)
    consumer = StreamConsumer(connection, stream, name)
    await consumer.start()
    body: Mapping[str, object] = {"stream_name": stream, "config": config}
    answer = await connection.request(f"CONSUMER.CREATE.{stream}.{name}", body, _TIMEOUT_S)
    if "error" in answer:
        raise ConsumerLost(f"no consumer of stream {stream}: {answer['error'].get('description')}")
    consumer.begins(answer.get("num_pending", 0))
    return consumer
