"""Read one's own writes from a read model of ``relay projection``.

The writer takes a `token` of its event in the transaction that publishes it, and hands it on after the commit, such as
in a response header. The reader waits a moment until the read model has come that far. The relay must send the header
``Outbox-Seq`` (``headers.seq``).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from outbox_client.drivers import is_asyncpg, psycopg_connection, tuples
from outbox_client.read_model import (
    TABLE,
    NoProjection,
    State,
    Waited,
    look_at,
    parsed,
    token_in,
    token_of,
    until,
    until_async,
)

if TYPE_CHECKING:
    import asyncpg
    import psycopg

__all__ = ["NoProjection", "State", "Waited", "token", "token_async", "wait_applied", "wait_applied_async"]


def token(conn: psycopg.Connection[Any] | psycopg.Cursor[Any], event_id: uuid.UUID, *, table: str = TABLE) -> str:
    """Return the token of a published event. Call it in the same transaction, and hand the token on after the commit.

    The role ``outbox_producer`` may read what it takes.

    Raises:
        LookupError: There is no such event.
    """
    connection = psycopg_connection(conn, "token")
    cursor = connection.cursor(row_factory=tuples)
    return token_in(event_id, cursor.execute(token_of(table, "%s"), (str(event_id),)).fetchone())


async def token_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    event_id: uuid.UUID,
    *,
    table: str = TABLE,
) -> str:
    """Return the token from an asynchronous connection of psycopg or asyncpg; see `token`."""
    if is_asyncpg(conn):
        driver: Any = conn
        return token_in(event_id, await driver.fetchrow(token_of(table, "$1"), str(event_id)))
    connection = psycopg_connection(conn, "token_async")
    cursor = await connection.cursor(row_factory=tuples).execute(token_of(table, "%s"), (str(event_id),))
    return token_in(event_id, await cursor.fetchone())


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
    statement, params = look_at("%s", "%s", "%s"), (projection, *parsed(token))
    return until(projection, lambda: cursor.execute(statement, params).fetchone(), timeout_s)


async def wait_applied_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    projection: str,
    token: str,
    *,
    timeout_s: float = 2.0,
) -> Waited:
    """Wait on an asynchronous connection of psycopg or asyncpg; see `wait_applied`."""
    params = (projection, *parsed(token))
    if is_asyncpg(conn):
        driver: Any = conn
        return await until_async(projection, lambda: driver.fetchrow(look_at("$1", "$2", "$3"), *params), timeout_s)
    cursor = psycopg_connection(conn, "wait_applied_async").cursor(row_factory=tuples)

    async def look() -> Any:
        return await (await cursor.execute(look_at("%s", "%s", "%s"), params)).fetchone()

    return await until_async(projection, look, timeout_s)
