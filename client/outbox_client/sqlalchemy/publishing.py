"""Write events in the transaction of a session or connection.

A mapped class of the outbox would not do: the ORM reads seq back, which a producer may not be allowed to.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.orm.attributes import flag_dirty

from outbox_client.event import Event
from outbox_client.rows import MAX_BYTES, Rows
from outbox_client.sqlalchemy.connections import connection_of, connection_of_async, require_transaction
from outbox_client.statements import COLUMNS, insert_many, insert_one

_RECORDED = "_outbox_recorded"
_LISTENER = "_outbox_listener"
_order = itertools.count()


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
    ) -> None:
        self._rows = Rows(payload, dumps, subject, allow_nats, max_bytes)
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

    def publish(self, target: "Session | sa.Connection", event: Event, *, autocommit: bool = False) -> uuid.UUID:
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
            NotInTransaction: The connection is in autocommit. Nothing was written.
            sqlalchemy.exc.DBAPIError: PostgreSQL refused it; the transaction has failed.
        """
        row = self.row(event)
        self._write(connection_of(target), self._one, row, autocommit=autocommit)
        return event.id

    def publish_many(
        self, target: "Session | sa.Connection", events: Iterable[Event], *, autocommit: bool = False
    ) -> list[uuid.UUID]:
        """Write events in their order, by one statement. All are checked before any is written; see `publish`."""
        events = list(events)
        arrays = self._arrays(events)
        if events:
            self._write(connection_of(target), self._many, arrays, autocommit=autocommit)
        return [event.id for event in events]

    async def publish_async(
        self, target: AsyncSession | AsyncConnection, event: Event, *, autocommit: bool = False
    ) -> uuid.UUID:
        """Write an event in the transaction of an asynchronous session or connection; see `publish`."""
        row = self.row(event)
        connection = await connection_of_async(target)
        await connection.run_sync(self._write, self._one, row, autocommit=autocommit)
        return event.id

    async def publish_many_async(
        self, target: AsyncSession | AsyncConnection, events: Iterable[Event], *, autocommit: bool = False
    ) -> list[uuid.UUID]:
        """Write events in their order, by one statement; see `publish_many`."""
        events = list(events)
        arrays = self._arrays(events)
        if events:
            connection = await connection_of_async(target)
            await connection.run_sync(self._write, self._many, arrays, autocommit=autocommit)
        return [event.id for event in events]

    def listen(
        self, target: "sessionmaker[Any] | async_sessionmaker[Any] | scoped_session[Any] | type[Session] | Session"
    ) -> None:
        """Write what aggregates record (`Records`) in the flushes of a session, or of all sessions of a factory."""
        if isinstance(target, scoped_session):
            target = target.session_factory
        if isinstance(target, async_sessionmaker):
            kind = target.kw.get("sync_session_class", target.class_.sync_session_class)
            # A class of its own, so that sessions of other factories do not get this outbox.
            target.configure(sync_session_class=type(kind.__name__, (kind,), {_LISTENER: self}))
        elif isinstance(target, sessionmaker):
            setattr(target.class_, _LISTENER, self)
        else:
            setattr(target, _LISTENER, self)

    def _arrays(self, events: Iterable[Event]) -> dict[str, list[Any]]:
        rows = [self._rows.make(event) for event in events]
        return {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}

    @staticmethod
    def _write(
        connection: sa.Connection, statement: sa.TextClause, values: dict[str, Any], *, autocommit: bool
    ) -> None:
        if not autocommit:
            require_transaction(connection)
        connection.execute(statement, values)


class Records:
    """Mixin of a mapped class: the events of an aggregate, written in the flush that writes the aggregate.

    Bulk statements and ``session.execute(insert(...))`` flush no object, so they write no event. After a rollback make
    the change on a fresh object: what was recorded went with the transaction.
    """

    def record(self, event: Event | Callable[[], Event]) -> None:
        """Record an event of this object.

        Args:
            event: The event, or what makes it after the flush, if it needs values that the database has generated.
        """
        self.__dict__.setdefault(_RECORDED, []).append((next(_order), event))
        # So that a flush comes even if no column has changed, and the session keeps the object until then.
        flag_dirty(self)


@sa.event.listens_for(Session, "after_flush")
def _write_recorded(session: Session, _: Any) -> None:
    """Write what the flushed objects have recorded, in the order of recording."""
    recorded: list[tuple[int, Event | Callable[[], Event]]] = []
    for flushed in itertools.chain(session.new, session.dirty, session.deleted):
        if isinstance(flushed, Records):
            recorded += flushed.__dict__.pop(_RECORDED, ())
    if not recorded:
        return
    outbox = getattr(session, _LISTENER, None)
    if outbox is None:
        raise RuntimeError("an aggregate has recorded events, and no outbox listens: call Outbox.listen on the factory")
    recorded.sort(key=lambda one: one[0])
    outbox.publish_many(session, [event if isinstance(event, Event) else event() for _, event in recorded])
