"""How many events producers insert, topic by topic: so fast streams grow, whatever a backlog adds meanwhile."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relay.operate.access import Reader, Row
from relay.operate.gone_stream import SubjectOf, taken_by

# Among how many of the newest events it is looked at, over how long, and for how long these must be known at least.
_NEWEST, _LONG_S, _LEAST_S = 20_000, 600.0, 60.0
_SLOT_S, _TOPICS = 10.0, 100


class InsertedTopic(NamedTuple):
    """What was inserted of a topic lately.

    Attributes:
        key: One of the keys.
        rate: Events a second, without the fullest ten seconds: a burst does not go on.
    """

    topic: str
    key: str | None
    rate: float


def asked(newest: int) -> tuple[object, ...]:
    """Return the parameters of ``operate/inserted``; `newest` is the highest seq in the table."""
    return (max(0, newest - _NEWEST), newest, _LONG_S, _SLOT_S, _TOPICS)


def read_inserted(reader: Reader, newest: int) -> tuple[InsertedTopic, ...] | None:
    """Return how fast events are inserted, by topic; None if the outbox is too young for that.

    Args:
        newest: The highest seq in the table.
    """
    return from_rows(reader.rows("operate/inserted", asked(newest)), time.time())


def from_rows(rows: Sequence[Row], now: float) -> tuple[InsertedTopic, ...] | None:
    """Return what rows of ``operate/inserted`` say; `now` is Unix seconds."""
    if not rows:
        return ()
    return rates(((topic, key, events, fullest) for topic, events, fullest, key, _ in rows), now - rows[0][4])


def rates(topics: Iterable[tuple[str, str | None, int, int]], known_s: float) -> tuple[InsertedTopic, ...] | None:
    """Return the rate of each topic; None if it is known for too short a time.

    Args:
        topics: Name, a key, how many events, how many of them in the fullest ten seconds.
        known_s: For how long events are known.
    """
    span_s = min(known_s, _LONG_S)
    if not (math.isfinite(known_s) and span_s >= _LEAST_S):
        return None
    return tuple(
        InsertedTopic(topic, key, (events - fullest) / (span_s - _SLOT_S)) for topic, key, events, fullest in topics
    )


def inserted_into(took: Sequence[str], inserted: Sequence[InsertedTopic] | None, subject_of: SubjectOf) -> float | None:
    """Return how many events a second are inserted for a stream that takes some subjects; None if nobody knows."""
    if inserted is None:
        return None
    subjects = ((one, subject_of(one.topic, one.key)) for one in inserted)
    return sum(
        one.rate for one, subject in subjects if subject is not None and taken_by(subject, {"it": took}) is not None
    )
