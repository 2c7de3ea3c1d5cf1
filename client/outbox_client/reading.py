"""Read one's own writes from a read model of ``relay projection``.

The writer takes a `token` of its event in the transaction that publishes it, and hands it on after the commit, such as
in a response header. The reader waits a moment until the read model has come that far. The relay must send the header
``Outbox-Seq`` (``headers.seq``).
"""

from __future__ import annotations

import asyncio
import enum
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from outbox_client.drivers import is_asyncpg, psycopg_connection, tuples
from outbox_client.statements import checked, of_table

if TYPE_CHECKING:
    import asyncpg
    import psycopg

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


class State(enum.Enum):
    """How a read model stands to an event."""

    APPLIED = "applied"
    PARKED = "parked"
    NOT_FOR_IT = "not for it"
    TIMED_OUT = "timed out"


class Waited(NamedTuple):
    """What became of waiting.

    Attributes:
        state: ``NOT_FOR_IT``: the read model has settled everything up to the event, and this event left no mark there;
            it is of another topic, or its message carries no header ``Outbox-Seq``.
        reason: Why the event is parked; None if it only waits behind an earlier one of its key, or is not parked.
    """

    state: State
    reason: str | None = None

    @property
    def fresh(self) -> bool:
        """Whether what is read now includes the event; otherwise tell the reader that the answer is stale."""
        return self.state in (State.APPLIED, State.NOT_FOR_IT)


class NoProjection(LookupError):
    """There is no live projection of this name in the database of the read models."""


def token(
    conn: psycopg.Connection[Any] | psycopg.Cursor[Any], event_id: uuid.UUID, *, table: str = "outbox_events"
) -> str:
    """Return the token of a published event. Call it in the same transaction, and hand the token on after the commit.

    The role ``outbox_producer`` may read what it takes.

    Raises:
        LookupError: There is no such event.
    """
    connection = psycopg_connection(conn, "token")
    cursor = connection.cursor(row_factory=tuples)
    return _token(event_id, cursor.execute(_token_of(table, "%s"), (str(event_id),)).fetchone())


async def token_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    event_id: uuid.UUID,
    *,
    table: str = "outbox_events",
) -> str:
    """Return the token from an asynchronous connection of psycopg or asyncpg; see `token`."""
    if is_asyncpg(conn):
        driver: Any = conn
        return _token(event_id, await driver.fetchrow(_token_of(table, "$1"), str(event_id)))
    connection = psycopg_connection(conn, "token_async")
    cursor = await connection.cursor(row_factory=tuples).execute(_token_of(table, "%s"), (str(event_id),))
    return _token(event_id, await cursor.fetchone())


def wait_applied(
    conn: psycopg.Connection[Any] | psycopg.Cursor[Any], projection: str, token: str, *, timeout_s: float = 2.0
) -> Waited:
    """Wait until a read model includes an event.

    It looks every 5 to 50 ms. Its role needs SELECT on ``projection.generations``, ``projection.state``,
    ``projection.applied`` and on the columns of ``projection.parked`` but ``headers`` and ``payload``.

    Args:
        conn: A connection to the database of the read models, in autocommit or not; in REPEATABLE READ it would see
            the same moment for ever.
        projection: The projection's name.
        token: Made by `token`. Texts that are no token may come from a client: they raise.
        timeout_s: The longest to wait, in seconds; 0 looks once.

    Raises:
        ValueError: The token is none.
        NoProjection: There is no such projection.
    """
    cursor = psycopg_connection(conn, "wait_applied").cursor(row_factory=tuples)
    params = (projection, *_parse(token))
    pauses = _Pauses(timeout_s)
    while True:
        found = _judge(projection, cursor.execute(_LOOK.format("%s", "%s", "%s"), params).fetchone())
        if found is not None:
            return found
        pause_s = pauses.next()
        if pause_s is None:
            return Waited(State.TIMED_OUT)
        time.sleep(pause_s)


async def wait_applied_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    projection: str,
    token: str,
    *,
    timeout_s: float = 2.0,
) -> Waited:
    """Wait on an asynchronous connection of psycopg or asyncpg; see `wait_applied`."""
    params = (projection, *_parse(token))
    pauses = _Pauses(timeout_s)
    driver: Any = conn if is_asyncpg(conn) else None
    cursor = None if driver is not None else psycopg_connection(conn, "wait_applied_async").cursor(row_factory=tuples)
    while True:
        if cursor is None:
            row = await driver.fetchrow(_LOOK.format("$1", "$2", "$3"), *params)
        else:
            row = await (await cursor.execute(_LOOK.format("%s", "%s", "%s"), params)).fetchone()
        found = _judge(projection, row)
        if found is not None:
            return found
        pause_s = pauses.next()
        if pause_s is None:
            return Waited(State.TIMED_OUT)
        await asyncio.sleep(pause_s)


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


def _token(event_id: uuid.UUID, row: Any) -> str:
    if row is None:
        raise LookupError(f"there is no event {event_id} that this transaction can see")
    return str(row[0])


def _parse(token: str) -> tuple[str, int]:
    """Return the origin and the seq of a token; the origin is empty if it names none."""
    origin, _, seq = token.rpartition(".")
    if not (seq.isascii() and seq.isdigit() and len(seq) <= 18 and len(origin) <= 64):
        raise ValueError("this is not a token of an event")
    return origin, int(seq)


def _judge(projection: str, row: Any) -> Waited | None:
    """Read one look; None if nothing is decided yet."""
    partitions, parked, reason, applied, complete = row
    if not partitions:
        raise NoProjection(f"there is no projection {projection!r} in this database")
    if parked:
        return Waited(State.PARKED, reason)
    if applied:
        return Waited(State.APPLIED)
    return Waited(State.NOT_FOR_IT) if complete else None


# The origin of a seq is the last one that began below it.
_SEQ_OF = """
SELECT concat_ws('.', (SELECT o.origin FROM {origins} o WHERE o.above < e.seq ORDER BY o.above DESC LIMIT 1), e.seq)
FROM {table} e
WHERE e.id = CAST(CAST({id} AS text) AS uuid)
"""


def _token_of(table: str, place: str) -> str:
    return of_table(_SEQ_OF, table, origins=f"{checked(table).removesuffix('_events')}_origin", id=place)


# One statement, so one moment: a bit, a parked event and the position are committed together. Which partition an event
# belongs to follows from its key, which the waiting side does not know, so all are asked. What came without an origin
# counts for every origin. By primary key, one or two rows of applied for each partition; the parked events are those of
# the projection, few by its own rules.
_LOOK = """
WITH asked AS (SELECT CAST({} AS text) AS name, CAST({} AS text) AS origin, CAST({} AS bigint) AS seq),
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
