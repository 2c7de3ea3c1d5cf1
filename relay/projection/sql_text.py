"""The statement of an author with the events put before it, and the parameters that carry them. Pure: no I/O.

Payloads are never read in Python: a batch is one text for each column, and PostgreSQL takes them apart. The texts are
joined by U+001E, which valid JSON cannot hold, and each payload is cast alone: no payload can pretend to be two.
"""

import re
from collections.abc import Sequence
from operator import attrgetter

from relay.projection.rules.incoming import ABSENT, Incoming, joined

_EVENT = """event AS (
    SELECT e.seq::bigint AS seq, e.stream_seq::bigint AS stream_seq, e.id, e.key, e.topic, e.at::timestamptz AS at,
           e.version::integer AS version, e.data::json AS data
    FROM unnest({columns}) AS e (seq, stream_seq, id, key, topic, at, version, data)
)"""
_COLUMNS = 8
# What `joined` makes: the last element is cut off.
_COLUMN = "(string_to_array(${number}::text, E'\\x1e', E'\\x1d'))[1:$9::integer]"
_ID, _TOPIC, _AT, _TEXT = (attrgetter(name) for name in ("id", "topic", "at", "text"))
# A text, a name, a body in dollars, a comment: what is in them ends no statement.
_QUOTED = re.compile(
    r"""\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([A-Za-z_]\w*)?\$.*?\$(?(1)\1)\$|--[^\n]*|/\*.*?\*/""",
    re.DOTALL,
)
# The body of a function in SQL of its own, which ends with END.
_ATOMIC = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)
# What begins or ends a transaction. A savepoint does neither.
_CONTROL = re.compile(
    r"\s*(begin|start\s+transaction|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction)\b",
    re.IGNORECASE,
)
_WITH = re.compile(r"\s*WITH\s+(RECURSIVE\s+)?", re.IGNORECASE)


def ends_transaction(sql: str) -> str | None:
    """Return the first statement of several that begins or ends a transaction, by its word; None if there is none."""
    plain = _QUOTED.sub(" ", sql)
    of_bodies = _ATOMIC.search(plain) is not None
    for one in plain.split(";"):
        found = _CONTROL.match(one)
        if found is not None and not (of_bodies and found[1].lower() == "end"):
            return found[1].upper()
    return None


def statement(sql: str) -> bytes:
    """Put the events before a statement, as the rows of ``event``."""
    columns = ", ".join(_COLUMN.format(number=number) for number in range(1, _COLUMNS + 1))
    event = _EVENT.format(columns=columns)
    found = _WITH.match(sql)
    if found is None:
        return f"WITH {event}\n{sql}".encode()
    recursive = "RECURSIVE " if found[1] else ""
    return f"WITH {recursive}{event},\n{sql[found.end() :]}".encode()


def parameters(events: Sequence[Incoming]) -> list[object]:
    """Return what carries these events into a statement; none of them may have a fault."""
    return [
        joined([ABSENT if event.seq is None else str(event.seq) for event in events]),
        joined([str(event.stream_seq) for event in events]),
        joined(map(_ID, events)),
        joined([ABSENT if event.key is None else event.key for event in events]),
        joined(map(_TOPIC, events)),
        joined(map(_AT, events)),
        joined([str(event.version) for event in events]),
        joined(map(_TEXT, events)),
        len(events),
    ]
