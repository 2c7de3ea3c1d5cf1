"""Closing a connection ends what waits for it: nobody would wake a task that waits for a closed socket."""

import asyncio
from collections.abc import Callable, Coroutine

import psycopg
import pytest

from relay.postgres.connection import Connection


async def listens(conn: Connection) -> None:
    await conn.until_notified()


async def asks(conn: Connection) -> None:
    await conn.execute("SELECT pg_sleep(600)")


@pytest.mark.parametrize("wait", [listens, asks])
def test_closing_a_connection_ends_what_waits_for_it(
    empty_database: str, wait: Callable[[Connection], Coroutine[None, None, None]]
) -> None:
    async def run() -> None:
        conn = await Connection.connect(empty_database, autocommit=True)
        waiting = asyncio.create_task(wait(conn))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await conn.close()
        with pytest.raises(psycopg.OperationalError, match="closed"):
            async with asyncio.timeout(20):
                await waiting

    asyncio.run(run())


def test_what_is_cancelled_as_its_connection_is_closed_is_cancelled(empty_database: str) -> None:
    async def run() -> None:
        conn = await Connection.connect(empty_database, autocommit=True)
        waiting = asyncio.create_task(listens(conn))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await conn.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())
