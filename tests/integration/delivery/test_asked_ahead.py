"""A read can be sent as soon as the bell rings, before the task that wants it wakes; nothing is missed or mixed up."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest

from relay.postgres.database import Database

_READ = b"SELECT n FROM numbers WHERE n > $1::bigint ORDER BY n"


@pytest.fixture
def numbers(empty_database: str) -> str:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE TABLE numbers (n bigint PRIMARY KEY)")
        conn.execute("INSERT INTO numbers VALUES (1), (2)")
    return empty_database


def database(dsn: str) -> Database:
    return Database(dsn, "test", connect_timeout_s=5.0, statement_timeout_s=5.0)


async def asking(db: Database, above: int = 0) -> Callable[[], None]:
    """Run the statement once, so that it has a name; return what sends it ahead."""
    await db.run(_READ, (above,), named=True)
    ask = db.asking(_READ, (above,))
    assert ask is not None
    return ask


def insert(dsn: str, number: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO numbers VALUES (%s)", (number,))


def is_answered(dsn: str) -> None:
    """Wait until the server has answered what was sent ahead."""
    is_in_state(dsn, "idle", "Client")


def is_in_state(dsn: str, *state: str) -> None:
    """Wait until what was sent ahead is in this state at the server, and waits for that."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for _ in range(1000):
            row = conn.execute(
                "SELECT state, wait_event_type FROM pg_stat_activity"
                " WHERE application_name = 'outbox-relay test' AND query = %s",
                (_READ.decode(),),
            ).fetchone()
            if row == state:
                return
            time.sleep(0.01)
    raise AssertionError(f"it is {row}, and not {state}")


