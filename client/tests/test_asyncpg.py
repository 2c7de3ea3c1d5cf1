"""Through asyncpg, with and without a codec of the application for jsonb."""

import contextlib
import json

import asyncpg
import pytest
from conftest import Stored

from outbox_client import Event, InvalidEvent, NotInTransaction, Outbox

OUTBOX = Outbox()


class Undo(Exception):
    """Ends a transaction without committing it."""


@pytest.mark.parametrize("codec", [False, True])
async def test_events_are_written_whatever_codec_the_connection_has(producer: str, stored: Stored, codec: bool) -> None:
    events = [Event("orders.placed", {"i": i}, key="k", headers={"i": i}) for i in range(3)]
    conn = await asyncpg.connect(producer)
    try:
        if codec:
            for name in ("json", "jsonb"):
                await conn.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            await conn.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog")
        async with conn.transaction():
            assert await OUTBOX.publish_async(conn, events[0]) == events[0].id
            ids = await OUTBOX.publish_many_async(conn, events[1:])
            assert ids == [event.id for event in events[1:]]
            assert await OUTBOX.publish_many_async(conn, []) == []
    finally:
        await conn.close()
    assert stored() == [(event.id, "orders.placed", "k", event.payload, event.headers) for event in events]


async def test_rollback_and_savepoint_take_their_events_along(producer: str, stored: Stored) -> None:
    async with asyncpg.create_pool(producer, min_size=1, max_size=1) as pool, pool.acquire() as conn:
        with contextlib.suppress(Undo):
            async with conn.transaction():
                await OUTBOX.publish_async(conn, Event("orders.placed", "rolled back"))
                raise Undo
        async with conn.transaction():
            await OUTBOX.publish_async(conn, Event("orders.placed", 1))
            with contextlib.suppress(Undo):
                async with conn.transaction():
                    await OUTBOX.publish_async(conn, Event("orders.placed", "to the savepoint"))
                    raise Undo
            await OUTBOX.publish_async(conn, Event("orders.placed", 2))
    assert [row[3] for row in stored()] == [1, 2]


async def test_two_databases_get_each_their_own(producer: str, empty_database: str, stored: Stored) -> None:
    here, there = await asyncpg.connect(producer), await asyncpg.connect(empty_database)
    try:
        await there.execute("CREATE TABLE outbox_events (id uuid, topic text, key text, payload jsonb, headers jsonb)")
        undone = there.transaction()
        await undone.start()
        async with here.transaction():
            await OUTBOX.publish_async(there, Event("orders.placed", "there"))
            await OUTBOX.publish_async(here, Event("orders.placed", "here"))
        assert await there.fetchval("SELECT payload::text FROM outbox_events") == '"there"'
        await undone.rollback()
        assert await there.fetchval("SELECT count(*) FROM outbox_events") == 0
    finally:
        await here.close()
        await there.close()
    assert [row[3] for row in stored()] == ["here"]


async def test_it_is_refused_outside_a_transaction_unless_asked_for(producer: str, stored: Stored) -> None:
    conn = await asyncpg.connect(producer)
    try:
        with pytest.raises(NotInTransaction):
            await OUTBOX.publish_async(conn, Event("orders.placed", 1))
        with pytest.raises(NotInTransaction):
            await OUTBOX.publish_many_async(conn, [Event("orders.placed", 1)])
        await OUTBOX.publish_async(conn, Event("orders.placed", 2), autocommit=True)
    finally:
        await conn.close()
    assert [row[3] for row in stored()] == [2]


async def test_what_cannot_be_stored_or_sent_is_refused_before_the_transaction_has_failed(
    producer: str, stored: Stored
) -> None:
    conn = await asyncpg.connect(producer)
    try:
        async with conn.transaction():
            for event in (
                Event("orders.placed", "a\0b"),
                Event("orders.placed", float("nan")),
                Event("orders.placed", 1, key="k\0"),
                Event("orders.placed", 1, key="k\n"),
            ):
                with pytest.raises(InvalidEvent):
                    await OUTBOX.publish_async(conn, event)
            await Outbox(key_header=False).publish_async(conn, Event("orders.placed", 2, key="k\n"))
    finally:
        await conn.close()
    assert [(row[2], row[3]) for row in stored()] == [("k\n", 2)]


async def test_ten_thousand_events_keep_their_order(producer: str, stored: Stored) -> None:
    events = [Event("orders.placed", i, key=f"k{i % 7}") for i in range(10_000)]
    conn = await asyncpg.connect(producer)
    try:
        async with conn.transaction():
            await OUTBOX.publish_many_async(conn, events)
    finally:
        await conn.close()
    assert [(row[0], row[3]) for row in stored()] == [(event.id, event.payload) for event in events]
