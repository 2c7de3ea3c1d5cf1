"""Whatever an application writes through, its events reach the stream once and in their order."""

import asyncio
import json
import uuid
from collections.abc import Callable

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
import sqlmodel
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.support.fix_relay import MakeRelay
from tests.support.fix_relay import Outbox as Seen
from tests.support.fix_stream import Streams

from outbox_client import Event, Outbox
from outbox_client.sqlalchemy import Outbox as OutboxOfSqlalchemy

PLAIN, OUTBOX = Outbox(), OutboxOfSqlalchemy()
ONE = Event("orders.placed", {"i": 0}, key="k")
MANY = [Event("orders.placed", {"i": i}, key="k") for i in range(1, 31)]


async def asynchronous_psycopg(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await PLAIN.publish_async(conn, ONE)
        await PLAIN.publish_many_async(conn, MANY)


async def asyncpg_with_a_codec(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    async with conn.transaction():
        await PLAIN.publish_async(conn, ONE)
        await PLAIN.publish_many_async(conn, MANY)
    await conn.close()


def session(dsn: str) -> None:
    _session(dsn, Session)


def sqlmodels_session(dsn: str) -> None:
    _session(dsn, sqlmodel.Session)


def _session(dsn: str, kind: type[Session]) -> None:
    engine = sa.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:", 1))
    with kind(engine) as session, session.begin():
        OUTBOX.publish(session, ONE)
        OUTBOX.publish_many(session, MANY)
    engine.dispose()


async def asynchronous_session(dsn: str) -> None:
    engine = create_async_engine(dsn.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with AsyncSession(engine) as session, session.begin():
        await OUTBOX.publish_async(session, ONE)
        await OUTBOX.publish_many_async(session, MANY)
    await engine.dispose()


@pytest.mark.parametrize(
    "write",
    [asynchronous_psycopg, asyncpg_with_a_codec, session, sqlmodels_session, asynchronous_session],
    ids=lambda write: write.__name__,
)
def test_events_reach_the_stream_once_and_in_order(
    write: Callable[[str], object], producer: str, outbox: Seen, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    written = write(producer)
    if asyncio.iscoroutine(written):
        asyncio.run(written)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    relay.stop()
    read = streams.read("ORDERS")
    assert [uuid.UUID(message.headers["Nats-Msg-Id"]) for message in read] == [ONE.id, *(event.id for event in MANY)]
    assert [message.i for message in read] == list(range(31))
