"""The connection behind what SQLAlchemy hands out.

``sqlalchemy.ext.asyncio`` is never imported here: it needs greenlet, and a synchronous application does not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from outbox_client.drivers import counterpart, name_of
from outbox_client.errors import NotInTransaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session


def connection_of(target: Session | scoped_session[Any] | sa.Connection, call: str) -> sa.Connection:
    """Return the connection of a session, with its transaction begun, or a connection as it is.

    Args:
        target: What the caller passed.
        call: The function that it was passed to.

    Raises:
        TypeError: It is neither; the text says which function takes it.
    """
    if isinstance(target, sa.Connection):
        return target
    if isinstance(target, (Session, scoped_session)):
        return target.connection()
    raise TypeError(
        f"{call} takes a Session or Connection of SQLAlchemy, not {name_of(target)}{_instead(target, call)}"
    )


async def connection_of_async(
    target: AsyncSession | async_scoped_session[Any] | AsyncConnection, call: str
) -> AsyncConnection:
    """Return the connection of an asynchronous session, with its transaction begun, or a connection as it is.

    Raises:
        TypeError: See `connection_of`.
    """
    kinds = asyncio_of_sqlalchemy()
    if kinds is not None:
        connection: AsyncConnection
        if isinstance(target, kinds.AsyncConnection):
            connection = target
            return connection
        if isinstance(target, (kinds.AsyncSession, kinds.async_scoped_session)):
            connection = await target.connection()
            return connection
    instead = _instead(target, call)
    raise TypeError(f"{call} takes an AsyncSession or AsyncConnection of SQLAlchemy, not {name_of(target)}{instead}")


def require_transaction(connection: sa.Connection, call: str) -> None:
    """Refuse a connection in autocommit.

    Raises:
        NotInTransaction: It is.
    """
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise NotInTransaction(call)


def asyncio_of_sqlalchemy() -> Any:
    """Return the module ``sqlalchemy.ext.asyncio``; None if nobody has loaded it, so that nothing is of its classes."""
    return sys.modules.get("sqlalchemy.ext.asyncio")


def _instead(target: object, call: str) -> str:
    """Return what to do with a target that a function does not take."""
    kinds = asyncio_of_sqlalchemy()
    asynchronous = kinds is not None and isinstance(
        target, (kinds.AsyncSession, kinds.async_scoped_session, kinds.AsyncConnection)
    )
    if asynchronous or isinstance(target, (Session, scoped_session, sa.Connection)):
        return f": call {counterpart(call)}"
    if isinstance(target, sa.Engine) or (kinds is not None and isinstance(target, kinds.AsyncEngine)):
        return ": pass the session or connection that writes the data"
    return ": for a connection of a driver use outbox_client itself"
