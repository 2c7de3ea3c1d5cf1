"""The events that a test gives to a projection, and the messages that the relay would make of them. Pure: no I/O."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from relay.projection.rules.incoming import Incoming, read

_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Sent:
    """An event, as an application has put it into the outbox; `event` makes one.

    Attributes:
        topic: The subject of its message.
        payload: The bytes of its message.
        key: Events of one key keep their order; None asks for none.
        version: Of the payload's form, header ``Event-Version``.
        seq: Its seq in the outbox; None: its place among the events that are given, from 1 on.
        at: When it was created; None: one second after the event before it.
        headers: Further headers.
    """

    topic: str
    payload: bytes
    key: str | None = None
    version: int = 1
    seq: int | None = None
    at: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def event(
    topic: str,
    data: object = None,
    *,
    key: str | None = None,
    version: int = 1,
    seq: int | None = None,
    at: datetime | None = None,
    headers: Mapping[str, str] | None = None,
) -> Sent:
    """Make an event.

    Args:
        topic: The subject of its message.
        data: Its payload, written as JSON; bytes are taken as they are.
        key: Events of one key keep their order; None asks for none.
        version: Of the payload's form.
        seq: Its seq in the outbox; its place among the events that are given if left out.
        at: When it was created, with a time zone; a second after the event before it if left out.
        headers: Further headers of the message.
    """
    payload = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Sent(topic, payload, key, version, seq, at, dict(headers or {}))


def numbered(events: Sequence[Sent]) -> list[Sent]:
    """Return the events with what they are known by, whatever order they come in later: seq and time of creation."""
    return [
        Sent(
            one.topic,
            one.payload,
            one.key,
            one.version,
            place if one.seq is None else one.seq,
            _BEGIN + timedelta(seconds=place) if one.at is None else one.at,
            one.headers,
        )
        for place, one in enumerate(events, 1)
    ]


def messages(events: Sequence[Sent]) -> list[Incoming]:
    """Return the messages of a stream that holds these events, each of which `numbered` has made."""
    found = []
    for stream_seq, one in enumerate(events, 1):
        headers = {"Nats-Msg-Id": f"event-{one.seq}", "Outbox-Seq": str(one.seq)}
        if one.at is not None:
            headers["Outbox-Created-At"] = one.at.isoformat()
        if one.key is not None:
            headers["Outbox-Key"] = one.key
        if one.version != 1:
            headers["Event-Version"] = str(one.version)
        time_ns = int(_BEGIN.timestamp()) * _NANOSECONDS + stream_seq
        found.append(read(stream_seq, time_ns, one.topic, {**headers, **one.headers}, one.payload))
    return found
