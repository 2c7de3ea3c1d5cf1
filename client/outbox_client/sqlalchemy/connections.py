"""The connection behind what SQLAlchemy hands out."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, scoped_session

from outbox_client.errors import NotInTransaction


def connection_of(target: "Session | scoped_session[Any] | sa.Connection") -> sa.Connection:
    """Return the connection of a session, with its transaction begun, or a connection as it is.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(target, sa.Connection):
        return target
    if isinstance(target, (Session, scoped_session)):
        return target.connection()
    raise TypeError(f"a Session or Connection of SQLAlchemy is needed, not {type(target).__qualname__}")


async def connection_of_async(target: AsyncSession | AsyncConnection) -> AsyncConnection:
    """Return the connection of an asynchronous session, with its transaction begun, or a connection as it is.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(target, AsyncConnection):
        return target
    if isinstance(target, AsyncSession):
        return await target.connection()
    raise TypeError(f"an AsyncSession or AsyncConnection is needed, not {type(target).__qualname__}")


def require_transaction(connection: sa.Connection) -> None:
    """Refuse a connection in autocommit.

    Raises:
        NotInTransaction: It is.
    """
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise NotInTransaction
