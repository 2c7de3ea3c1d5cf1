"""What the relay refuses to send, known before anything is written. Pure: no I/O.

The texts are the relay's own. A test of the repository holds both together.
"""

import json
import math
import re
from collections.abc import Collection, Mapping

from outbox_client.errors import InvalidEvent
from outbox_client.storable import utf8

_MAX_SUBJECT_BYTES = 1024
_MAX_HEADER_BYTES = 65_535
# What the wire adds to the name and value of a header, and to all headers together.
_PER_HEADER_BYTES = 4
_HEADERS_BYTES = 12
_MESSAGE_ID_BYTES = len("Nats-Msg-Id") + 36 + _PER_HEADER_BYTES
_KEY = "Outbox-Key"
# Room for what the relay adds beside the key: seq, origin and time, the headers of an atomic batch and of a replay, and
# the attributes of a CloudEvent.
RELAY_BYTES = 8 * 1024

_SUBJECT = re.compile(r"[!-)+-=?-~]+")  # printable ASCII but space, * and >
_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9_\-]")
_TEMPLATE_FIELD = re.compile(r"\{(\w*)\}")
_HEADER_NAME = re.compile(r"[!-9;-~]+")  # printable ASCII but space and colon
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a tab may stand in a value
RESERVED_HEADERS = frozenset({"nats-msg-id", "nats-batch-id", "nats-batch-sequence", "nats-batch-commit"})


def subject_fault(subject: str) -> str | None:
    """Return why nothing may be published on a subject, None if it may."""
    if not subject:
        return "the subject is empty"
    if len(subject) > _MAX_SUBJECT_BYTES:
        return f"the subject is longer than {_MAX_SUBJECT_BYTES} bytes"
    if not _SUBJECT.fullmatch(subject):
        return "the subject holds a space, a wildcard, a control or a non-ASCII character"
    if subject[0] == "." or subject[-1] == "." or ".." in subject:
        return "the subject holds an empty token"
    if subject[0] == "$" or subject.startswith("_INBOX"):
        return "the subject is reserved for the server"
    return None


def template_fault(template: str) -> str | None:
    """Return what is wrong with a subject template, None if it is good."""
    fields = _TEMPLATE_FIELD.findall(template)
    unknown = [field for field in fields if field not in ("topic", "key")]
    if unknown:
        return f"unknown field {{{unknown[0]}}}: only {{topic}} and {{key}} are known"
    if not fields:
        return "must contain {topic} or {key}"
    return subject_fault(_TEMPLATE_FIELD.sub("x", template))


def key_token(key: str | None) -> str:
    """Make one token of a subject of a key: ``_`` without a key, percent-encoded if a character is not allowed."""
    if not key:
        return "_"
    return _NOT_IN_TOKEN.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), key)


def check_subject(template: str, topic: str, key: str | None) -> None:
    """Check the subject that the relay will make of a topic and a key.

    Raises:
        InvalidEvent: The relay would refuse it.
    """
    subject = _TEMPLATE_FIELD.sub(lambda found: topic if found[1] == "topic" else key_token(key), template)
    if (fault := subject_fault(subject)) is not None:
        raise InvalidEvent("subject", f"{fault}: {subject[:200]!r}")


def check_headers(headers: Mapping[str, object], allow_nats: Collection[str], key: str | None) -> int:
    """Check the headers of an event.

    Args:
        headers: As the application gave them.
        allow_nats: ``Nats-`` headers that the relay's configuration allows, in lower case.
        key: The key, if the relay sends it as a header; else None.

    Returns:
        What they, the key and the message id will take on the wire, in bytes.

    Raises:
        InvalidEvent: The relay would refuse one, or all of them together.
    """
    size = _HEADERS_BYTES + _MESSAGE_ID_BYTES
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidEvent("headers", f"a header's name holds a space, a colon or a control: {name[:100]!r}")
        lower = name.lower()
        if lower.startswith("nats-") and lower not in allow_nats:
            raise InvalidEvent("headers", f"header {name[:100]} would steer the server and is not allowed")
        # As JSON null, with which the relay leaves a header out.
        if value is not None:
            size += len(name) + _bytes(name, value) + _PER_HEADER_BYTES
    if key is not None:
        size += len(_KEY) + _bytes(_KEY, key) + _PER_HEADER_BYTES
    if size > _MAX_HEADER_BYTES - RELAY_BYTES:
        room = "" if size > _MAX_HEADER_BYTES else f", {RELAY_BYTES} of them for what the relay adds"
        raise InvalidEvent("size", f"headers of {size} bytes: the server takes {_MAX_HEADER_BYTES}{room}")
    return size


def check_size(header_bytes: int, payload_bytes: int, max_bytes: int) -> None:
    """Check the size of a whole message.

    Raises:
        InvalidEvent: It is larger than `max_bytes`.
    """
    if header_bytes + payload_bytes > max_bytes:
        raise InvalidEvent(
            "size", f"headers of {header_bytes} and payload of {payload_bytes} bytes: the server takes {max_bytes}"
        )


def _bytes(name: str, value: object) -> int:
    return len(utf8("headers", f"header {name[:100]}", _value(name, value)))


def _value(name: str, value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidEvent("headers", f"header {name[:100]} is a number out of range")
    if isinstance(value, (bool, int, float)):
        try:
            return json.dumps(value)
        except ValueError:  # more digits than Python writes
            raise InvalidEvent("headers", f"header {name[:100]} is a number out of range") from None
    if not isinstance(value, str):
        raise InvalidEvent("headers", f"header {name[:100]} is no text, number or boolean")
    if _CONTROL.search(value):
        raise InvalidEvent("headers", f"header {name[:100]} holds a line end or another control character")
    return value
