"""Carry a command out once, through SQLAlchemy; see `outbox_client.commands`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from outbox_client.command_table import INSERT, SELECT, TABLE, UPDATE, Earlier, as_json, digest_of, earlier_of
from outbox_client.errors import NotBegun
from outbox_client.sqlalchemy.connections import connection_of, connection_of_async, require_transaction
from outbox_client.statements import of_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session


def once(
    target: Session | scoped_session[Any] | sa.Connection, key: str, *, request: Any = None, table: str = TABLE
) -> Earlier | None:
    """Begin a command in the transaction of a session or connection, or return what came of it before.

    See `outbox_client.commands.once`; what PostgreSQL refuses comes as ``sqlalchemy.exc.DBAPIError``.
    """
    return _once(connection_of(target, "once"), key, digest_of(request), table, "once")


def remember(
    target: Session | scoped_session[Any] | sa.Connection, key: str, result: Any, *, table: str = TABLE
) -> None:
    """Store the result of a command that `once` has begun; see `outbox_client.commands.remember`."""
    _remember(connection_of(target, "remember"), key, as_json(result), table)


async def once_async(
    target: AsyncSession | async_scoped_session[Any] | AsyncConnection,
    key: str,
    *,
    request: Any = None,
    table: str = TABLE,
) -> Earlier | None:
    """Begin a command in the transaction of an asynchronous session or connection; see `once`."""
    connection = await connection_of_async(target, "once_async")
    return await connection.run_sync(_once, key, digest_of(request), table, "once_async")


async def remember_async(
    target: AsyncSession | async_scoped_session[Any] | AsyncConnection, key: str, result: Any, *, table: str = TABLE
) -> None:
    """Store the result of a command that `once_async` has begun; see `remember`."""
    connection = await connection_of_async(target, "remember_async")
    await connection.run_sync(_remember, key, as_json(result), table)


def _once(connection: sa.Connection, key: str, digest: str | None, table: str, call: str) -> Earlier | None:
    require_transaction(connection, call)
    insert = _text(INSERT, table, key=":key", request=":request")
    select = _text(SELECT, table, key=":key")
    while True:
        if connection.execute(insert, {"key": key, "request": digest}).rowcount:
            return None
        if (row := connection.execute(select, {"key": key}).fetchone()) is not None:
            return earlier_of(key, digest, row[0], row[1])


def _remember(connection: sa.Connection, key: str, result: str, table: str) -> None:
    update = _text(UPDATE, table, key=":key", result=":result")
    if not connection.execute(update, {"key": key, "result": result}).rowcount:
        raise NotBegun(key)


def _text(template: str, table: str, **places: str) -> sa.TextClause:
    """Return a statement whose values are texts: asyncpg asks for their types."""
    values = [sa.bindparam(name, type_=sa.Text()) for name in places]
    return sa.text(of_table(template, table, **places)).bindparams(*values)
