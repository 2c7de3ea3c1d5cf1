"""What was sent and is not answered: an event by itself, or an atomic batch. Pure."""

from typing import NamedTuple

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
    keys: frozenset[str | None]
    sent_at: float
