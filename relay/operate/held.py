"""How many events and keys wait, by topic, and which of them behind a dead letter of their key."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from relay.operate.access import Reader
from relay.operate.gone_stream import SubjectOf, taken_by
from relay.operate.status import Oldest
from relay.text import events_of

# The most pending events that are counted, and dead letters that are looked at.
_PENDING, _DEAD = 20_000, 20_000
_TOPICS = 100


class HeldTopic(NamedTuple):
    """Pending events of one topic.

    Attributes:
        blocked: Whether they wait behind a dead letter of their key.
        key: One of their keys.
    """

    topic: str
    blocked: bool
    events: int
    key: str | None


class HeldKeys(NamedTuple):
    """How many keys have pending events of exactly these topics.

    Attributes:
        blocked: As of a `HeldTopic`; a key may have events of both kinds.
    """

    topics: tuple[str, ...]
    blocked: bool
    keys: int


class Holding(NamedTuple):
    """How much something holds up: events with or without a key, and how many keys they have.

    Attributes:
        all_counted: False: there may be more.
    """

    events: int
    keys: int
    all_counted: bool

    def __str__(self) -> str:
        """Return it in words, such as ``128 events of 40 keys``."""
        keys = f" of {self.keys:,} key{'' if self.keys == 1 else 's'}" if self.keys else ""
        return f"{'' if self.all_counted else 'at least '}{events_of(self.events)}{keys}"


class Held(NamedTuple):
    """What is pending, topic by topic, the most events first.

    Attributes:
        all_counted: False: only the first 20,000 pending events were counted.
        behind: The first dead letter for which the oldest pending event waits; None if it waits for none.
    """

    topics: tuple[HeldTopic, ...]
    keys: tuple[HeldKeys, ...]
    all_counted: bool
    behind: int | None = None

    def of(self, accepts: Callable[[HeldTopic], bool]) -> Holding:
        """Count the topics that are accepted."""
        found = [one for one in self.topics if accepts(one)]
        taken = {(one.topic, one.blocked) for one in found}
        keys = (one.keys for one in self.keys if any((topic, one.blocked) in taken for topic in one.topics))
        return Holding(sum(one.events for one in found), sum(keys), self.all_counted)


def held_for(name: str, subjects: Sequence[str], held: Held, subject_of: SubjectOf) -> Holding:
    """Return what waits for a stream that takes some subjects, and not behind a dead letter."""
    took = {name: subjects}

    def its(topic: HeldTopic) -> bool:
        subject = subject_of(topic.topic, topic.key)
        return not topic.blocked and subject is not None and taken_by(subject, took) is not None

    return held.of(its)


def read_held(reader: Reader, watermark: int, newest: int, *, blocks: bool, oldest: Oldest | None = None) -> Held:
    """Count what is pending above the watermark.

    Args:
        blocks: Whether a key waits for its dead letters.
        oldest: The oldest pending event, to see what it waits for.
    """
    rows = reader.rows("operate/held", (watermark, newest, _PENDING, _DEAD if blocks else 0, _TOPICS))
    topics = tuple(HeldTopic(one[0], blocked, events, key) for one, blocked, events, _, key in rows if events)
    keys = tuple(HeldKeys(tuple(some), blocked, count) for some, blocked, _, count, _ in rows if count)
    all_counted = sum(one.events for one in topics) < _PENDING and len(topics) < _TOPICS and len(keys) < _TOPICS
    behind = None
    if blocks and oldest is not None and oldest.key is not None:
        behind = next((seq for (seq,) in reader.rows("operate/key_dead", (oldest.key, oldest.seq, 1))), None)
    return Held(topics, keys, all_counted, behind)
