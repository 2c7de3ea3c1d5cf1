"""Carry a command out once, however often it is sent: ``once`` is the first statement of its transaction.

The table belongs to the application: create it in a migration of its own (`CREATE_TABLE`, `CREATE_INDEX`). A row is
committed together with the effects of its command or not at all, so nothing is ever left half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outbox_client.command_table import (
    CREATE_INDEX,
    CREATE_TABLE,
    DROP_TABLE,
    INSERT,
    SELECT,
    TABLE,
    UPDATE,
    Earlier,
    as_json,
    digest_of,
    earlier_of,
)
from outbox_client.drivers import (
    is_asyncpg,
    psycopg_connection,
    require_asyncpg_transaction,
    require_psycopg_transaction,
    tuples,
)
from outbox_client.errors import KeyReused, NotBegun
from outbox_client.statements import of_table

if TYPE_CHECKING:
    import asyncpg
    import psycopg

__all__ = [
    "CREATE_INDEX",
    "CREATE_TABLE",
    "DROP_TABLE",
    "TABLE",
    "Earlier",
    "KeyReused",
    "NotBegun",
    "once",
    "once_async",
    "remember",
    "remember_async",
]


def once(
    conn: psycopg.Connection[Any] | psycopg.Cursor[Any], key: str, *, request: Any = None, table: str = TABLE
) -> Earlier | None:
    """Begin a command, or return what came of it before.

    While another transaction carries the same command out, this waits for it, at most for ``lock_timeout``. Afterwards
    the command is a repeat if the other one has committed, and begins here if it was rolled back.

    Args:
        conn: The connection that will write the effects, or a cursor of it.
        key: Names the command; chosen by who sends it, and unique among all commands of the table.
        request: What the command asks for. Only a digest of it is kept, to notice that a key is used twice.
        table: Made by `CREATE_TABLE`, under this name.

    Returns:
        None: carry it out, `remember` its result, commit. Otherwise: answer with the result, change nothing.

    Raises:
        KeyReused: The same key came with another request before. Nothing was written.
        NotInTransaction: Nothing was written.
        psycopg.errors.SerializationFailure: In REPEATABLE READ or stricter, the same command was committed meanwhile.
            The transaction has failed; try again.
    """
    connection = psycopg_connection(conn, "once")
    require_psycopg_transaction(connection, "once")
    digest = digest_of(request)
    while True:
        if connection.execute(of_table(INSERT, table, key="%s", request="%s"), (key, digest)).rowcount:
            return None
        cursor = connection.cursor(row_factory=tuples)
        if (row := cursor.execute(of_table(SELECT, table, key="%s"), (key,)).fetchone()) is not None:
            return earlier_of(key, digest, *row)


def remember(conn: psycopg.Connection[Any] | psycopg.Cursor[Any], key: str, result: Any, *, table: str = TABLE) -> None:
    """Store the result of a command that `once` has begun, for its repeats.

    Args:
        result: What `json.dumps` takes.

    Raises:
        NotBegun: `once` has not begun it.
    """
    connection = psycopg_connection(conn, "remember")
    if not connection.execute(of_table(UPDATE, table, result="%s", key="%s"), (as_json(result), key)).rowcount:
        raise NotBegun(key)


async def once_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    key: str,
    *,
    request: Any = None,
    table: str = TABLE,
) -> Earlier | None:
    """Begin a command on an asynchronous connection of psycopg or asyncpg; see `once`."""
    digest = digest_of(request)
    if is_asyncpg(conn):
        driver: Any = conn
        require_asyncpg_transaction(driver, "once_async")
        while True:
            if await driver.execute(of_table(INSERT, table, key="$1", request="$2"), key, digest) != "INSERT 0 0":
                return None
            if (row := await driver.fetchrow(of_table(SELECT, table, key="$1"), key)) is not None:
                return earlier_of(key, digest, *row)
    connection = psycopg_connection(conn, "once_async")
    require_psycopg_transaction(connection, "once_async")
    while True:
        if (await connection.execute(of_table(INSERT, table, key="%s", request="%s"), (key, digest))).rowcount:
            return None
        cursor = await connection.cursor(row_factory=tuples).execute(of_table(SELECT, table, key="%s"), (key,))
        if (row := await cursor.fetchone()) is not None:
            return earlier_of(key, digest, *row)


async def remember_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    key: str,
    result: Any,
    *,
    table: str = TABLE,
) -> None:
    """Store the result of a command that `once_async` has begun; see `remember`."""
    if is_asyncpg(conn):
        driver: Any = conn
        update = of_table(UPDATE, table, result="$1", key="$2")
        stored = await driver.execute(update, as_json(result), key) != "UPDATE 0"
    else:
        update = of_table(UPDATE, table, result="%s", key="%s")
        cursor = await psycopg_connection(conn, "remember_async").execute(update, (as_json(result), key))
        stored = cursor.rowcount > 0
    if not stored:
        raise NotBegun(key)
