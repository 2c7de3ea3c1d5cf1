"""What an operator types for a filter, on a command line or in a form: spans, moments, ranges of seqs, ids. Pure.

Each raises `ValueError` with a text that says what was expected.
"""

import re
import uuid
from datetime import datetime

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST_S = 100 * 366 * 86_400
_SEQS = re.compile(r"([0-9]{0,18})(?:(\.\.)([0-9]{0,18}))?")


def span(text: str) -> float | None:
    """Return the seconds of a span such as ``90s``, ``15m``, ``2h``, ``7d``; None if the text is not a span.

    Raises:
        ValueError: It is longer than a hundred years: PostgreSQL and NATS hold no such time.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        return None
    span_s = float(found[1]) * _SECONDS[found[2]]
    if span_s > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return span_s


def moment_or_span(text: str, now: float) -> float:
    """Return Unix seconds for a span back from `now`, or for a moment.

    Raises:
        ValueError: It is neither, or no moment that PostgreSQL holds.
    """
    if (span_s := span(text)) is not None:
        return now - span_s
    try:
        # Without a zone it is local time, as the tables show it.
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is neither a span such as 90s, 15m, 2h, 7d nor a moment such as 2030-01-31T12:00"
        ) from None


def seq_range(text: str) -> tuple[int | None, int | None]:
    """Return the first and the last seq of ``7``, ``7..9``, ``7..`` or ``..9``.

    Raises:
        ValueError: It is none of these.
    """
    found = _SEQS.fullmatch(text.strip())
    if found is None or not (found[1] or found[3]):
        raise ValueError(f"{text!r} is neither a seq nor a range such as 4711..4720, 4711.. or ..4720")
    first = int(found[1]) if found[1] else None
    if not found[2]:
        return first, first
    last = int(found[3]) if found[3] else None
    if first is not None and last is not None and first > last:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last


def event_id(text: str) -> str:
    """Return an id in the form in which the table has it.

    Raises:
        ValueError: It is no UUID.
    """
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise ValueError(f"{text!r} is not an id (UUID)") from None
