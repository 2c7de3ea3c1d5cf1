"""Find events of the outbox: those in a state, or one by its seq or id."""

import re
import uuid
from typing import Literal, NamedTuple

from relay.errors import RelayError
from relay.operate.access import Reader
from relay.operate.filters import Filters
from relay.rules.order.seq_bounds import BELOW_ALL

ListState = Literal["pending", "retry", "dead", "discarded", "delivered", "any"]


class ListedEvent(NamedTuple):
    """One event without its content, as the list queries have it; times in Unix seconds.

    Attributes:
        state: pending, retry, dead, discarded or delivered.
        attempts: How often its stream has refused it.
        last_error: Why it waits, or was given up; None if nothing was written.
    """

    seq: int
    id: str
    topic: str
    key: str | None
    state: str
    created_at: float
    delivered_at: float | None
    stream: str | None
    stream_seq: int | None
    attempts: int
    retry_at: float | None
    dead_at: float | None
    last_error: str | None

    @property
    def settled(self) -> bool:
        """Whether the relay is done with it: it is delivered or dead."""
        return self.state not in ("pending", "retry")

    @property
    def settled_at(self) -> float:
        """When it was delivered or given up, Unix seconds; 0 if it was not."""
        return self.delivered_at or self.dead_at or 0.0


class WholeEvent(NamedTuple):
    """One event with everything that its row holds.

    Attributes:
        headers: JSON, as it is stored; None without any.
        payload: As it is sent.
        discarded_at: When an operator discarded it as a dead letter, Unix seconds.
        dead_copied_at: When it was copied to the dead-letter stream, Unix seconds.
        failure_class: The class of the failure in `last_error`; None without one, or if it was written before there
            was a class.
        unreadable: What PostgreSQL says if it fails to read headers or payload, which are left out then; else None.
    """

    listed: ListedEvent
    headers: str | None
    payload: bytes
    discarded_at: float | None
    dead_copied_at: float | None
    failure_class: str | None
    unreadable: str | None = None


class EventName(NamedTuple):
    """What an operator calls an event by: one of the two is None."""

    seq: int | None
    id: str | None


def event_name(text: str) -> EventName:
    """Return the name of an event from its seq or its id.

    Raises:
        ValueError: It is neither.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,19}", text) and int(text) < 2**63:
        return EventName(int(text), None)
    try:
        return EventName(None, str(uuid.UUID(text)))
    except ValueError:
        raise ValueError(f"{text!r} is neither a seq nor an id (UUID)") from None


class Found(NamedTuple):
    """What a search has found.

    Attributes:
        all_searched: False if the search ended before all events that could match.
        searched: The seqs that were searched, if a search goes by seq: above the first, up to the second.
    """

    events: list[ListedEvent]
    all_searched: bool
    searched: tuple[int, int] | None = None


class Preview(NamedTuple):
    """What a change would concern.

    Attributes:
        matches: How many events match.
        examples: The first few of them.
    """

    matches: int
    examples: list[ListedEvent]


def find(reader: Reader, state: ListState, filters: Filters, limit: int, scan: int) -> Found:
    """Return the events in a state: pending and retry the next first, all others the newest first.

    Args:
        limit: The most events to return.
        scan: The most seqs to search, for pending, delivered and any.
    """
    searched: tuple[int, int] | None
    if state in ("retry", "dead", "discarded"):
        searched, all_searched = None, True
    else:
        watermark, newest = reader.row("operate/range")
        # Several ids have their own index; a range would only get in its way.
        lowest = (BELOW_ALL if filters.ids else 0) if filters.first_seq is None else filters.first_seq - 1
        highest = newest if filters.last_seq is None else min(newest, filters.last_seq)
        if filters.ids:
            lower, upper = lowest, highest
        elif state == "pending":
            lower = max(watermark, lowest)
            upper = min(highest, lower + scan)
            highest, lowest = max(highest, lower), lower
        else:
            lower, upper = max(lowest, highest - scan), highest
        searched, all_searched = (lower, upper), lower <= lowest and upper >= highest
    rows = reader.rows(f"operate/list_{state}", (*filters.params(), *(searched or ()), limit))
    return Found([ListedEvent._make(row) for row in rows], all_searched, searched)


def find_one(reader: Reader, name: EventName) -> WholeEvent:
    """Return everything of one event.

    Raises:
        RelayError: There is none.
    """
    found = try_one(reader, name)
    if found is None:
        wanted = name.id if name.seq is None else name.seq
        raise RelayError(f"there is no event {wanted} in {reader.tables.events}")
    return found


def try_one(reader: Reader, name: EventName) -> WholeEvent | None:
    """Return everything of one event, None without one."""
    rows, unreadable = reader.rows_or_outlines("operate/show", name)
    if not rows:
        return None
    *listed, headers, payload, discarded_at, dead_copied_at, failure_class = rows[0]
    listed_event = ListedEvent._make(listed)
    return WholeEvent(listed_event, headers, bytes(payload), discarded_at, dead_copied_at, failure_class, unreadable)
