"""A writer reads its own write from a read model, or learns why it cannot yet."""

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from conftest import Stored
from relay.postgres.tables import sql_directory
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.integration.projection.fix_runner import Run, running
from tests.integration.projection.world import definition
from tests.support.fix_relay import MakeRelay, wait_until
from tests.support.fix_stream import Streams

from outbox_client import Event, Outbox
from outbox_client import sqlalchemy as of_sqlalchemy
from outbox_client.reading import NoProjection, State, Waited, token, token_async, wait_applied, wait_applied_async

__all__ = ["running"]
OUTBOX, SESSIONS = Outbox(), of_sqlalchemy.Outbox()

_SECURITY = (Path(__file__).parents[2] / "docs" / "operations" / "security.md").read_text("utf-8")

Settle = Callable[..., None]


@pytest.fixture
def model(empty_database: str) -> Iterator[psycopg.Connection]:
    """The tables of the projections, without a runner, in a database of its own."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute((sql_directory() / "projection.sql").read_bytes())
        conn.execute("INSERT INTO projection.generations VALUES ('trail', 1, 1, '', 'trail', 2, 'live')")
        conn.execute(
            "INSERT INTO projection.state (name, generation, partition, stream)"
            " VALUES ('trail', 1, 0, 's'), ('trail', 1, 1, 's')"
        )
        yield conn


def settle(conn: psycopg.Connection, seq: int, partition: int = 0, origin: str = "") -> None:
    """Set a bit as a projection does."""
    bits = bytearray(1024)
    bits[seq % 8192 // 8] |= 1 << seq % 8
    conn.execute(
        "INSERT INTO projection.applied VALUES ('trail', 1, %s, %s, %s, %s)",
        (partition, origin, seq // 8192, bytes(bits)),
    )


def look(conn: psycopg.Connection, mark: str) -> Waited:
    return wait_applied(conn, "trail", mark, timeout_s=0)


@pytest.mark.parametrize("seq", [1, 7, 8, 8191, 8192, 8193, 3_000_000_017])
def test_the_bit_of_an_event_in_any_partition_says_that_it_was_applied(model: psycopg.Connection, seq: int) -> None:
    settle(model, seq, partition=1)
    assert look(model, str(seq)) == Waited(State.APPLIED)
    assert look(model, str(seq + 1)) == look(model, str(seq + 8)) == Waited(State.TIMED_OUT)


def test_a_parked_event_names_its_reason(model: psycopg.Connection) -> None:
    settle(model, 4)
    park = (
        "INSERT INTO projection.parked (name, generation, partition, stream_created, stream_seq, time_ns, subject,"
        " origin, seq, headers, payload, reason) VALUES ('trail', 1, 0, '', %s, 1, 'a', '', %s, '{}', '', %s)"
    )
    model.execute(park, (1, 4, "no such order"))
    model.execute(park, (2, 5, None))
    assert look(model, "4") == Waited(State.PARKED, "no such order")
    assert look(model, "5") == Waited(State.PARKED)
    assert not look(model, "4").fresh


def test_an_event_that_was_given_up_is_not_shown_for_ever(model: psycopg.Connection) -> None:
    settle(model, 8193)
    settle(model, 4, partition=1)
    zero = "decode(repeat('00', 1024), 'hex')"
    model.execute(f"UPDATE projection.applied SET skipped = set_bit({zero}, 4, 1) WHERE partition = 1".encode())
    assert look(model, "4") == Waited(State.SKIPPED)
    assert not look(model, "4").fresh
    assert look(model, "8193") == Waited(State.APPLIED)


def test_an_event_that_left_no_mark_was_not_for_it_once_all_partitions_have_passed_it(
    model: psycopg.Connection,
) -> None:
    model.execute("UPDATE projection.state SET complete_origin = '', complete_seq = 10 WHERE partition = 0")
    assert look(model, "10") == Waited(State.TIMED_OUT)
    model.execute("UPDATE projection.state SET complete_origin = '', complete_seq = 10")
    assert look(model, "10") == Waited(State.NOT_FOR_IT)
    assert look(model, "10").fresh
    assert look(model, "11") == Waited(State.TIMED_OUT)


def test_a_token_of_another_origin_is_another_event(model: psycopg.Connection) -> None:
    settle(model, 4, origin="a1b2c3d4")
    assert look(model, "a1b2c3d4.4") == Waited(State.APPLIED)
    assert look(model, "4") == look(model, "00000000.4") == Waited(State.TIMED_OUT)


@pytest.mark.parametrize("mark", ["", "x", "4'", "-4", "a.b", "9" * 19, "4.", "٣", "a" * 65 + ".4", 4, None])
def test_what_is_no_token_is_refused(model: psycopg.Connection, mark: Any) -> None:
    with pytest.raises(ValueError, match="not a token"):
        look(model, mark)


def test_an_unknown_projection_is_refused(model: psycopg.Connection) -> None:
    with pytest.raises(NoProjection):
        wait_applied(model, "other", "4", timeout_s=0)


def test_the_rights_of_the_security_page_are_enough_and_show_no_payload(model: psycopg.Connection) -> None:
    (grants,) = re.findall(r"CREATE ROLE models_reader;\n(.*?)GRANT models_reader", _SECURITY, re.DOTALL)
    role = f"models_reader_{uuid.uuid4().hex[:8]}"
    settle(model, 1)
    model.execute(f"CREATE ROLE {role}; CREATE SCHEMA order_list; CREATE TABLE order_list.orders (id text)".encode())
    model.execute(grants.replace("models_reader", role).encode())
    try:
        model.execute(f"SET ROLE {role}".encode())
        assert look(model, "1") == Waited(State.APPLIED)
        assert model.execute("SELECT FROM order_list.orders").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            model.execute("SELECT payload FROM projection.parked")
    finally:
        model.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}".encode())


async def test_both_asynchronous_drivers_do_the_same(
    model: psycopg.Connection, empty_database: str, producer: str
) -> None:
    settle(model, 1)
    async with await psycopg.AsyncConnection.connect(producer) as conn:
        event = await OUTBOX.publish_async(conn, Event("orders.placed", 1))
        assert (await token_async(conn, event)).partition(".")[2] == "1"
        with pytest.raises(LookupError):
            await token_async(conn, Event("a", 1).id)
    writer = await asyncpg.connect(producer)
    async with writer.transaction():
        event = await OUTBOX.publish_async(writer, Event("orders.placed", 1))
        assert (await token_async(writer, event)).partition(".")[2] == "2"
    await writer.close()
    reader = await asyncpg.connect(empty_database)
    async with await psycopg.AsyncConnection.connect(empty_database) as conn:
        conns: tuple[Any, ...] = (conn, reader)
        for one in conns:
            assert await wait_applied_async(one, "trail", "1") == Waited(State.APPLIED)
            assert await wait_applied_async(one, "trail", "2", timeout_s=0.02) == Waited(State.TIMED_OUT)
    await reader.close()


def test_sqlalchemy_does_the_same(model: psycopg.Connection, empty_database: str, producer: str) -> None:
    settle(model, 1)
    writer, reader = (sa.create_engine(_through("psycopg", dsn)) for dsn in (producer, empty_database))
    with Session(writer) as session, session.begin():
        event = SESSIONS.publish(session, Event("orders.placed", 1))
        assert of_sqlalchemy.token(session, event).partition(".")[2] == "1"
        with pytest.raises(LookupError):
            of_sqlalchemy.token(session.connection(), Event("a", 1).id)
        with pytest.raises(TypeError, match=r"use outbox_client\.sqlalchemy$"):
            token(cast(Any, session), event)
    with Session(reader) as session:
        assert of_sqlalchemy.wait_applied(session, "trail", "1") == Waited(State.APPLIED)
        assert of_sqlalchemy.wait_applied(session, "trail", "2", timeout_s=0.02) == Waited(State.TIMED_OUT)
        with pytest.raises(ValueError, match="not a token"):
            of_sqlalchemy.wait_applied(session, "trail", "x")
    writer.dispose()
    reader.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_asynchronous_sessions_do_the_same(
    model: psycopg.Connection, empty_database: str, producer: str, driver: str
) -> None:
    settle(model, 1)
    writer, reader = (create_async_engine(_through(driver, dsn)) for dsn in (producer, empty_database))
    async with AsyncSession(writer) as session, session.begin():
        event = await SESSIONS.publish_async(session, Event("orders.placed", 1))
        assert (await of_sqlalchemy.token_async(session, event)).partition(".")[2] == "1"
    async with AsyncSession(reader) as session:
        assert await of_sqlalchemy.wait_applied_async(session, "trail", "1") == Waited(State.APPLIED)
        waited = await of_sqlalchemy.wait_applied_async(session, "trail", "2", timeout_s=0.02)
        assert waited == Waited(State.TIMED_OUT)
        # What is committed while it waits is seen, though the session is in a transaction.
        settle(model, 2, partition=1)
        assert await of_sqlalchemy.wait_applied_async(session, "trail", "2") == Waited(State.APPLIED)
    await writer.dispose()
    await reader.dispose()


def _through(driver: str, dsn: str) -> str:
    return dsn.replace("postgresql:", f"postgresql+{driver}:", 1)


def test_a_writer_reads_its_write_through_relay_stream_and_projection(
    producer: str, database: str, streams: Streams, make_relay: MakeRelay, running: Run, stored: Stored
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(database, streams.url, headers__seq="true", headers__key="true").start()
    running(database, streams.url, definition())
    with psycopg.connect(producer) as conn:
        mark = token(conn, OUTBOX.publish(conn, Event("orders.placed", {"i": 7}, key="k")))
    with psycopg.connect(database, autocommit=True) as reader:
        # The projection makes its tables when it starts.
        _wait_for_tables(reader)
        assert wait_applied(reader, "trail", mark, timeout_s=20) == Waited(State.APPLIED)
        assert reader.execute("SELECT numbers FROM trail.trail WHERE key = 'k'").fetchone() == ([7],)


def _wait_for_tables(conn: psycopg.Connection) -> None:
    wait_until(
        "the projection's tables are there",
        lambda: conn.execute("SELECT to_regclass('trail.trail') IS NOT NULL").fetchone() == (True,),
    )
