"""Write events through psycopg 3 and asyncpg."""

from __future__ import annotations

import json

from outbox_client.drivers import (
    is_asyncpg,
    psycopg_connection,
    require_asyncpg_transaction,
    require_psycopg_transaction,
)
from outbox_client.rows import MAX_BYTES, Rows
from outbox_client.statements import insert_many, insert_one

TYPE_CHECKING = False  # see outbox_client.rows
if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    import asyncpg
    import psycopg

    from outbox_client.event import Event

_PSYCOPG = ("%s",) * 5
_ASYNCPG = ("$1", "$2", "$3", "$4", "$5")


class Outbox:
    """One outbox table, and the rules of the relay that empties it. Holds no connection; share it freely.

    Args:
        table: The relay's ``--table``.
        payload: The type of its payload column: ``jsonb``, ``json``, ``text`` or ``bytea``.
        dumps: Makes JSON text of a payload.
        subject: The relay's subject template, so that subjects are checked as it will make them.
        allow_nats: ``Nats-`` headers that the relay's configuration allows.
        max_bytes: What headers and payload may take together: the server's ``max_payload``, less what the relay adds.
        key_header: The relay sends the key as a header (``headers.key``, which read models need), so a key holds no
            control character, and counts as one of the headers. With False any text may be a key.

    Raises:
        ValueError: An argument is outside of these.
    """

    def __init__(
        self,
        table: str = "outbox_events",
        *,
        payload: str = "jsonb",
        dumps: Callable[[Any], str] = json.dumps,
        subject: str = "{topic}",
        allow_nats: Collection[str] = (),
        max_bytes: int = MAX_BYTES,
        key_header: bool = True,
    ) -> None:
        self.table = table
        self.payload = payload
        self._rows = Rows(payload, dumps, subject, allow_nats, max_bytes, key_header)
        self._one = insert_one(table, payload, _PSYCOPG)
        self._many = insert_many(table, payload, _PSYCOPG)
        self._one_asyncpg = insert_one(table, payload, _ASYNCPG)
        self._many_asyncpg = insert_many(table, payload, _ASYNCPG)

    def publish(
        self, conn: psycopg.Connection[Any] | psycopg.Cursor[Any], event: Event, *, autocommit: bool = False
    ) -> uuid.UUID:
        """Write an event in the transaction of a psycopg connection.

        Args:
            conn: The connection that writes the event's data, or a cursor of it. A cursor keeps its results.
            event: The event.
            autocommit: Allow a connection that is in no transaction; the event is then committed alone.

        Returns:
            The event's id.

        Raises:
            InvalidEvent: The relay could never send it. Nothing was written.
            NotInTransaction: Nothing was written.
            TypeError: `conn` is no such connection, or the event cannot be encoded. Nothing was written.
            psycopg.Error: PostgreSQL refused it; the transaction has failed.
        """
        row = self._rows.make(event)
        connection = psycopg_connection(conn, "publish")
        if not autocommit:
            require_psycopg_transaction(connection, "publish")
        connection.execute(self._one, row)
        return event.id

    def publish_many(
        self,
        conn: psycopg.Connection[Any] | psycopg.Cursor[Any],
        events: Iterable[Event],
        *,
        autocommit: bool = False,
    ) -> list[uuid.UUID]:
        """Write events in their order, by one statement.

        All are checked before any is written. Raises as `publish` does.

        Returns:
            Their ids, in the same order.
        """
        events = list(events)
        arrays = self._arrays(events)
        connection = psycopg_connection(conn, "publish_many")
        if not autocommit:
            require_psycopg_transaction(connection, "publish_many")
        if events:
            connection.execute(self._many, arrays)
        return [event.id for event in events]

    async def publish_async(
        self,
        conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
        event: Event,
        *,
        autocommit: bool = False,
    ) -> uuid.UUID:
        """Write an event in the transaction of an asynchronous connection of psycopg or asyncpg.

        As `publish` otherwise; what PostgreSQL refuses is raised as the driver's own error.
        """
        row = self._rows.make(event)
        if is_asyncpg(conn):
            if not autocommit:
                require_asyncpg_transaction(conn, "publish_async")
            driver: Any = conn
            await driver.execute(self._one_asyncpg, *row)
            return event.id
        connection = psycopg_connection(conn, "publish_async")
        if not autocommit:
            require_psycopg_transaction(connection, "publish_async")
        await connection.execute(self._one, row)
        return event.id

    async def publish_many_async(
        self,
        conn: psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any] | asyncpg.Connection[Any],
        events: Iterable[Event],
        *,
        autocommit: bool = False,
    ) -> list[uuid.UUID]:
        """Write events in their order, by one statement; as `publish_many` otherwise."""
        events = list(events)
        arrays = self._arrays(events)
        if is_asyncpg(conn):
            if not autocommit:
                require_asyncpg_transaction(conn, "publish_many_async")
            if events:
                driver: Any = conn
                await driver.execute(self._many_asyncpg, *arrays)
            return [event.id for event in events]
        connection = psycopg_connection(conn, "publish_many_async")
        if not autocommit:
            require_psycopg_transaction(connection, "publish_many_async")
        if events:
            await connection.execute(self._many, arrays)
        return [event.id for event in events]

    def row(self, event: Event) -> dict[str, str | bytes | None]:
        """Make the values of an event's row, by column, for a statement of one's own. Raises `InvalidEvent`."""
        return self._rows.by_column(event)

    def _arrays(self, events: Iterable[Event]) -> tuple[list[Any], ...]:
        rows = [self._rows.make(event) for event in events]
        return tuple([row[at] for row in rows] for at in range(5))
