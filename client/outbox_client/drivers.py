"""Which driver a connection belongs to, and whether it is in a transaction.

No driver is imported: the connection's classes are asked for their names.
"""

from __future__ import annotations

from outbox_client.errors import NotInTransaction

TYPE_CHECKING = False  # see outbox_client.rows
if TYPE_CHECKING:
    from typing import Any

_IDLE = 0  # of libpq's PQTransactionStatusType: connected, and in no transaction


def psycopg_connection(given: Any, *, asynchronous: bool) -> Any:
    """Find the psycopg connection of a connection or cursor.

    Args:
        given: What the caller passed.
        asynchronous: Whether it must be an AsyncConnection.

    Raises:
        TypeError: It is something else.
    """
    connection = given if hasattr(given, "info") else getattr(given, "connection", given)
    wanted = "AsyncConnection" if asynchronous else "Connection"
    if any(kind.__name__ == wanted and _package(kind) == "psycopg" for kind in type(connection).__mro__):
        return connection
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    if asynchronous:
        raise TypeError(f"publish_async takes an asynchronous connection of psycopg 3 or asyncpg, not {kind}")
    raise TypeError(f"publish takes a connection or cursor of psycopg 3, not {kind}")


def is_asyncpg(given: Any) -> bool:
    """Report whether it is a connection of asyncpg, or one that its pool lends."""
    return any(_package(kind) == "asyncpg" for kind in type(given).__mro__)


def require_psycopg_transaction(connection: Any) -> None:
    """Refuse a connection that would commit the event by itself.

    Without autocommit psycopg begins a transaction with the first statement, so that one is fine.

    Raises:
        NotInTransaction: It is in autocommit, and in no transaction.
    """
    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise NotInTransaction


def require_asyncpg_transaction(connection: Any) -> None:
    """Refuse a connection of asyncpg that is in no transaction.

    Raises:
        NotInTransaction: It is in none.
    """
    if not connection.is_in_transaction():
        raise NotInTransaction


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def tuples(_: Any) -> type[tuple[Any, ...]]:
    """Make rows that are tuples, whatever the connection makes of them: psycopg's own ``tuple_row``."""
    return tuple
