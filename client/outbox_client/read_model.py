"""How far a read model is, as its tables say it: the statements, and what their rows mean. The caller runs them."""

from __future__ import annotations

import asyncio
import enum
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from outbox_client.statements import checked, of_table

TABLE = "outbox_events"
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


class State(enum.Enum):
    """How a read model stands to an event."""

    APPLIED = "applied"
    PARKED = "parked"
    SKIPPED = "skipped"
    NOT_FOR_IT = "not for it"
    TIMED_OUT = "timed out"


class Waited(NamedTuple):
    """What became of waiting.

    Attributes:
        state: ``SKIPPED``: an operator, or the projection's ``on_refused``, has given the event up: the read model
            never shows it. ``NOT_FOR_IT``: everything up to the event is settled, and it left no mark there: it is of
            another topic, its message carries no header ``Outbox-Seq``, or it is a dead letter. The read model
            cannot tell these apart. It shows a dead letter only after an operator has had it sent again.
        reason: Why the event is parked; None if it only waits behind an earlier one of its key, or is not parked.
    """

    state: State
    reason: str | None = None

    @property
    def fresh(self) -> bool:
        """Whether what is read now shows of the event all that was sent; otherwise tell the reader that it is stale.

        If the read model has to show the event, as when a page shows what its user has just changed, ask for
        ``state is State.APPLIED``: this is true of a dead letter as well.
        """
        return self.state in (State.APPLIED, State.NOT_FOR_IT)


class NoProjection(LookupError):
    """There is no live projection of this name in the database of the read models."""


def until(projection: str, look: Callable[[], Any], timeout_s: float) -> Waited:
    """Look until a read model includes an event, or the time is over.

    Args:
        projection: Its name.
        look: Runs the statement of `look_at`; returns its row.
        timeout_s: The longest to wait, in seconds; 0 looks once.

    Raises:
        NoProjection: There is no such projection.
    """
    pauses = _Pauses(timeout_s)
    while (found := _judge(projection, look())) is None:
        if (pause_s := pauses.next()) is None:
            return Waited(State.TIMED_OUT)
        time.sleep(pause_s)
    return found


async def until_async(projection: str, look: Callable[[], Awaitable[Any]], timeout_s: float) -> Waited:
    """Do what `until` does without blocking."""
    pauses = _Pauses(timeout_s)
    while (found := _judge(projection, await look())) is None:
        if (pause_s := pauses.next()) is None:
            return Waited(State.TIMED_OUT)
        await asyncio.sleep(pause_s)
    return found


class _Pauses:
    """Pauses that double up to the longest, and end at the deadline."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._pause_s = _FIRST_PAUSE_S

    def next(self) -> float | None:
        """Return the next pause in seconds, None if the time is over."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return None
        pause_s = min(self._pause_s, left_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return pause_s


def token_in(event_id: uuid.UUID, row: Any) -> str:
    """Return the token that `token_of` has found.

    Raises:
        LookupError: It has found none.
    """
    if row is None:
        raise LookupError(f"there is no event {event_id} that this transaction can see")
    return str(row[0])


def parsed(token: str) -> tuple[str, int]:
    """Return the origin and the seq of a token; the origin is empty if it names none.

    Raises:
        ValueError: It is no token.
    """
    origin, _, seq = token.rpartition(".") if isinstance(token, str) else ("", "", "")
    if not (seq.isascii() and seq.isdigit() and len(seq) <= 18 and len(origin) <= 64):
        raise ValueError("this is not a token of an event")
    return origin, int(seq)


def _judge(projection: str, row: Any) -> Waited | None:
    """Read one look; None if nothing is decided yet."""
    partitions, parked, reason, applied, skipped, complete = row
    if not partitions:
        raise NoProjection(f"there is no projection {projection!r} in this database")
    if parked:
        return Waited(State.PARKED, reason)
    if skipped:
        return Waited(State.SKIPPED)
    if applied:
        return Waited(State.APPLIED)
    return Waited(State.NOT_FOR_IT) if complete else None


# The origin of a seq is the last one that began below it.
_SEQ_OF = """
SELECT concat_ws('.', (SELECT o.origin FROM {origins} o WHERE o.above < e.seq ORDER BY o.above DESC LIMIT 1), e.seq)
FROM {table} e
WHERE e.id = CAST(CAST({id} AS text) AS uuid)
"""


def token_of(table: str, place: str) -> str:
    """Return the statement that finds the token of an event, whose id stands at a placeholder."""
    return of_table(_SEQ_OF, table, origins=f"{checked(table).removesuffix('_events')}_origin", id=place)


# One statement, so one moment: a bit, a parked event and the position are committed together. Which partition an event
# belongs to follows from its key, which the waiting side does not know, so all are asked. What came without an origin
# counts for every origin. By primary key, one or two rows of applied for each partition; the parked events are those of
# the projection, few by its own rules.
_LOOK = """
WITH asked AS (SELECT CAST({name} AS text) AS name, CAST({origin} AS text) AS origin, CAST({seq} AS bigint) AS seq),
own AS (
    SELECT s.name, s.generation, s.partition, s.complete_origin, s.complete_seq, asked.origin, asked.seq
    FROM asked
    JOIN projection.generations g ON g.name = asked.name AND g.state = 'live'
    JOIN projection.state s ON s.name = g.name AND s.generation = g.generation
)
SELECT count(DISTINCT own.partition) AS partitions,
       coalesce(bool_or(p.number IS NOT NULL), false) AS parked,
       max(p.reason) AS reason,
       coalesce(bool_or(get_bit(a.bits, CAST(mod(own.seq, 8192) AS integer)) = 1), false) AS applied,
       coalesce(bool_or(get_bit(a.skipped, CAST(mod(own.seq, 8192) AS integer)) = 1), false) AS skipped,
       coalesce(bool_and(coalesce(own.complete_origin = own.origin AND own.complete_seq >= own.seq, false)), false)
           AS complete
FROM own
LEFT JOIN projection.applied a
       ON (a.name, a.generation, a.partition) = (own.name, own.generation, own.partition)
      AND a.origin IN (own.origin, '') AND a.chunk = own.seq / 8192
LEFT JOIN projection.parked p
       ON (p.name, p.generation, p.partition) = (own.name, own.generation, own.partition)
      AND p.origin IN (own.origin, '') AND p.seq = own.seq
"""


def look_at(name: str, origin: str, seq: str) -> str:
    """Return the statement that looks for an event in a read model, with placeholders for `parsed` behind the name."""
    return _LOOK.format(name=name, origin=origin, seq=seq)
