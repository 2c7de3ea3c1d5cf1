"""The subject and the headers of an event, and the rules that untrusted rows must keep. Pure: no I/O.

Rows are written by applications, so everything here is checked before it is sent: the server silently stores a
literal wildcard or a NUL in a subject, obeys control headers, and drops the connection over a message that is too
large.
"""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence

from relay.event import Event
from relay.rules.database.origins import Origins
from relay.rules.sending.cloudevents import CloudEvents
from relay.rules.stream.subjects import _TEMPLATE_FIELD, key_token, matches, subject_fault

MESSAGE_ID = "Nats-Msg-Id"

# The line of a condition that no stream meets: none has a dot in its name. The server goes by the first one of a name.
OF_NO_STREAM = "Nats-Expected-Stream: .\r\n"

_MAX_HEADER_BYTES = 65_535
# What the wire adds to name and value of a header, and to all headers together ("NATS/1.0" and two line ends).
_PER_HEADER_BYTES = 4
_HEADERS_BYTES = 12
_HEADERS_WE_ADD_BYTES = 4 * 1024

_HEADER_NAME = re.compile(r"[!-9;-~]+")  # printable ASCII but space and colon
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a tab may stand in a value
_REPLAY_HEADERS = frozenset({"outbox-replay", "outbox-replay-of"})
_RESERVED_HEADERS = frozenset({"nats-msg-id", "nats-batch-id", "nats-batch-sequence", "nats-batch-commit"})


