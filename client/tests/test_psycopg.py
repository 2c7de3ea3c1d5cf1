"""Through psycopg 3: the event goes with the transaction, whatever becomes of it."""

import uuid
from typing import Any, cast

import psycopg
import pytest
from conftest import Stored
from psycopg import sql
from tests.support.fix_relay import MakeRelay
from tests.support.fix_relay import Outbox as Seen
from tests.support.fix_stream import Streams

from outbox_client import Event, InvalidEvent, NotInTransaction, Outbox
from outbox_client.commands import once_async
from outbox_client.reading import wait_applied_async

OUTBOX = Outbox()


def test_an_event_is_committed_with_its_data(producer: str, stored: Stored) -> None:
    event = Event("orders.placed", {"order": 42, "who": "Zoë"}, key="42", headers={"tenant": "a", "n": 1})
    with psycopg.connect(producer) as conn:
        conn.execute("INSERT INTO orders (id) VALUES (42)")
        assert OUTBOX.publish(conn, event) == event.id
        assert stored() == []
    assert stored() == [
        (event.id, "orders.placed", "42", {"order": 42, "who": "Zoë"}, {"tenant": "a", "n": 1}),
    ]


def test_a_rollback_takes_the_event_along(producer: str, stored: Stored) -> None:
    with psycopg.connect(producer) as conn:
        OUTBOX.publish(conn, Event("orders.placed", {}))
        conn.rollback()
    assert stored() == []


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_events(producer: str, stored: Stored) -> None:
    with psycopg.connect(producer) as conn:
        OUTBOX.publish(conn, Event("orders.placed", 1))
        with conn.transaction():
            OUTBOX.publish(conn, Event("orders.placed", 2))
            raise psycopg.Rollback
        OUTBOX.publish(conn, Event("orders.placed", 3))
    assert [row[3] for row in stored()] == [1, 3]


def test_autocommit_is_refused_outside_a_transaction_unless_asked_for(producer: str, stored: Stored) -> None:
    with psycopg.connect(producer, autocommit=True) as conn:
        with pytest.raises(NotInTransaction):
            OUTBOX.publish(conn, Event("orders.placed", 1))
        with pytest.raises(NotInTransaction):
            OUTBOX.publish_many(conn, [Event("orders.placed", 1)])
        assert stored() == []
        with conn.transaction():
            OUTBOX.publish(conn, Event("orders.placed", 2))
        OUTBOX.publish(conn, Event("orders.placed", 3), autocommit=True)
    assert [row[3] for row in stored()] == [2, 3]


def test_a_cursor_keeps_its_results(producer: str, stored: Stored) -> None:
    with psycopg.connect(producer) as conn:
        cursor = conn.execute("SELECT generate_series(1, 3)")
        for (i,) in cursor:
            OUTBOX.publish(cursor, Event("orders.placed", i))
    assert [row[3] for row in stored()] == [1, 2, 3]


def test_ten_thousand_events_keep_their_order_among_single_ones(producer: str, stored: Stored) -> None:
    events = [Event("orders.placed", i, key=f"k{i % 7}" if i % 2 else None) for i in range(10_000)]
    with psycopg.connect(producer) as conn:
        first = OUTBOX.publish(conn, Event("orders.first", "a"))
        given = OUTBOX.publish_many(conn, iter(events))
        last = OUTBOX.publish(conn, Event("orders.last", "z"))
        assert OUTBOX.publish_many(conn, []) == []
    assert given == [event.id for event in events]
    found = stored()
    assert [row[0] for row in found] == [first, *given, last]
    assert [(row[2], row[3]) for row in found[1:-1]] == [(event.key, event.payload) for event in events]


def test_one_bad_event_among_many_writes_none(producer: str, stored: Stored) -> None:
    with psycopg.connect(producer) as conn:
        with pytest.raises(InvalidEvent):
            OUTBOX.publish_many(conn, [Event("orders.placed", 1), Event("orders.*", 2)])
        OUTBOX.publish(conn, Event("orders.placed", 3))
    assert [row[3] for row in stored()] == [3]


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("jsonb", Event("orders.placed", {"a": "b\0"})),
        ("jsonb", Event("orders.placed", {"\ud800": 1})),
        ("jsonb", Event("orders.placed", {"a": float("nan")})),
        ("json", Event("orders.placed", {"a": -float("inf")})),
        ("text", Event("orders.placed", "a\0b")),
        ("text", Event("orders.placed", "\udfff")),
        ("bytea", Event("orders.placed", "\udfff")),
        ("jsonb", Event("orders.placed", 1, key="k\0")),
        ("jsonb", Event("orders.placed", 1, key="\ud83d")),
        ("jsonb", Event("orders.placed", 1, headers={"a": "\0"})),
        ("jsonb", Event("orders.placed", 1, headers={"a": "\ud83d"})),
    ],
)
def test_what_postgresql_would_refuse_is_refused_before_the_transaction_has_failed(
    producer: str, admin: psycopg.Connection, stored: Stored, kind: str, event: Event
) -> None:
    admin.execute(sql.SQL("ALTER TABLE outbox_events ALTER payload TYPE {0} USING NULL::{0}").format(sql.SQL(kind)))
    outbox = Outbox(payload=kind)
    with psycopg.connect(producer) as conn:
        conn.execute("INSERT INTO orders (id) VALUES (42)")
        with pytest.raises(InvalidEvent):
            outbox.publish(conn, event)
        with pytest.raises(InvalidEvent):
            outbox.publish_many(conn, [Event("orders.placed", "1"), event])
        outbox.publish(conn, Event("orders.placed", "after"))
    assert len(stored()) == 1
    assert admin.execute("SELECT id FROM orders").fetchall() == [(42,)]


