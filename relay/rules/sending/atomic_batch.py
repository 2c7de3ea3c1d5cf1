"""What goes into one atomic batch. Pure: no I/O."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.event import Event
from relay.rules.stream.streams import StreamFacts, StreamMap

_BATCH_BYTES = 4 * 1024 * 1024

M = TypeVar("M", bound=tuple[int, str, bytes, str])


@dataclass(frozen=True, slots=True)
class Fit(Generic[M]):
    """A batch, and what is left of the events that were taken for it.

    Attributes:
        stream: The stream of all its events; None if it is not known.
        events: What is in it, in their order.
        messages: Their messages.
        behind: Left events of keys that have an event in the batch. They queue behind it.
        left: All other events that are left.
    """

    stream: StreamFacts | None
    events: list[Event]
    messages: list[M]
    behind: Sequence[Event] = ()
    left: Sequence[Event] = ()


def fit(events: list[Event], messages: list[M], streams: StreamMap, alone: set[int]) -> Fit[M]:
    """Choose what goes into the next batch: events of the first one's stream, up to 4 MiB of payload.

    Args:
        events: The next events, at least one; a key's events in their order.
        messages: The message of each of them; its second field is the subject.
        streams: Which stream takes which subject.
        alone: Seqs that no batch may take.
    """
    stream = streams.find(messages[0][1])
    alike = len({message[1] for message in messages}) == 1
    if alone:
        alike = alike and alone.isdisjoint(event.seq for event in events)
    if alike and sum([len(message[2]) for message in messages]) <= _BATCH_BYTES:
        return Fit(stream, events, messages)
    size = 0
    chosen: list[Event] = []
    fitting: list[M] = []
    left: list[Event] = []
    cut: set[str | None] = set()
    for event, message in zip(events, messages, strict=True):
        size += len(message[2])
        fits = not chosen or (size <= _BATCH_BYTES and streams.find(message[1]) is stream)
        if fits and event.key not in cut and event.seq not in alone:
            chosen.append(event)
            fitting.append(message)
        else:
            left.append(event)
            if event.key is not None:
                cut.add(event.key)
    behind, others = _parted(left, {event.key for event in chosen})
    return Fit(stream, chosen, fitting, behind, others)


def _parted(events: Iterable[Event], keys: Container[str | None]) -> tuple[list[Event], list[Event]]:
    """Part events into those of the keys and the others."""
    of_keys: list[Event] = []
    others: list[Event] = []
    for event in events:
        (of_keys if event.key is not None and event.key in keys else others).append(event)
    return of_keys, others
