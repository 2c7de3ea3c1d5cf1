"""A message of the stream, read as an event of the outbox. Pure: no I/O.

Anybody may publish on the subject, so nothing in a message is believed before it is checked. A message that cannot be
read keeps what could be read of it, and a fault that says why: it is parked like any other event that is refused.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

SEPARATOR = "\x1e"
"""Joins the texts of a batch into one parameter (relay.projection.sql_text); no valid JSON holds it."""

ABSENT = "\x1d"
"""Stands for NULL in such a parameter."""

MAX_SEQ = 2**63 - 1
MAX_DIGITS = 19
MAX_ORIGIN = 64
VERSION = re.compile(r"[1-9][0-9]{0,5}")
_NUL = "\x00"
_CONTROLS = tuple(one.encode() for one in (_NUL, ABSENT, SEPARATOR))
_NANOSECONDS = 1_000_000_000


class Incoming(NamedTuple):
    """One event as it came; a named tuple, because one is made for each event.

    Attributes:
        stream_seq: Its sequence in the stream.
        time_ns: When the stream stored it, Unix nanoseconds.
        topic: The subject on which it came.
        seq: Its seq in the outbox, None without the header ``Outbox-Seq``.
        origin: Which history of the outbox the seq belongs to; empty without the header ``Outbox-Origin``.
        id: Its message id; of a replay the id of the event that is replayed.
        key: Events of one key keep their order; None asks for none. White space and an empty text are keys like others.
        at: When it was created, RFC 3339; when it was stored if that is not known.
        created: Unix seconds of the creation, None without the header ``Outbox-Created-At``.
        version: Of its payload's form, header ``Event-Version``; 1 without it.
        replay: Whether `relay replay` has sent it.
        headers: All headers of the message.
        payload: Its bytes, unread.
        text: The payload as text; empty if it is none.
        fault: Why it cannot be read, None if it can.
    """

    stream_seq: int
    time_ns: int
    topic: str
    seq: int | None
    origin: str
    id: str
    key: str | None
    at: str
    created: float | None
    version: int
    replay: bool
    headers: Mapping[str, str]
    payload: bytes
    text: str
    fault: str | None


def joined(texts: Iterable[str]) -> str:
    """Join texts for one parameter of a statement.

    An empty text would be taken for no element at all: so each ends with a separator, and the last element is cut off.
    """
    return SEPARATOR.join(texts) + SEPARATOR


def is_clean(parts: Iterable[bytes]) -> bool:
    """Report whether none of these bytes, those of whole messages, is a control character that PostgreSQL or we use."""
    everything = b"".join(parts)
    return not any(one in everything for one in _CONTROLS)


def read(
    stream_seq: int,
    time_ns: int,
    subject: str,
    headers: Mapping[str, str],
    payload: bytes,
    *,
    known_clean: bool = False,
) -> Incoming:
    """Read a message.

    Args:
        headers: By name, in the spelling of the relay.
        known_clean: Whether `is_clean` has looked at all of it.
    """
    faults: list[str] = []
    seq_text = headers.get("Outbox-Seq")
    seq = None
    if seq_text is not None:
        seq_text = seq_text.strip()
        is_number = len(seq_text) <= MAX_DIGITS and seq_text.isascii() and seq_text.isdigit()
        seq = int(seq_text) if is_number else None
        if seq is None or not 0 < seq <= MAX_SEQ:
            seq = None
            faults.append("the header Outbox-Seq is not a number of the outbox")
    version_text = headers.get("Event-Version")
    version = 1
    if version_text is not None:
        version_text = version_text.strip()
        if VERSION.fullmatch(version_text):
            version = int(version_text)
        else:
            faults.append("the header Event-Version is not a number from 1 to 999999")
    created_text = headers.get("Outbox-Created-At")
    created = None
    at = created_text
    if created_text is not None:
        at = created_text = created_text.strip()
        created = _unix(created_text)
        if created is None:
            faults.append("the header Outbox-Created-At is not a time")
    if created is None:
        at = datetime.fromtimestamp(time_ns / _NANOSECONDS, UTC).isoformat()
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = ""
        faults.append("the payload is not UTF-8")
    key = headers.get("Outbox-Key")
    origin = headers.get("Outbox-Origin", "").strip()
    if len(origin) > MAX_ORIGIN:
        # It is a key of a table, and without it a seq would count for every origin.
        origin, seq = "", None
        faults.append("the header Outbox-Origin is none of an outbox")
    message_id = (headers.get("Outbox-Replay-Of") or headers.get("Nats-Msg-Id", "")).strip()
    if not known_clean and _has_controls(text, subject, headers):
        faults.append("the message holds a control character that no JSON text may hold")
        subject, origin, message_id = _storable(subject), _storable(origin), _storable(message_id)
        key = None if key is None else _storable(key)
    return Incoming(
        stream_seq,
        time_ns,
        subject,
        seq,
        origin,
        message_id,
        key,
        at or "",
        created,
        version,
        "Outbox-Replay" in headers,
        headers,
        payload,
        text,
        "; ".join(faults) if faults else None,
    )


def _has_controls(text: str, subject: str, headers: Mapping[str, str]) -> bool:
    # Looked for in all at once; what was taken out of the headers is among them.
    everything = "".join((text, subject, *headers, *headers.values()))
    return _NUL in everything or ABSENT in everything or SEPARATOR in everything


def _storable(text: str) -> str:
    """Replace what PostgreSQL's text cannot hold; the event is at fault all the same, and is parked."""
    return text.replace(_NUL, "\ufffd")


def _unix(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()
