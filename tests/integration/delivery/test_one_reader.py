"""The loop is told once of the socket of a connection to PostgreSQL, and never mistakes another's for it."""

import asyncio
import os
import socket
from typing import Any

import psycopg
import pytest

from relay.postgres.database import Database


def database(dsn: str) -> Database:
    return Database(dsn, "test", connect_timeout_s=5.0, statement_timeout_s=5.0)


def count_changes() -> list[str]:
    """Note each change of what the running loop waits for."""
    changes: list[str] = []
    loop: Any = asyncio.get_running_loop()
    for name in ("register", "modify", "unregister"):
        change = getattr(loop._selector, name)

        def counted(*args: object, name: str = name, change: Any = change) -> object:
            changes.append(name)
            return change(*args)

        setattr(loop._selector, name, counted)
    return changes


def test_statements_change_nothing_of_what_the_loop_waits_for(empty_database: str) -> None:
    async def run() -> None:
        async with database(empty_database) as db:
            await db.run(b"SELECT 1")
            changes = count_changes()
            for number in range(20):
                assert await db.run(b"SELECT $1::int", (number,)) == [(number,)]
                assert await db.run(b"SELECT $1::int", (number,), named=True) == [(number,)]
                await asyncio.sleep(0)
            assert not changes

    asyncio.run(run())


async def ended(db: Database, dsn: str) -> int:
    """End the session of a database; return the number that its socket had."""
    conn = await db.connection()
    number, pid = conn.pgconn.socket, conn.info.backend_pid
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    return number


@pytest.mark.parametrize("way", ["killed", "killed and noticed", "closed"])
def test_a_socket_of_the_same_number_is_another_one(empty_database: str, way: str) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        db = database(empty_database)
        await db.run(b"SELECT 1")
        number = await ended(db, empty_database)
        if way != "killed":
            await asyncio.sleep(0.05)
        if way == "closed":
            await db.close()
        else:
            with pytest.raises(psycopg.OperationalError):
                await (await db.connection()).execute("SELECT 1")
        ours, theirs = socket.socketpair()
        if ours.fileno() != number:
            os.dup2(ours.fileno(), number)
            ours = socket.socket(fileno=number)
        heard = asyncio.Event()
        loop.add_reader(number, heard.set)
        theirs.send(b"x")
        await db.drop(psycopg.OperationalError("it has ended"))
        assert await db.run(b"SELECT 7") == [(7,)]
        await asyncio.wait_for(heard.wait(), 5)
        loop.remove_reader(number)
        await db.close()
        ours.close()
        theirs.close()

    asyncio.run(run())


def test_a_session_that_ends_while_nobody_asks_takes_no_time(empty_database: str) -> None:
    async def run() -> None:
        async with database(empty_database) as db:
            await db.run(b"SELECT 1")
            await ended(db, empty_database)
            loop: Any = asyncio.get_running_loop()
            turns, select = [0], loop._selector.select

            def counted(timeout: float | None) -> object:
                turns[0] += 1
                return select(timeout)

            loop._selector.select = counted
            await asyncio.sleep(0.2)
            assert turns[0] < 10
            assert await db.run(b"SELECT 7") == [(7,)]
            assert db.generation == 2

    asyncio.run(run())
