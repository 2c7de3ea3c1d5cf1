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

from outbox_client import Event, InvalidEvent, Outbox
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


def largest(**of: int) -> Event:
    """Return the largest event that the client takes, with keys and header values in a proportion."""

    def event(size: int) -> Event:
        key = "k" * (size * of["key"] // 100) if of["key"] else None
        headers = {"a": "x" * (size * of["header"] // 100)} if of["header"] else None
        return Event("orders.placed", "y" * (size * of["payload"] // 100), key=key, headers=headers)

    taken, refused = 1, 2 * 1024 * 1024
    while refused - taken > 1:
        size = (taken + refused) // 2
        try:
            PLAIN.row(event(size))
        except InvalidEvent:
            refused = size
        else:
            taken = size
    return event(taken)


EVERY_SHARE = ((100, 0, 0), (0, 100, 0), (50, 50, 0), (0, 0, 100), (5, 5, 100))
CLOUD_EVENTS = {
    "cloudevents__source": "%" * 500,
    "cloudevents__type_prefix": "%" * 200,
    "cloudevents__content_type": f"{'%' * 99}/{'%' * 100}",
}


@pytest.mark.parametrize(("described", "shares"), [({}, EVERY_SHARE), (CLOUD_EVENTS, ((0, 100, 0), (0, 5, 100)))])
@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_the_largest_that_the_client_takes_are_delivered_with_everything_that_the_relay_adds(
    producer: str, outbox: Seen, streams: Streams, make_relay: MakeRelay, strategy: str,
    described: dict[str, str], shares: tuple[tuple[int, int, int], ...],
) -> None:  # fmt: skip
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    events = [largest(key=key, header=header, payload=payload) for key, header, payload in shares]
    with psycopg.connect(producer) as conn:
        PLAIN.publish_many(conn, events)
    relay = make_relay(
        outbox.dsn, streams.url, delivery__strategy=strategy,
        headers__key="true", headers__seq="true", headers__created_at="true", **described,
    ).start()  # fmt: skip
    outbox.drained()
    relay.stop()
    assert outbox.count("dead_at IS NOT NULL") == 0
    read = streams.read("ORDERS")
    assert {uuid.UUID(message.headers["Nats-Msg-Id"]) for message in read} == {event.id for event in events}


def test_any_text_is_a_key_if_the_relay_does_not_send_it_as_a_header(
    producer: str, outbox: Seen, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    keys = ["k\n", "\r", "k\x01", "\x7f", "k" * 70_000, " ", "", "\u2028"]
    with psycopg.connect(producer) as conn:
        Outbox(key_header=False).publish_many(
            conn, [Event("orders.placed", {"i": i}, key=k) for i, k in enumerate(keys)]
        )
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    relay.stop()
    assert outbox.count("dead_at IS NOT NULL") == 0
    assert sorted(message.i for message in streams.read("ORDERS")) == list(range(len(keys)))
