"""Which driver a connection belongs to, and whether it is in a transaction.

No driver is imported: the connection's classes are asked for their names.
"""

from __future__ import annotations

from outbox_client.errors import NotInTransaction

TYPE_CHECKING = False  # see outbox_client.rows
if TYPE_CHECKING:
    from typing import Any

_IDLE = 0  # of libpq's PQTransactionStatusType: connected, and in no transaction


def psycopg_connection(given: Any, call: str) -> Any:
    """Find the psycopg connection of a connection or cursor.

    Args:
        given: What the caller passed.
        call: The function that it was passed to. If its name ends in ``_async``, it must be an AsyncConnection.

    Raises:
        TypeError: It is something else; the text says which function takes it.
    """
    connection = given if hasattr(given, "info") else getattr(given, "connection", given)
    wanted = "AsyncConnection" if call.endswith("_async") else "Connection"
    if _is_psycopg(connection, wanted):
        return connection
    raise TypeError(_refusal(given, connection, call))


def is_asyncpg(given: Any) -> bool:
    """Report whether it is a connection of asyncpg, or one that its pool lends."""
    return "asyncpg" in _packages(given)


def is_asynchronous(given: Any) -> bool:
    """Report whether it is an asynchronous connection or session, of whatever package."""
    return is_asyncpg(given) or any(kind.__name__.lower().startswith("async") for kind in type(given).__mro__)


def require_psycopg_transaction(connection: Any, call: str) -> None:
    """Refuse a connection that would commit what it writes by itself.

    Without autocommit psycopg begins a transaction with the first statement, so that one is fine.

    Raises:
        NotInTransaction: It is in autocommit, and in no transaction.
    """
    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise NotInTransaction(call)


def require_asyncpg_transaction(connection: Any, call: str) -> None:
    """Refuse a connection of asyncpg that is in no transaction.

    Raises:
        NotInTransaction: It is in none.
    """
    if not connection.is_in_transaction():
        raise NotInTransaction(call)


def counterpart(call: str) -> str:
    """Name the asynchronous function that does what a synchronous one does, and the other way round."""
    return call.removesuffix("_async") if call.endswith("_async") else f"{call}_async"


def name_of(given: Any) -> str:
    """Name the type of a value, with its module."""
    return f"{type(given).__module__}.{type(given).__qualname__}"


def tuples(_: Any) -> type[tuple[Any, ...]]:
    """Make rows that are tuples, whatever the connection makes of them: psycopg's own ``tuple_row``."""
    return tuple


def _refusal(given: Any, connection: Any, call: str) -> str:
    if call.endswith("_async"):
        takes = "an asynchronous connection of psycopg 3 or asyncpg"
    else:
        takes = "a connection or cursor of psycopg 3"
    packages = _packages(given)
    other = "Connection" if call.endswith("_async") else "AsyncConnection"
    do = ""
    if _is_psycopg(connection, other) or "asyncpg" in packages:
        do = f": call {counterpart(call)}"
    elif packages & {"sqlalchemy", "sqlmodel"}:
        do = ": use outbox_client.sqlalchemy"
    elif "django" in packages:
        do = ": use outbox_client.django"
    return f"{call} takes {takes}, not {name_of(given)}{do}"


def _is_psycopg(connection: Any, wanted: str) -> bool:
    return any(
        kind.__name__ == wanted and kind.__module__.partition(".")[0] == "psycopg" for kind in type(connection).__mro__
    )


def _packages(given: Any) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(given).__mro__}
