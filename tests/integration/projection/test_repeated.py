"""One statement for many rows of values, without a name and without a round trip for each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import psycopg
import pytest

from relay.demo.servers import PostgresServer
from relay.postgres.repeated import execute_repeated
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import Events, definition, filled, run_sql, trail
from tests.support.fix_pgbouncer import MakePooler
from tests.support.fix_relay import wait_until
from tests.support.fix_rights import LOGIN

_INSERT = b"INSERT INTO found (value, text) VALUES ($1::integer, $2::text)"
# The last statement of a session that ends itself in its middle.
_END_AT_7 = b"SELECT CASE WHEN $1::integer = 7 THEN pg_terminate_backend(pg_backend_pid()) END"

Conn = psycopg.AsyncConnection[tuple[Any, ...]]


@pytest.fixture
async def conn(empty_database: str) -> AsyncIterator[Conn]:
    """A connection that prepares nothing by itself, and a table."""
    async with await Conn.connect(empty_database, autocommit=True, prepare_threshold=None) as made:
        await made.execute("CREATE TABLE found (number serial, value integer CHECK (value <> 700), text text)")
        yield made


async def _found(conn: Conn) -> Sequence[tuple[Any, ...]]:
    return await (await conn.execute("SELECT value, text FROM found ORDER BY number")).fetchall()


async def test_each_row_is_applied_in_its_order(conn: Conn) -> None:
    rows = [(number % 101, f"text \u00e9 {number}" if number % 3 else None) for number in range(2_500)]

    async with conn.transaction():
        await execute_repeated(conn, _INSERT, rows)
        await execute_repeated(conn, _INSERT, [])

    assert await _found(conn) == rows


async def test_more_than_the_sockets_hold_does_not_stall_the_two_ends(conn: Conn) -> None:
    """Each answer is as large as its question: whoever only sent would fill both directions."""
    text = "x" * 10_000

    async with asyncio.timeout(60), conn.transaction():
        await execute_repeated(conn, b"SELECT $1::text", [(text,)] * 2_000)


async def test_the_error_of_the_server_is_raised_and_the_connection_goes_on(conn: Conn) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        async with conn.transaction():
            await execute_repeated(conn, _INSERT, [(number, "") for number in range(1_000)])

    assert await _found(conn) == []


async def test_a_savepoint_takes_back_what_was_refused_and_nothing_else(conn: Conn) -> None:
    async with conn.transaction():
        await execute_repeated(conn, _INSERT, [(1, "kept")])
        with pytest.raises(psycopg.errors.CheckViolation):
            async with conn.transaction():
                await execute_repeated(conn, _INSERT, [(2, "lost"), (700, "refused"), (3, "not begun")])
        await execute_repeated(conn, _INSERT, [(4, "kept too")])

    assert await _found(conn) == [(1, "kept"), (4, "kept too")]


async def test_a_value_that_cannot_be_sent_is_an_error_of_the_values(conn: Conn) -> None:
    with pytest.raises(psycopg.DataError):
        async with conn.transaction():
            await execute_repeated(conn, _INSERT, [(1, "a"), (2, "b\x00c")])

    assert await _found(conn) == []


async def test_a_session_that_is_ended_in_the_middle_is_told_at_once(conn: Conn) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(psycopg.OperationalError):
            async with conn.transaction():
                await execute_repeated(conn, _END_AT_7, [(number,) for number in range(1_000)])

    assert conn.closed


async def test_who_is_cancelled_in_the_middle_leaves_a_connection_that_goes_on(conn: Conn, empty_database: str) -> None:
    async def work() -> None:
        async with conn.transaction():
            await execute_repeated(conn, _INSERT, [(1, "lost")])
            await execute_repeated(conn, b"SELECT pg_sleep($1::float8)", [(30,)] * 100)

    task = asyncio.create_task(work())
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'"
    try:
        async with asyncio.timeout(20):
            await asyncio.to_thread(wait_until, "it sleeps", lambda: run_sql(empty_database, sleeping) != [])
    finally:
        # Whatever happens: the connection cannot be closed while it works.
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await task

    assert await _found(conn) == []


async def test_no_name_is_left_on_the_session(conn: Conn) -> None:
    """A pooler of transactions hands the session on to others, who may use the same name."""
    async with conn.transaction():
        await execute_repeated(conn, _INSERT, [(1, "one"), (2, "two")])

    assert await (await conn.execute("SELECT name FROM pg_prepared_statements")).fetchall() == []


def _holds(dsn: str, name: str, model: dict[str, list[int]]) -> bool:
    return trail(dsn, name) == model


def test_projections_share_the_sessions_of_a_pooler_of_transactions(
    own_postgres: PostgresServer, pooler: MakePooler, events: Events, running: Run
) -> None:
    names = ["trail", "other_trail"]
    through = pooler(own_postgres, "transaction").replace(LOGIN, "postgres")
    events.make()
    events.fill(1, 3_000)

    running(through, events.url, *(definition(name) for name in names))

    for name in names:
        wait_until("it is applied", partial(_holds, own_postgres.dsn(), name, filled(1, 3_000)))
