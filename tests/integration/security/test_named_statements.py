"""A statement with a name is planned once, in a session of the relay's own alone; if it is gone it runs without one."""

import asyncio

import psycopg
import pytest

from relay.demo.servers import PostgresServer
from relay.postgres.database import Database
from tests.support.fix_pgbouncer import MakePooler, Mode

_ADD = b"SELECT seq, n FROM numbers WHERE seq > $1::bigint"
_NAMES = b"SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'relay%'"


@pytest.fixture
def numbers(empty_database: str) -> str:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE TABLE numbers (seq bigint PRIMARY KEY, n integer)")
        conn.execute("INSERT INTO numbers VALUES (1, 10), (2, 20)")
    return empty_database


def database(dsn: str) -> Database:
    return Database(dsn, "test", connect_timeout_s=5.0, statement_timeout_s=5.0)


async def names(db: Database) -> int:
    return int((await db.run(_NAMES))[0][0])


def test_it_is_planned_once_for_the_session(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            for above, found in ((0, [(1, 10), (2, 20)]), (1, [(2, 20)]), (2, [])):
                assert await db.run(_ADD, (above,), named=True) == found
            assert await names(db) == 1
            # Another type of the parameter is another statement.
            assert await db.run(_ADD, (2**40,), named=True) == []
            assert await names(db) == 2

    asyncio.run(run())


def test_two_sessions_never_share_a_name(numbers: str) -> None:
    async def name(db: Database) -> str:
        await db.run(_ADD, (0,), named=True)
        return str((await db.run(b"SELECT name FROM pg_prepared_statements WHERE name LIKE 'relay%'"))[0][0])

    async def run() -> None:
        async with database(numbers) as one, database(numbers) as other:
            assert await name(one) != await name(other)

    asyncio.run(run())


@pytest.mark.parametrize("change", [b"DEALLOCATE ALL", b"ALTER TABLE numbers ALTER n TYPE bigint"])
def test_one_that_is_gone_or_returns_other_types_by_now_runs_without_a_name(numbers: str, change: bytes) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            assert await db.run(_ADD, (1,), named=True) == [(2, 20)]
            await db.run(change)
            for _ in range(2):
                assert await db.run(_ADD, (1,), named=True) == [(2, 20)]
            assert db.generation == 1
            assert db.up

    asyncio.run(run())


def test_a_session_that_was_killed_is_replaced_by_one_with_names_of_its_own(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            await db.run(_ADD, (1,), named=True)
            ((pid,),) = await db.run(b"SELECT pg_backend_pid()")
            with psycopg.connect(numbers, autocommit=True) as conn:
                conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert await db.run(_ADD, (1,), named=True) == [(2, 20)]
            assert db.generation == 2
            assert await names(db) == 1

    asyncio.run(run())


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_is_given_none(own_postgres: PostgresServer, pooler: MakePooler, mode: Mode) -> None:
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as direct:
        direct.execute("CREATE TABLE numbers (seq bigint PRIMARY KEY, n integer)")
        direct.execute("INSERT INTO numbers VALUES (1, 10)")
        direct.execute("GRANT SELECT ON numbers TO PUBLIC")

    async def run() -> None:
        async with database(pooler(own_postgres, mode)) as db:
            for _ in range(3):
                assert await db.run(_ADD, (0,), named=True) == [(1, 10)]
                assert await names(db) == 0
            assert (await db.run(b"SHOW enable_seqscan")) == [("on",)]

    asyncio.run(run())
