"""From an event to the values of its row. Pure: no I/O."""

from __future__ import annotations

import json

from outbox_client.rules import RELAY_BYTES, RESERVED_HEADERS, check_headers, check_size, check_subject, template_fault
from outbox_client.statements import COLUMNS
from outbox_client.storable import check_escapes, check_numbers, stored_bytes, utf8
from outbox_client.tracing import traced

TYPE_CHECKING = False  # the module typing takes a fifth of the time of importing this package
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, TypeAlias

    from outbox_client.event import Event

    Row: TypeAlias = tuple[str, str, str | None, str | bytes, str | None]

PAYLOAD_TYPES = ("jsonb", "json", "text", "bytea")
# A message of 1 MiB is the server's default.
MAX_BYTES = 1024 * 1024 - RELAY_BYTES


class Rows:
    """Makes and checks rows, by the rules of one outbox.

    Args:
        payload: The type of the payload column: ``jsonb``, ``json``, ``text`` or ``bytea``.
        dumps: Makes JSON text of a payload.
        subject: The relay's subject template.
        allow_nats: The relay's ``headers.allow_nats``.
        max_bytes: What headers and payload may take together.
        key_header: The relay's ``headers.key``.

    Raises:
        ValueError: The type or the template is none.
    """

    def __init__(
        self,
        payload: str,
        dumps: Callable[[Any], str],
        subject: str,
        allow_nats: Collection[str],
        max_bytes: int,
        key_header: bool,
    ) -> None:
        if payload not in PAYLOAD_TYPES:
            raise ValueError(f"payload {payload!r}: must be one of {', '.join(PAYLOAD_TYPES)}")
        if (fault := template_fault(subject)) is not None:
            raise ValueError(f"subject {subject!r}: {fault}")
        self._payload = payload
        self._dumps = dumps
        self._subject = subject
        self._by_topic = "{key}" not in subject
        self._allow_nats = frozenset(name.lower() for name in allow_nats) - RESERVED_HEADERS
        self._max_bytes = max_bytes
        self._key_header = key_header
        self._plain_bytes = check_headers({}, (), None)
        self._known: set[str] = set()

    def make(self, event: Event) -> Row:
        """Make the values of an event's row, in the order of `COLUMNS`: texts, but for the payload of a bytea column.

        Raises:
            InvalidEvent: The relay could never send it, or PostgreSQL never store it.
            TypeError: Its payload cannot be encoded, or its key is no text.
        """
        key = event.key
        if key is not None:
            if not isinstance(key, str):
                raise TypeError(f"the key of an event is a text or None, not {type(key).__name__}")
            stored_bytes("key", key)
        if event.topic not in self._known:
            self._check_topic(event)
        headers = traced(event.headers)
        header_bytes = self._plain_bytes
        if headers or (self._key_header and key is not None):
            header_bytes = check_headers(headers or {}, self._allow_nats, key if self._key_header else None)
        payload, size = self._encode(event.payload)
        check_size(header_bytes, size, self._max_bytes)
        return str(event.id), event.topic, event.key, payload, json.dumps(headers) if headers else None

    def by_column(self, event: Event) -> dict[str, str | bytes | None]:
        """Make the same as `make`, by column."""
        return dict(zip(COLUMNS, self.make(event), strict=True))

    def _check_topic(self, event: Event) -> None:
        check_subject(self._subject, event.topic, event.key)
        stored_bytes("topic", event.topic)  # a template need not name it
        if self._by_topic and len(self._known) < 10_000:
            self._known.add(event.topic)

    def _encode(self, payload: Any) -> tuple[str | bytes, int]:
        """Make the value of a payload, and return its size in bytes."""
        if self._payload == "bytea" and isinstance(payload, (bytes, bytearray, memoryview)):
            body = bytes(payload)
            return body, len(body)
        if self._payload in ("text", "bytea") and isinstance(payload, str):
            text = payload
        else:
            text = self._json(payload)
            check_numbers(text)
            if self._payload == "jsonb":
                check_escapes(text)
        if self._payload == "bytea":
            body = utf8("payload", "the payload", text)
            return body, len(body)
        return text, stored_bytes("payload", text)

    def _json(self, payload: Any) -> str:
        for method in ("model_dump_json", "__json__"):
            if (dump := getattr(payload, method, None)) is not None:
                return str(dump())
        try:
            return self._dumps(payload)
        except TypeError as error:
            if self._dumps is not json.dumps:
                raise
            hint = "to send such values as texts: dumps=functools.partial(json.dumps, default=str)"
            raise TypeError(f"the payload cannot be encoded: {error}; {hint}") from error