@pytest.mark.parametrize(
    "text", ["\U0001f600", "\\u0000", "\\\\ud800", "\ud83d\ude00", "\\\ud83d\ude00", "\uffff", "\x01", "NaN"]
)
def test_what_the_client_takes_of_odd_texts_jsonb_takes_too(producer: str, stored: Stored, text: str) -> None:
    with psycopg.connect(producer) as conn:
        OUTBOX.publish(conn, Event("orders.placed", {text: [text]}))
    taken = text.encode("utf-16", "surrogatepass").decode("utf-16")
    assert [row[3] for row in stored()] == [{taken: [taken]}]


def test_two_databases_get_each_their_own(producer: str, database: str, empty_database: str, stored: Stored) -> None:
    with psycopg.connect(empty_database) as other:
        other.execute(
            "CREATE TABLE outbox_events (seq bigserial, id uuid, topic text, key text, payload jsonb, headers jsonb)"
        )
        with psycopg.connect(producer) as conn:
            OUTBOX.publish(conn, Event("orders.placed", "here"))
            OUTBOX.publish(other, Event("orders.placed", "there"))
            other.rollback()
        assert other.execute("SELECT to_regclass('outbox_events')").fetchone() == (None,)
    assert [row[3] for row in stored()] == ["here"]


@pytest.mark.parametrize(
    ("kind", "payload", "sent"),
    [
        ("json", {"a": 1}, '{"a": 1}'),
        ("text", "as it is", "as it is"),
        ("text", {"a": 1}, '{"a": 1}'),
        ("bytea", b"\x00\xff", b"\x00\xff"),
        ("bytea", "Zoë", "Zoë".encode()),
        ("bytea", {"a": 1}, b'{"a": 1}'),
    ],
)
def test_every_type_of_the_payload_column_is_written_alone_and_in_bulk(
    empty_database: str, kind: str, payload: object, sent: object
) -> None:
    outbox = Outbox("app.billing", payload=kind)
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE SCHEMA app")
        conn.execute(
            sql.SQL(
                "CREATE TABLE app.billing (seq bigserial, id uuid, topic text, key text, payload {}, headers jsonb)"
            ).format(sql.SQL(kind))
        )
        outbox.publish(conn, Event("orders.placed", payload))
        outbox.publish_many(conn, [Event("orders.placed", payload)])
        read = "SELECT payload::text FROM app.billing" if kind == "json" else "SELECT payload FROM app.billing"
        assert [row[0] for row in conn.execute(read).fetchall()] == [sent, sent]


async def test_an_asynchronous_connection_writes_the_same(producer: str, stored: Stored) -> None:
    events = [Event("orders.placed", i, headers={"i": i}) for i in range(3)]
    async with await psycopg.AsyncConnection.connect(producer) as conn:
        assert await OUTBOX.publish_async(conn, events[0]) == events[0].id
        async with conn.cursor() as cursor:
            ids = await OUTBOX.publish_many_async(cursor, events[1:])
        assert ids == [event.id for event in events[1:]]
        assert await OUTBOX.publish_many_async(conn, []) == []
        async with conn.transaction():
            await OUTBOX.publish_async(conn, Event("orders.placed", "undone"))
            raise psycopg.Rollback
    assert stored() == [(event.id, "orders.placed", None, event.payload, event.headers) for event in events]


async def test_an_asynchronous_connection_in_autocommit_is_refused(producer: str, stored: Stored) -> None:
    async with await psycopg.AsyncConnection.connect(producer, autocommit=True) as conn:
        with pytest.raises(NotInTransaction):
            await OUTBOX.publish_async(conn, Event("orders.placed", 1))
        with pytest.raises(NotInTransaction):
            await OUTBOX.publish_many_async(conn, [Event("orders.placed", 1)])
        await OUTBOX.publish_async(conn, Event("orders.placed", 2), autocommit=True)
    assert [row[3] for row in stored()] == [2]


async def test_a_connection_of_the_wrong_kind_is_refused_by_name(producer: str) -> None:
    async with await psycopg.AsyncConnection.connect(producer) as conn:
        with pytest.raises(TypeError, match=r"publish takes .*, not psycopg\.\S*AsyncConnection: call publish_async"):
            OUTBOX.publish(cast(Any, conn), Event("orders.placed", 1))
    with psycopg.connect(producer) as plain:
        with pytest.raises(TypeError, match=r"asynchronous connection.*: call publish_many$"):
            await OUTBOX.publish_many_async(cast(Any, plain), [Event("orders.placed", 1)])
        with pytest.raises(TypeError, match=r"once_async takes an asynchronous connection.*: call once$"):
            await once_async(cast(Any, plain), "pay-42")
        with pytest.raises(TypeError, match=r"wait_applied_async takes .*: call wait_applied$"):
            await wait_applied_async(cast(Any, plain), "orders", "1.1.1")
        with pytest.raises(TypeError, match=r"not builtins\.str"):
            OUTBOX.publish(cast(Any, producer), Event("orders.placed", 1))


def test_what_is_published_reaches_the_stream_once_and_in_order(
    producer: str, outbox: Seen, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    with psycopg.connect(producer) as conn:
        one = OUTBOX.publish(conn, Event("orders.placed", {"i": 0}, key="k", headers={"tenant": "a"}))
        many = OUTBOX.publish_many(conn, [Event("orders.placed", {"i": i}, key="k") for i in range(1, 51)])
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    relay.stop()
    read = streams.read("ORDERS")
    assert [uuid.UUID(message.headers["Nats-Msg-Id"]) for message in read] == [one, *many]
    assert read[0].headers["tenant"] == "a"
