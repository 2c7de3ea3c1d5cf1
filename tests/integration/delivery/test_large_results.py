"""A large result is read in few wakes of the loop, and a statement can be cancelled at any moment of that."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from relay.postgres.database import Database, TooSlow

_LARGE = b"SELECT i, repeat('x', 250) FROM generate_series(1, $1::int) i"
# Some hundred bytes each 0.1 ms, so that a part of it is there at any moment.
_SLOW = b"SELECT repeat('x', 20000), pg_sleep(0.0001) FROM generate_series(1, 100000) i"


def database(dsn: str, limit_s: float = 20.0) -> Database:
    return Database(dsn, "test", connect_timeout_s=5.0, statement_timeout_s=limit_s)


def count_turns() -> list[int]:
    """Count the turns of the running loop, by its waits."""
    turns = [0]
    loop: Any = asyncio.get_running_loop()
    select = loop._selector.select

    def counted(timeout: float | None) -> object:
        turns[0] += 1
        return select(timeout)

    loop._selector.select = counted
    return turns


def test_a_large_result_takes_few_turns_of_the_loop(empty_database: str) -> None:
    async def run() -> None:
        async with database(empty_database) as db:
            await db.run(b"SELECT 1")
            turns = count_turns()
            assert await db.run(_LARGE, (4000,)) == [(i, "x" * 250) for i in range(1, 4001)]
            assert turns[0] < 60  # a megabyte, which the server sends 8 KiB at a time

    asyncio.run(run())


@pytest.mark.parametrize("way", ["cancelled", "too slow"])
def test_a_statement_ends_at_any_moment_of_its_result(
    empty_database: str, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    async def run() -> None:
        async with database(empty_database) as db:
            await db.run(b"SELECT 1")
            for tenths in range(1, 40):
                work = asyncio.create_task(db.run(_SLOW))
                await asyncio.sleep(tenths / 2000)
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work
                assert work.cancelled()
                assert await db.run(b"SELECT 7") == [(7,)]
            # The driver gives a server 5 s to end a statement; a starved one may need more, once.
            starved = caplog.text.count("query not terminated after cancellation")
            assert db.generation == 1 + starved <= 2

    async def run_slow() -> None:
        for tenths in range(1, 10):
            async with database(empty_database, 0.02 + tenths / 2000) as db:
                with pytest.raises(TooSlow):
                    await db.run(_SLOW, patient=False)

    asyncio.run(run() if way == "cancelled" else run_slow())
