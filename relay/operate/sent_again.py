"""Events that a stream had lost and that were sent again: newer ones of their keys may stand before them."""

from collections.abc import Iterable
from itertools import starmap
from typing import NamedTuple

from relay.operate.access import Reader
from relay.operate.events import ListedEvent
from relay.operate.lost_place import Overtaken, lost_place

# Among how many of the newest seqs they are looked for, and how long they are told of.
SENT_AGAIN_SEQS = 50_000
TOLD_S = 86_400.0


class SentAgain(NamedTuple):
    """What one stream had lost, as far as it is among the newest seqs; times in Unix seconds.

    Attributes:
        stream: The one that had lost it.
        events: How many were given back to be sent again.
        pending: How many of them are not sent yet.
        behind: How many stand behind a newer event of their key.
        keys: How many keys these have, and `key` one of them.
        since: When the first of them was delivered again; None: none was yet.
    """

    stream: str
    events: int
    pending: int
    behind: int
    keys: int
    key: str | None
    since: float | None


def read_sent_again(reader: Reader, newest: int, now: float) -> tuple[SentAgain, ...]:
    """Return what was sent again in the last day, by stream.

    Args:
        newest: The highest seq in the table.
        now: Unix seconds.
    """
    rows = reader.rows("operate/sent_again", (newest - SENT_AGAIN_SEQS, newest, now - TOLD_S))
    return tuple(starmap(SentAgain, rows))


def read_overtaken(reader: Reader, event: ListedEvent) -> Overtaken | None:
    """Return what stands before an event that its stream had lost; None if none had, or it is not delivered again."""
    place = lost_place(event.last_error)
    if place is None or event.stream is None or event.stream_seq is None or event.state != "delivered":
        return None
    if event.key is None:
        return Overtaken(*place, 0, None)
    params = (event.key, event.seq, event.stream, event.stream_seq, event.seq + SENT_AGAIN_SEQS)
    return Overtaken(*place, *reader.row("operate/overtaken", params))


def late(events: Iterable[ListedEvent]) -> tuple[int, ...]:
    """Return which events of a key were lost, and stand behind newer ones that are among the same events."""
    known = [one for one in events if one.state == "delivered" and one.stream_seq is not None]
    return tuple(
        one.seq
        for one in known
        if lost_place(one.last_error) is not None
        and any(
            other.seq > one.seq and other.stream == one.stream and (other.stream_seq or 0) < (one.stream_seq or 0)
            for other in known
        )
    )
