"""Carry a command out once, however often it is sent: ``once`` is the first statement of its transaction.

The table belongs to the application: create it in a migration of its own (`CREATE_TABLE`). A row is committed together
with the effects of its command or not at all, so nothing is ever left half done.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outbox_client.drivers import (
    is_asyncpg,
    psycopg_connection,
    require_asyncpg_transaction,
    require_psycopg_transaction,
    tuples,
)
from outbox_client.statements import of_table

if TYPE_CHECKING:
    import asyncpg
    import psycopg

TABLE = "outbox_commands"

CREATE_TABLE = """
CREATE TABLE outbox_commands (
    key        text        PRIMARY KEY,
    request    text,
    result     jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON outbox_commands (created_at);
"""
"""For a migration. Delete rows as soon as no client repeats its commands any more: the index finds the old ones."""

# A statement that conflicts with a running transaction waits for its end. The SELECT is a statement of its own: the
# snapshot of the INSERT is older than the commit that it has waited for.
_INSERT = "INSERT INTO {table} (key, request) VALUES ({key}, {request}) ON CONFLICT (key) DO NOTHING"
_SELECT = "SELECT request, CAST(result AS text) FROM {table} WHERE key = {key}"
_UPDATE = "UPDATE {table} SET result = CAST(CAST({result} AS text) AS jsonb) WHERE key = {key}"


class KeyReused(ValueError):
    """The key was used for another request. Nothing was changed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:100]!r} was used for another request")


class Earlier(NamedTuple):
    """A command that was carried out before.

    Attributes:
        result: What `remember` stored; None if it stored nothing.
    """

    result: Any


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
    connection = psycopg_connection(conn, asynchronous=False)
    require_psycopg_transaction(connection)
    digest = _digest(request)
    while True:
        if connection.execute(of_table(_INSERT, table, key="%s", request="%s"), (key, digest)).rowcount:
            return None
        cursor = connection.cursor(row_factory=tuples)
        if (row := cursor.execute(of_table(_SELECT, table, key="%s"), (key,)).fetchone()) is not None:
            return _earlier(key, digest, *row)


def remember(conn: psycopg.Connection[Any] | psycopg.Cursor[Any], key: str, result: Any, *, table: str = TABLE) -> None:
    """Store the result of a command that `once` has begun, for its repeats.

    Args:
        result: What `json.dumps` takes.

    Raises:
        LookupError: `once` has not begun it.
    """
    connection = psycopg_connection(conn, asynchronous=False)
    if not connection.execute(of_table(_UPDATE, table, result="%s", key="%s"), (json.dumps(result), key)).rowcount:
        raise _not_begun(key)


async def once_async(
    conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
    key: str,
    *,
    request: Any = None,
    table: str = TABLE,
) -> Earlier | None:
    """Begin a command on an asynchronous connection of psycopg or asyncpg; see `once`."""
    digest = _digest(request)
    if is_asyncpg(conn):
        driver: Any = conn
        require_asyncpg_transaction(driver)
        while True:
            if await driver.execute(of_table(_INSERT, table, key="$1", request="$2"), key, digest) != "INSERT 0 0":
                return None
            if (row := await driver.fetchrow(of_table(_SELECT, table, key="$1"), key)) is not None:
                return _earlier(key, digest, *row)
    connection = psycopg_connection(conn, asynchronous=True)
    require_psycopg_transaction(connection)
    while True:
        if (await connection.execute(of_table(_INSERT, table, key="%s", request="%s"), (key, digest))).rowcount:
            return None
        cursor = await connection.cursor(row_factory=tuples).execute(of_table(_SELECT, table, key="%s"), (key,))
        if (row := await cursor.fetchone()) is not None:
            return _earlier(key, digest, *row)


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
        update = of_table(_UPDATE, table, result="$1", key="$2")
        stored = await driver.execute(update, json.dumps(result), key) != "UPDATE 0"
    else:
        update = of_table(_UPDATE, table, result="%s", key="%s")
        cursor = await psycopg_connection(conn, asynchronous=True).execute(update, (json.dumps(result), key))
        stored = cursor.rowcount > 0
    if not stored:
        raise _not_begun(key)


def _digest(request: Any) -> str | None:
    if request is None:
        return None
    raw = request if isinstance(request, bytes) else json.dumps(request, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()


def _earlier(key: str, digest: str | None, known: str | None, result: str | None) -> Earlier:
    if digest is not None and known is not None and digest != known:
        raise KeyReused(key)
    return Earlier(None if result is None else json.loads(result))


def _not_begun(key: str) -> LookupError:
    return LookupError(f"no command was begun under the key {key[:100]!r}: call once first, in the same transaction")