class Poison(Exception):
    """This event can never be sent as it is. The text says why; nothing was sent.

    Attributes:
        reason: One word for metrics: ``subject``, ``headers``, ``size`` or ``unreadable``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Envelopes:
    """Makes the subject and the headers of each event, by the configured rules.

    Args:
        template: Subject with ``{topic}`` and ``{key}``.
        allow: NATS patterns; a subject outside them is refused. Empty: every subject.
        add_key: Send the key as ``Outbox-Key``.
        add_seq: Send the seq as ``Outbox-Seq``.
        add_created_at: Send the time of creation as ``Outbox-Created-At``, RFC 3339.
        allow_nats: ``Nats-`` headers that a row may set, such as ``Nats-TTL``; never the message id or a batch's.
        cloud_events: What makes a CloudEvent of each event; None if they are plain messages.
    """

    def __init__(
        self,
        *,
        template: str = "{topic}",
        allow: Sequence[str] = (),
        add_key: bool = False,
        add_seq: bool = False,
        add_created_at: bool = False,
        allow_nats: Sequence[str] = (),
        cloud_events: CloudEvents | None = None,
    ) -> None:
        self._template = template
        self._by_topic = "{key}" not in template
        self._allow = tuple(allow)
        self._add_key = add_key
        self._add_seq = add_seq
        self._add_created_at = add_created_at
        self._cloud_events = cloud_events
        self._origins = Origins()
        self._ours = frozenset(
            [
                *_REPLAY_HEADERS,
                *(["outbox-key"] if add_key else []),
                *(["outbox-seq", "outbox-origin"] if add_seq else []),
                *(["outbox-created-at"] if add_created_at else []),
            ]
        )
        self._plain = not (add_key or add_seq or add_created_at or cloud_events)
        self._allow_nats = frozenset(name.lower() for name in allow_nats) - _RESERVED_HEADERS
        self._known: dict[str, str] = {}

    def with_origins(self, origins: Origins) -> "Envelopes":
        """Return the same rules, which also send the origin of the seq as ``Outbox-Origin`` if they send the seq."""
        same = copy.copy(self)
        same._origins = origins
        return same

    def make(self, event: Event, max_payload: int) -> tuple[str, str]:
        """Make the subject of an event and the lines of its headers, each with its line end.

        Called once for each event; see `subject` and `headers`.

        Raises:
            Poison: They break a rule, or the message would be too large.
        """
        if event.unread:
            raise _unread(event.unread)
        subject = self._known.get(event.topic) or self.subject(event)
        if self._plain and event.headers is None and len(event.payload) + _HEADERS_WE_ADD_BYTES <= max_payload:
            return subject, f"{MESSAGE_ID}: {event.id}\r\n"
        headers = self.headers(event, max_payload)
        return subject, "".join([f"{name}: {value}\r\n" for name, value in headers.items()])

    def make_all(self, events: Sequence[Event], max_payload: int, most_bytes: int) -> list[tuple[int, str, bytes, str]]:
        """Make the messages of events: seq, subject, payload and the lines of the headers, as `make` does for each.

        The usual ones are made here, in three fifths of the time.

        Args:
            events: What is to be sent.
            max_payload: What the server takes, headers and payload together, bytes.
            most_bytes: The largest payload that is wanted, bytes.

        Returns:
            Those before the first event that breaks a rule or is larger.
        """
        known, make = self._known, self.make
        usual_bytes = min(most_bytes, max_payload - _HEADERS_WE_ADD_BYTES) if self._plain else -1
        messages: list[tuple[int, str, bytes, str]] = []
        try:
            for event in events:
                seq, message_id, topic, _, payload, headers, _, _, _, unread = event
                if headers is None and not unread and topic in known and len(payload) <= usual_bytes:
                    messages.append((seq, known[topic], payload, f"{MESSAGE_ID}: {message_id}\r\n"))
                elif len(payload) > most_bytes:
                    break
                else:
                    subject, lines = make(event, max_payload)
                    messages.append((seq, subject, payload, lines))
        except Poison:
            pass  # it is sent by itself, and refused there with its reason
        return messages

    def subject(self, event: Event) -> str:
        """Make the subject of an event.

        Raises:
            Poison: It breaks a rule.
        """
        known = self._known.get(event.topic)
        if known is not None:
            return known
        subject = self._fill(event)
        fault = subject_fault(subject)
        if fault is None and self._allow and not any(matches(pattern, subject) for pattern in self._allow):
            fault = "the subject lies outside the allowed ones"
        if fault is not None:
            raise Poison("subject", f"{fault}: {subject[:200]!r}")
        if self._by_topic:
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known[event.topic] = subject
        return subject

    def wanted(self, event: Event) -> str:
        """Return the subject that an event asks for, allowed or not, cut to 200 characters: for the log."""
        return self._fill(event)[:200]

    def _fill(self, event: Event) -> str:
        """Put topic and key in, in one pass: what stands in the topic is never read as a template."""
        return _TEMPLATE_FIELD.sub(
            lambda found: event.topic if found[1] == "topic" else key_token(event.key), self._template
        )

    def headers(self, event: Event, max_payload: int) -> dict[str, str]:
        """Make the headers of an event: the row's own, the configured ones, and the message id.

        Args:
            event: The event.
            max_payload: What the server takes, headers and payload together, bytes.

        Raises:
            Poison: They break a rule, or the message would be too large.
        """
        if event.headers is None and self._plain:
            headers = {MESSAGE_ID: event.id}
        else:
            headers = {} if event.headers is None else self._own(event.headers)
            if self._cloud_events is not None:
                try:
                    headers = self._cloud_events.headers(event, headers)
                except ValueError as error:
                    raise Poison("headers", str(error)) from None
            if self._add_key and event.key is not None:
                headers["Outbox-Key"] = _value("Outbox-Key", event.key)
            if self._add_seq:
                headers["Outbox-Seq"] = str(event.seq)
                if origin := self._origins.of(event.seq):
                    headers["Outbox-Origin"] = origin
            if self._add_created_at and (created_at := event.created_at_text()) is not None:
                headers["Outbox-Created-At"] = created_at
            headers[MESSAGE_ID] = event.id
        # Our own headers cannot be large, but for a key or a topic in them; so most events need no count.
        unbounded = (
            event.headers is not None or (self._add_key and event.key is not None) or self._cloud_events is not None
        )
        if unbounded or len(event.payload) + _HEADERS_WE_ADD_BYTES > max_payload:
            self._check_size(headers, len(event.payload), max_payload)
        return headers

    def _own(self, text: str) -> dict[str, str]:
        """Take the headers that the row asks for: none if it says null, and none of which it says so, as ORMs do.

        Those that the relay sends are left out: a row that passes on the headers of a message that was consumed would
        otherwise speak of another event's key or seq wherever it has none of its own.
        """
        try:
            own = json.loads(text)
        except (ValueError, RecursionError):
            # jsonb takes numbers of more digits and deeper nesting than Python reads.
            raise Poison("headers", "the headers cannot be read as JSON") from None
        if own is None:
            return {}
        if not isinstance(own, dict):
            raise Poison("headers", "the headers are no JSON object")
        taken: dict[str, str] = {}
        for name, value in own.items():
            if not _HEADER_NAME.fullmatch(name):
                raise Poison("headers", f"a header's name holds a space, a colon or a control: {name[:100]!r}")
            lower = name.lower()
            if lower.startswith("nats-") and lower not in self._allow_nats:
                raise Poison("headers", f"header {name[:100]} would steer the server and is not allowed")
            if value is not None and lower not in self._ours:
                taken[name] = _value(name, value)
        return taken

    @staticmethod
    def _check_size(headers: Mapping[str, str], payload_bytes: int, max_payload: int) -> None:
        header_bytes = _HEADERS_BYTES + sum(
            len(name) + len(value.encode()) + _PER_HEADER_BYTES for name, value in headers.items()
        )
        if header_bytes > _MAX_HEADER_BYTES:
            raise Poison("size", f"headers of {header_bytes} bytes: the server takes {_MAX_HEADER_BYTES}")
        if header_bytes + payload_bytes > max_payload:
            raise Poison(
                "size",
                f"headers of {header_bytes} and payload of {payload_bytes} bytes: the server takes {max_payload}",
            )


def size_on_the_wire(lines: str, payload: bytes) -> int:
    """Return what the limits of server and stream count of a message, bytes.

    Args:
        lines: Its headers, as `Envelopes.make` returns them.
    """
    return _HEADERS_BYTES + len(lines.encode()) + len(payload)


def knocking(lines: str, payload: bytes, max_payload: int) -> str:
    """Return the lines of the headers of an event that every stream refuses, so that it shows whether one is there.

    Those of one that fills what the server takes stay as they are: the server ends the connection over a longer one.

    Args:
        lines: Its headers, as `Envelopes.make` returns them.
        payload: Its payload.
        max_payload: What the server takes, headers and payload together, bytes.
    """
    refused = OF_NO_STREAM + lines
    return refused if size_on_the_wire(refused, payload) <= max_payload else lines


def _unread(why: int | str) -> Poison:
    if isinstance(why, str):
        return Poison("unreadable", f"PostgreSQL cannot read the row: {why}")
    limits = "twice delivery.buffer_bytes, or 1 MiB beside the payload"
    return Poison("size", f"{why} bytes: more than the relay reads, {limits}")


def _value(name: str, value: object) -> str:
    """Make the text of a header's value; numbers and booleans as in JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Poison("headers", f"header {name[:100]} is a number out of range")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if not isinstance(value, str):
        raise Poison("headers", f"header {name[:100]} is no text, number or boolean")
    if _CONTROL.search(value):
        raise Poison("headers", f"header {name[:100]} holds a line end or another control character")
    return value
