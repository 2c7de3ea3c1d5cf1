"""Whether a row is still what was read of it, so that what was decided about it may be written. Pure: no I/O.

An operator may correct a row between its read and the moment at which the relay writes what became of it. A refusal was
about the row as it was read. So whatever rests on its contents is written only if the row still has them, in the same
statement, and the row is read again if not. An event that was sent is marked in any case: a stream holds its id.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from relay.event import Event

_MARGIN_BYTES = 1 << 16


class Digest(NamedTuple):
    """What a pending event is now: its id, its key, and SHA-256 of what is sent, in hex; None if it is too large."""

    event_id: str
    key: str | None
    sha256: str | None


def digest(event: Event) -> str:
    """Return SHA-256 of what of an event is sent, in hex, as ``sql/includes/digest.sql`` makes it."""
    hashed = hashlib.sha256(event.topic.encode())
    hashed.update(b"\0\x01\0" if event.headers is None else b"\0%b\0" % event.headers.encode())
    hashed.update(event.payload)
    return hashed.hexdigest()


def most_stored(events: Sequence[Event]) -> int:
    """Return the bytes beyond which a stored row is none of these events: far more than any of them takes as text."""
    return 8 * max(event.size for event in events) + _MARGIN_BYTES


def is_still(event: Event, found: Digest | None) -> bool:
    """Report whether an event that was read whole is what the table has; None: nothing pending."""
    if found is None or found.event_id != event.id or found.key != event.key:
        return False
    return found.sha256 == digest(event)


def is_still_unread(unread: int | str, now: int | str) -> bool:
    """Report whether a row that was not read whole would not be read for the same reason again.

    Args:
        unread: Why it was not read: its size in bytes, or what PostgreSQL said (`Event.unread`).
        now: Its size now, or what PostgreSQL says now.
    """
    return now == unread if isinstance(unread, int) else isinstance(now, str)
