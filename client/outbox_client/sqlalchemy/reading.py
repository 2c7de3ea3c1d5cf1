"""Read one's own writes through SQLAlchemy; see `outbox_client.reading`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from outbox_client.read_model import TABLE, Waited, look_at, parsed, token_in, token_of, until, until_async
from outbox_client.sqlalchemy.connections import connection_of, connection_of_async

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session


def token(target: Session | scoped_session[Any] | sa.Connection, event_id: uuid.UUID, *, table: str = TABLE) -> str:
    """Return the token of an event that a session or connection has published; see `outbox_client.reading.token`."""
    return token_in(event_id, connection_of(target, "token").execute(_token(event_id, table)).fetchone())


async def token_async(
    target: AsyncSession | async_scoped_session[Any] | AsyncConnection, event_id: uuid.UUID, *, table: str = TABLE
) -> str:
    """Return the token of an event that an asynchronous session or connection has published; see `token`."""
    connection = await connection_of_async(target, "token_async")
    return token_in(event_id, (await connection.execute(_token(event_id, table))).fetchone())


def wait_applied(
    target: Session | scoped_session[Any] | sa.Connection, projection: str, token: str, *, timeout_s: float = 2.0
) -> Waited:
    """Wait until a read model includes an event; see `outbox_client.reading.wait_applied`."""
    connection, statement = connection_of(target, "wait_applied"), _look(projection, token)
    return until(projection, lambda: connection.execute(statement).fetchone(), timeout_s)


async def wait_applied_async(
    target: AsyncSession | async_scoped_session[Any] | AsyncConnection,
    projection: str,
    token: str,
    *,
    timeout_s: float = 2.0,
) -> Waited:
    """Wait on an asynchronous session or connection; see `wait_applied`."""
    connection, statement = await connection_of_async(target, "wait_applied_async"), _look(projection, token)

    async def look() -> Any:
        return (await connection.execute(statement)).fetchone()

    return await until_async(projection, look, timeout_s)


def _token(event_id: uuid.UUID, table: str) -> sa.TextClause:
    return sa.text(token_of(table, ":id")).bindparams(sa.bindparam("id", str(event_id), sa.Text()))


def _look(projection: str, token: str) -> sa.TextClause:
    origin, seq = parsed(token)
    return sa.text(look_at(":name", ":origin", ":seq")).bindparams(
        sa.bindparam("name", projection, sa.Text()),
        sa.bindparam("origin", origin, sa.Text()),
        sa.bindparam("seq", seq, sa.BigInteger()),
    )
