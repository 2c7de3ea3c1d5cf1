"""Distinguish a loss from what a stream removes by its own limits, or was told to remove. Pure: no I/O, no clock.

First of all it has to be the same stream: what another one of the same name holds proves nothing (`is_same`).

A stream that was rolled back ends below what it had acknowledged, or holds other messages at those sequences. One that
was deleted and made again is younger than the delivery. A purge and the limits of age and size move its beginning
forward and never its end back: nothing is lost then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.streams import StreamState

# An event that was delivered this long before the stream was made, by the clocks of two machines, went to an earlier
# stream, seconds.
_CLOCKS_S = 60.0


class Fate(StrEnum):
    """What became of a delivered event."""

    INTACT = "intact"
    LOST = "lost"
    AGED_OUT = "aged_out"
    PURGED = "purged"
    UNKNOWN = "unknown"


class Place(NamedTuple):
    """Where a delivered event was stored, and when it was marked (Unix seconds)."""

    stream: str
    stream_seq: int
    delivered_at: float


class DeliveredRow(NamedTuple):
    """A row that is marked delivered: where its message should be, since when (Unix seconds), what it is about."""

    seq: int
    event_id: str
    stream_seq: int
    delivered_at: float
    topic: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last seen of a stream.

    Attributes:
        created: When it was made, in the server's words; None if that was never learned.
        first_seq: Messages below it were gone already.
        floor: Every event of ours at or below this sequence is marked.
        mark: The highest mark.
        lost: A loss was proved and nobody has healed it.
        begun_at: What was delivered before went to an earlier stream of this name, and was repaired; Unix seconds.
        repaired_at: When lost events were given back to be sent again, Unix seconds; 0 once that has shown to help.
        looked: What it held at the highest mark of the last look; several if relays have seen it at different times.
            That it lacks one of them proves a loss, however much others have stored since.
    """

    stream: str
    created: str | None = None
    first_seq: int = 0
    floor: int = 0
    mark: Mark = field(default_factory=Mark)
    lost: bool = False
    begun_at: float = 0.0
    repaired_at: float = 0.0
    looked: tuple[Mark, ...] = ()


def is_same(seen: Seen, state: StreamState, id_at_mark: str | None, subject: str | None) -> bool:
    """Report whether a stream is the one that has acknowledged our events, and no namesake of it.

    It is if it holds our event at the mark, if it was made when ours was, or if it takes the events that ours took:
    made again, or restored, it is still ours.

    Args:
        seen: What was last seen of ours.
        state: The one that answers to its name.
        id_at_mark: The message id at the sequence of the mark, as for `suspicious`.
        subject: What the event at the mark was published on; None if nobody knows any more.
    """
    if state.mirror:
        return False
    if seen.mark.event_id is not None and id_at_mark == seen.mark.event_id:
        return True
    return seen.created == state.created or (subject is not None and state.facts.takes(subject))


def may_repair(seen: Seen, state: StreamState, newest_lost_at: float) -> bool:
    """Report whether lost events may be sent again: not if that was done before, and did not help.

    A stream that was made again since is another case, and so are events that were lost before the repair and are
    found only now.

    Args:
        seen: What was last seen of the stream.
        state: What it is now.
        newest_lost_at: When the newest of the lost events was delivered, Unix seconds.
    """
    return seen.created != state.created or not 0 < seen.repaired_at < newest_lost_at


def contradicts(mark: Mark, state: StreamState, id_at_mark: str | None) -> bool:
    """Report whether a stream does not hold, where it had acknowledged it, an event that it cannot have let go.

    Args:
        mark: A sequence that it has acknowledged, with the event.
        state: What it is now.
        id_at_mark: The message id at that sequence, as for `suspicious`.
    """
    return state.last_seq < mark.stream_seq or (id_at_mark is not None and id_at_mark != mark.event_id)


def suspicious(seen: Seen, state: StreamState, id_at_mark: str | None) -> bool:
    """Report whether a stream must have lost something, from its end and from the message at our highest mark.

    Args:
        seen: What was last seen of it.
        state: What it is now.
        id_at_mark: The message id at the sequence of the mark, empty for a message without one, None for no message.
    """
    mark = seen.mark
    if mark.stream_seq == 0:
        return False
    if id_at_mark is not None or state.last_seq < mark.stream_seq:
        return contradicts(mark, state, id_at_mark)
    # Gone by age, limits, purge or deletion, unless it is another stream.
    return seen.created is not None and seen.created != state.created


def made_again(seen: Seen, state: StreamState, mark_at: float) -> bool:
    """Report whether a stream that holds our event at the mark was made since it was last seen, and is no copy.

    What was sent to it since is no proof that it holds anything from before. A copy that was restored holds what was
    delivered before it was made.

    Args:
        seen: What was last seen of it.
        state: What it is now.
        mark_at: When the event at the mark was delivered, Unix seconds.
    """
    return seen.created not in (None, state.created) and not is_copy(state, mark_at)


def is_copy(state: StreamState, oldest_held_at: float) -> bool:
    """Report whether a stream was restored from a copy: it holds an event that was delivered before it was made.

    Args:
        state: The stream.
        oldest_held_at: When an event that it holds was delivered, Unix seconds.
    """
    return oldest_held_at < state.created_at - _CLOCKS_S


def judge(
    row: DeliveredRow,
    state: StreamState | None,
    stored: Mapping[int, str | None],
    *,
    begun_at: float,
    now: float,
    is_another: bool = False,
) -> Fate:
    """Return what became of a delivered event.

    Args:
        row: The event.
        state: Its stream, as it was after the row was read; None if it does not exist.
        stored: Message ids by sequence, of every message that the stream holds around the row's sequence.
        begun_at: Before this time it went to an earlier stream of the name (`Seen.begun_at`).
        now: Unix seconds.
        is_another: The stream was made since it was last seen. Clocks that differ leave it open whether a row of that
            minute went to it or to the previous one; then it counts as lost, and the stream drops what it has.
    """
    if state is None:
        return Fate.LOST
    if stored.get(row.stream_seq) == row.event_id:
        return Fate.INTACT
    if row.delivered_at < begun_at or 0 < state.max_age_s < now - row.delivered_at:
        return Fate.AGED_OUT
    if row.stream_seq > state.last_seq or row.stream_seq in stored:
        return Fate.LOST
    if state.created_at > row.delivered_at + (-_CLOCKS_S if is_another else _CLOCKS_S):
        return Fate.LOST
    if row.stream_seq < state.first_seq:
        return Fate.AGED_OUT if state.trims or state.thins else Fate.PURGED
    return Fate.AGED_OUT if state.thins else Fate.LOST
