"""A test sees what it has published, though nothing is ever committed."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from conftest import Stored
from psycopg import sql
from sqlalchemy.orm import Session

from outbox_client import Event, Outbox
from outbox_client.sqlalchemy import Outbox as OutboxOfSqlalchemy
from outbox_client.testing import published, recorded, recorded_async

__all__ = ["published"]
OUTBOX = Outbox()


@pytest.fixture
def outbox_connection(database: str) -> Iterator[psycopg.Connection]:
    """As an application's suite has it: everything is rolled back at the end."""
    with psycopg.connect(database) as conn:
        yield conn
        conn.rollback()


def test_the_fixture_returns_the_events_of_the_test_in_their_order(
    outbox_connection: psycopg.Connection,
    published: Callable[[], list[Event]],
    admin: psycopg.Connection,
    stored: Stored,
) -> None:
    OUTBOX.publish(admin, Event("orders.other", 0), autocommit=True)
    assert published() == []
    first = OUTBOX.publish(outbox_connection, Event("orders.placed", {"a": 1}, key="k", headers={"t": "x"}))
    with outbox_connection.transaction():
        OUTBOX.publish(outbox_connection, Event("orders.paid", [2]))
    with outbox_connection.transaction():
        OUTBOX.publish(outbox_connection, Event("orders.undone", 3))
        raise psycopg.Rollback
    OUTBOX.publish(admin, Event("orders.other", 0), autocommit=True)
    OUTBOX.publish(outbox_connection, Event("orders.sent", "x"))
    events = published()
    assert [(e.topic, e.payload) for e in events] == [
        ("orders.placed", {"a": 1}), ("orders.paid", [2]), ("orders.sent", "x"),
    ]  # fmt: skip
    assert (events[0].id, events[0].key, events[0].headers) == (first, "k", {"t": "x"})
    assert len(stored()) == 2


def test_events_are_read_without_pytest() -> None:
    text = "import sys; sys.modules['pytest'] = None; from outbox_client.testing import recorded, recorded_async"
    subprocess.run([sys.executable, "-c", text], check=True)


async def test_an_asynchronous_connection_is_sent_to_the_asynchronous_function(database: str) -> None:
    conn = await asyncpg.connect(database)
    try:
        with pytest.raises(TypeError, match=r"asyncpg.*: call recorded_async"):
            recorded(conn)
    finally:
        await conn.close()


@pytest.mark.parametrize(("kind", "payload"), [("text", "as it is"), ("bytea", b"\x00\xff"), ("json", {"a": 1})])
def test_every_type_of_payload_is_read_as_it_was_given(empty_database: str, kind: str, payload: object) -> None:
    with psycopg.connect(empty_database, row_factory=psycopg.rows.dict_row) as conn:
        conn.execute(
            sql.SQL(
                "CREATE TABLE billing (seq bigserial, id uuid, topic text, key text, payload {}, headers jsonb)"
            ).format(sql.SQL(kind))
        )
        Outbox("billing", payload=kind).publish(conn, Event("orders.placed", payload))
        assert [event.payload for event in recorded(conn, table="billing")] == [payload]


def test_a_rolled_back_session_of_sqlalchemy_is_read(database: str) -> None:
    engine = sa.create_engine(database.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            OutboxOfSqlalchemy().publish(session, Event("orders.placed", 1))
            session.commit()
            assert [event.payload for event in recorded(session)] == [1]
        assert [event.payload for event in recorded(connection)] == [1]
        outer.rollback()
        assert recorded(connection) == []
    engine.dispose()


async def test_asynchronous_connections_are_read(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await OUTBOX.publish_async(conn, Event("orders.placed", 1))
        assert [event.payload for event in await recorded_async(conn)] == [1]
        await conn.rollback()
    asyncpgs = await asyncpg.connect(database)
    transaction = asyncpgs.transaction()
    await transaction.start()
    await OUTBOX.publish_async(asyncpgs, Event("orders.placed", 2))
    assert [event.payload for event in await recorded_async(asyncpgs)] == [2]
    await transaction.rollback()
    await asyncpgs.close()