class Clock:
    """The time by which an answer is old: it goes on when it is told to, however busy the machine is."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr("relay.postgres.named.time", one)
    return one


def test_the_same_statement_takes_the_answer_once(numbers: str, clock: Clock) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            ask()
            is_answered(numbers)
            insert(numbers, 3)
            clock.now += 0.2
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]  # as it was when it was sent
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,), (3,)]

    asyncio.run(run())


def test_an_old_answer_is_thrown_away(numbers: str, clock: Clock) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            ask()
            is_answered(numbers)
            insert(numbers, 3)
            clock.now += 0.3
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,), (3,)]

    asyncio.run(run())


def test_another_statement_gets_its_own_answer(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            for _ in range(3):
                ask()
                ask()  # once is enough
                assert await db.run(b"SELECT 7") == [(7,)]
                ask()
                assert await db.run(_READ, (1,), named=True) == [(2,)]
                ask()
                assert await db.run(b"SELECT 8", lock_timeout_s=1.0) == [(8,)]
            assert db.generation == 1

    asyncio.run(run())


def test_nothing_is_sent_while_another_statement_runs(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            slow = asyncio.create_task(db.run(b"SELECT pg_sleep(0.1)"))
            await asyncio.sleep(0.02)
            ask()
            await slow
            insert(numbers, 3)
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,), (3,)]
            assert db.generation == 1

    asyncio.run(run())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_session_that_ends_meanwhile_is_replaced(numbers: str, when: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            ((pid,),) = await db.run(b"SELECT pg_backend_pid()")
            if when == "after":
                ask()
            with psycopg.connect(numbers, autocommit=True) as conn:
                conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            await asyncio.sleep(0.01)
            if when == "before":
                ask()
            assert await db.run(_READ, (1,), named=True) == [(2,)]
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]
            assert db.generation == 2
            ask()  # of the session that has ended
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]

    asyncio.run(run())


@pytest.mark.parametrize("change", ["DEALLOCATE ALL", "ALTER TABLE numbers ALTER n TYPE integer"])
def test_what_the_server_refuses_by_name_runs_without_one(numbers: str, change: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            await db.run(change.encode())
            ask()
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]
            assert db.generation == 1

    asyncio.run(run())


def test_who_waits_for_the_answer_can_be_cancelled(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            with psycopg.connect(numbers) as blocking:
                blocking.execute("LOCK TABLE numbers")
                ask()
                for work in (db.run(_READ, (0,), named=True), db.run(b"SELECT 7")):
                    task = asyncio.create_task(work)
                    await asyncio.sleep(0.02)
                    # What the server has not begun it does not end.
                    is_in_state(numbers, "active", "Lock")
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                    assert task.cancelled()
                    ask()
            assert await db.run(b"SELECT 7") == [(7,)]
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]
            assert db.generation == 1

    asyncio.run(run())


def test_the_answer_can_be_had_as_soon_as_it_is_here(numbers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # However busy the machine is, it comes in time.
    monkeypatch.setattr("relay.postgres.named._FRESH_S", 30.0)

    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            assert await db.ahead(_READ, (0,)) is None  # nobody has asked
            for is_here in (False, True):
                ask()
                if is_here:
                    is_answered(numbers)
                    await asyncio.sleep(0.01)
                assert await db.ahead(_READ, (1,)) is None  # not for that
                assert await db.ahead(_READ, (0,)) == [(1,), (2,)]
                assert await db.ahead(_READ, (0,)) is None
                assert await db.run(_READ, (1,), named=True) == [(2,)]
            assert db.generation == 1

    asyncio.run(run())


def test_what_runs_meanwhile_leaves_no_answer_to_be_had(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            for number in range(20):
                ask()
                waiting = asyncio.create_task(db.ahead(_READ, (0,)))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                assert await db.run(b"SELECT 7") == [(7,)]
                assert await waiting in (None, [(1,), (2,)])
                assert await db.ahead(_READ, (0,)) is None
            assert db.generation == 1

    asyncio.run(run())


def test_an_answer_that_does_not_come_in_time_is_waited_for_by_the_statement(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            with psycopg.connect(numbers) as blocking:
                blocking.execute("LOCK TABLE numbers")
                ask()
                assert await db.ahead(_READ, (0,)) is None
                whole = asyncio.create_task(db.run(_READ, (0,), named=True))
                await asyncio.sleep(0.02)
                blocking.execute("INSERT INTO numbers VALUES (3)")
            assert await whole == [(1,), (2,), (3,)]
            assert db.generation == 1

    asyncio.run(run())


def test_an_answer_in_pieces_is_read_by_the_statement(numbers: str) -> None:
    pieces = b"SELECT n, repeat('x', 200000) FROM numbers, generate_series(1, 100) WHERE n > $1::bigint"

    async def run() -> None:
        async with database(numbers) as db:
            assert len(await db.run(pieces, (1,), named=True)) == 100
            ask = db.asking(pieces, (1,))
            assert ask is not None
            for _ in range(3):
                ask()
                assert await db.ahead(pieces, (1,)) is None
                assert len(await db.run(pieces, (1,), named=True)) == 100
                ask()
                assert await db.ahead(pieces, (1,)) is None
                assert await db.run(b"SELECT 7") == [(7,)]
            assert db.generation == 1

    asyncio.run(run())


@pytest.mark.parametrize("how", ["ended", "cut"])
def test_the_end_of_a_session_leaves_no_answer_and_no_socket_that_is_looked_at(numbers: str, how: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            conn: Any = await db.connection()
            with psycopg.connect(numbers) as blocking:
                blocking.execute("LOCK TABLE numbers")
                ask()
                waiting = asyncio.create_task(db.ahead(_READ, (0,)))
                await asyncio.sleep(0.01)
                if how == "cut":
                    with socket.fromfd(conn.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
                        same.shutdown(socket.SHUT_RDWR)
                else:
                    with psycopg.connect(numbers, autocommit=True) as other:
                        other.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))
                assert await waiting is None
            assert conn._watched is None
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]
            assert db.generation == 2

    asyncio.run(run())


@pytest.mark.parametrize("change", ["DEALLOCATE ALL", "ALTER TABLE numbers ALTER n TYPE integer"])
def test_an_answer_that_is_a_refusal_is_none(numbers: str, change: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            ask = await asking(db)
            await db.run(change.encode())
            ask()
            assert await db.ahead(_READ, (0,)) is None
            assert await db.run(_READ, (0,), named=True) == [(1,), (2,)]
            assert db.generation == 1

    asyncio.run(run())


def test_what_is_notified_after_the_read_was_sent_is_heard_by_itself(numbers: str) -> None:
    async def run() -> None:
        heard: list[str] = []
        with psycopg.connect(numbers, autocommit=True) as other:

            def notify(payload: str) -> None:
                other.execute("SELECT pg_notify('bell', %s)", (payload,))

            async with database(numbers) as db:
                conn = await db.connection()
                conn.add_notify_handler(lambda one: heard.append(one.payload))
                await conn.execute("LISTEN bell")
                for number in range(20):
                    heard.clear()
                    waiting = asyncio.create_task(db.until_notified(partial(notify, f"later {number}")))
                    await asyncio.sleep(0)
                    notify(f"first {number}")
                    await waiting
                    # What was sent at the first one may not show what rang later.
                    assert heard == [f"first {number}"]
                    await db.until_notified()
                    assert heard == [f"first {number}", f"later {number}"]

    asyncio.run(run())


def test_a_listener_learns_of_the_end_of_its_session(numbers: str) -> None:
    async def run() -> None:
        async with database(numbers) as db:
            conn = await db.connection()
            await conn.execute("LISTEN bell")
            waiting = asyncio.create_task(db.until_notified())
            await asyncio.sleep(0.01)
            with psycopg.connect(numbers, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))
            with pytest.raises(psycopg.OperationalError):
                await waiting

    asyncio.run(run())
