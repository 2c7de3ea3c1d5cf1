"""What was sent and is not answered: an event by itself, or an atomic batch. Pure."""

from collections.abc import Iterable
from typing import NamedTuple, Self

from relay.event import Event

# An event that was sent and is not answered: the event, its subject, and when it was sent (monotonic seconds).
# A plain tuple: one is made for each event, in a fifth of a named tuple's time.
InFlight = tuple[Event, str, float]


class Batch(NamedTuple):
    """An atomic batch in flight.

    Attributes:
        stream: The stream that takes it.
        events: What is in it, in the order in which it is stored.
        subjects: The subjects of its events.
        keys: Their keys.
        sent_at: Monotonic seconds.
    """

    stream: str
    events: list[Event]
    subjects: frozenset[str]
    keys: frozenset[str]
    sent_at: float

    @classmethod
    def of(cls, stream: str, events: list[Event], messages: Iterable[tuple[int, str, bytes, str]], now: float) -> Self:
        """Return a batch that is sent now, of events and their messages.

        What is asked for when it is stored is looked for here: by then its events have left the caches of the cores.
        """
        subjects = frozenset([message[1] for message in messages])
        keys = frozenset([event.key for event in events if event.key is not None])
        return cls(stream, events, subjects, keys, now)
