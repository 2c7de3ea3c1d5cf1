"""Write events in the transaction of a session or connection.

A mapped class of the outbox would not do: the ORM reads seq back, which a producer may not be allowed to.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from outbox_client.rows import MAX_BYTES, Rows
from outbox_client.sqlalchemy.connections import (
    asyncio_of_sqlalchemy,
    connection_of,
    connection_of_async,
    require_transaction,
)
from outbox_client.sqlalchemy.records import LISTENER
from outbox_client.statements import COLUMNS, insert_many, insert_one

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session, async_sessionmaker

    from outbox_client.event import Event


class Outbox:
    """One outbox table, as `outbox_client.Outbox`; see there for the arguments."""

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
        self._rows = Rows(payload, dumps, subject, allow_nats, max_bytes, key_header)
        places = tuple(f":{name}" for name in COLUMNS)
        body: sa.types.TypeEngine[Any] = sa.LargeBinary() if payload == "bytea" else sa.Text()
        kinds: dict[str, sa.types.TypeEngine[Any]] = dict.fromkeys(COLUMNS, sa.Text()) | {"payload": body}
        self._one = sa.text(insert_one(table, payload, places)).bindparams(
            *(sa.bindparam(name, type_=kind) for name, kind in kinds.items())
        )
        self._many = sa.text(insert_many(table, payload, places)).bindparams(
            *(sa.bindparam(name, type_=sa.ARRAY(kind)) for name, kind in kinds.items())
        )

    def insert(self) -> sa.TextClause:
        """Return the INSERT of one row, for ``session.execute(outbox.insert(), [outbox.row(event), ...])``."""
        return self._one

    def row(self, event: Event) -> dict[str, str | bytes | None]:
        """Make the values of an event's row, by column. Raises `InvalidEvent`."""
        return self._rows.by_column(event)

    def publish(
        self, target: Session | scoped_session[Any] | sa.Connection, event: Event, *, autocommit: bool = False
    ) -> uuid.UUID:
        """Write an event in the transaction of a session or connection.

        A session with several engines: pass ``session.connection(bind_arguments={"mapper": Order})``.

        Args:
            target: Where the event's data is written.
            event: The event.
            autocommit: Allow a connection in autocommit; the event is then committed alone.

        Returns:
            The event's id.

        Raises:
            InvalidEvent: The relay could never send it. Nothing was written.
            TypeError: The target is no such session or connection, or the event cannot be encoded. Nothing was written.
            NotInTransaction: The connection is in autocommit. Nothing was written.
            sqlalchemy.exc.DBAPIError: PostgreSQL refused it; the transaction has failed.
        """
        row = self.row(event)
        self._write(connection_of(target, "publish"), self._one, row, "publish", autocommit=autocommit)
        return event.id

    def publish_many(
        self,
        target: Session | scoped_session[Any] | sa.Connection,
        events: Iterable[Event],
        *,
        autocommit: bool = False,
    ) -> list[uuid.UUID]:
        """Write events in their order, by one statement. All are checked before any is written; see `publish`."""
        events = list(events)
        arrays = self._arrays(events)
        if events:
            connection = connection_of(target, "publish_many")
            self._write(connection, self._many, arrays, "publish_many", autocommit=autocommit)
        return [event.id for event in events]

    async def publish_async(
        self,
        target: AsyncSession | async_scoped_session[Any] | AsyncConnection,
        event: Event,
        *,
        autocommit: bool = False,
    ) -> uuid.UUID:
        """Write an event in the transaction of an asynchronous session or connection; see `publish`."""
        row = self.row(event)
        connection = await connection_of_async(target, "publish_async")
        await connection.run_sync(self._write, self._one, row, "publish_async", autocommit=autocommit)
        return event.id

    async def publish_many_async(
        self,
        target: AsyncSession | async_scoped_session[Any] | AsyncConnection,
        events: Iterable[Event],
        *,
        autocommit: bool = False,
    ) -> list[uuid.UUID]:
        """Write events in their order, by one statement; see `publish_many`."""
        events = list(events)
        arrays = self._arrays(events)
        if events:
            connection = await connection_of_async(target, "publish_many_async")
            await connection.run_sync(self._write, self._many, arrays, "publish_many_async", autocommit=autocommit)
        return [event.id for event in events]

    def listen(
        self,
        target: sessionmaker[Any]
        | async_sessionmaker[Any]
        | scoped_session[Any]
        | async_scoped_session[Any]
        | type[Session]
        | Session,
    ) -> None:
        """Write what aggregates record (`Records`) in the flushes of a session, or of all sessions of a factory."""
        kinds = asyncio_of_sqlalchemy()
        if isinstance(target, scoped_session) or (kinds is not None and isinstance(target, kinds.async_scoped_session)):
            target = target.session_factory
        if kinds is not None and isinstance(target, kinds.async_sessionmaker):
            kind = target.kw.get("sync_session_class", target.class_.sync_session_class)
            # A class of its own, so that sessions of other factories do not get this outbox.
            target.configure(sync_session_class=type(kind.__name__, (kind,), {LISTENER: self}))
        elif isinstance(target, sessionmaker):
            setattr(target.class_, LISTENER, self)
        else:
            setattr(target, LISTENER, self)

    def _arrays(self, events: Iterable[Event]) -> dict[str, list[Any]]:
        rows = [self._rows.make(event) for event in events]
        return {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}

    @staticmethod
    def _write(
        connection: sa.Connection, statement: sa.TextClause, values: dict[str, Any], call: str, *, autocommit: bool
    ) -> None:
        if not autocommit:
            require_transaction(connection, call)
        connection.execute(statement, values)
