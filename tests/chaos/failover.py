"""A failover: an asynchronous standby is promoted that has not received the newest commits."""

import asyncio
import random
import shutil
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import psycopg

from relay.demo.servers import PostgresServer, ServerError
from tests.chaos.history import Setback
from tests.support.fix_standby import base_backup


async def lose_the_newest_commits(
    postgres: PostgresServer, rng: random.Random, away: AbstractAsyncContextManager[None] | None = None
) -> Setback:
    """Replace the server by a standby that is up to about two seconds behind; returns what it may have lost.

    The standby takes over the address. It begins a timeline of its own, as any promoted standby does.

    Args:
        away: Entered as the server dies, and left when the standby is promoted: until then there is something to lose.

    Raises:
        psycopg.OperationalError: No copy could be made; the server is as it was.
    """
    copy = postgres.directory / "standby"
    since = time.monotonic()
    await asyncio.to_thread(_copy, postgres, copy)
    await asyncio.sleep(rng.uniform(0, 1))
    async with away or nullcontext():
        await asyncio.to_thread(postgres.kill)
        until, at = time.monotonic(), time.time()
        await asyncio.to_thread(_swap, postgres, copy)
        await asyncio.sleep(rng.uniform(0, 1))
        await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(_promote, postgres)
    return Setback("failover", at, since, until)


def _copy(postgres: PostgresServer, copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    try:
        base_backup(postgres, copy)
    except ServerError as error:
        raise psycopg.OperationalError(str(error)) from error


def _swap(postgres: PostgresServer, copy: Path) -> None:
    shutil.rmtree(postgres.data)
    copy.rename(postgres.data)
    # It follows nobody: the primary is gone.
    (postgres.data / "postgresql.auto.conf").write_text("", "utf-8")


def _promote(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
        conn.execute("SELECT pg_promote(true, 20)")
