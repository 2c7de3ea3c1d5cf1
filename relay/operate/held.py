"""How many events and keys wait, by topic, and which of them behind a dead letter of their key."""

from collections.abc import Callable
from itertools import starmap
from typing import NamedTuple

from relay.operate.access import Reader
from relay.text import events_of

# The most pending events that are counted, and dead letters that are looked at.
_PENDING, _DEAD = 20_000, 20_000
_TOPICS = 100


class HeldTopic(NamedTuple):
    """Pending events of one topic.

    Attributes:
        blocked: Whether they wait behind a dead letter of their key.
        keys: How many keys these have; events without a key are not among them.
        key: One of these.
    """

    topic: str
    blocked: bool
    events: int
    keys: int
    key: str | None


class Holding(NamedTuple):
    """How much something holds up; keys of several topics count once for each.

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
    """

    topics: tuple[HeldTopic, ...]
    all_counted: bool

    def of(self, accepts: Callable[[HeldTopic], bool]) -> Holding:
        """Count the topics that are accepted."""
        found = [one for one in self.topics if accepts(one)]
        return Holding(sum(one.events for one in found), sum(one.keys for one in found), self.all_counted)


def read_held(reader: Reader, watermark: int, newest: int, *, blocks: bool) -> Held:
    """Count what is pending above the watermark.

    Args:
        blocks: Whether a key waits for its dead letters.
    """
    rows = reader.rows("operate/held", (watermark, newest, _PENDING, _DEAD if blocks else 0, _TOPICS))
    topics = tuple(starmap(HeldTopic, rows))
    return Held(topics, sum(one.events for one in topics) < _PENDING and len(topics) < _TOPICS)
