"""A term ends although a task of it swallows the cancellation that is to end it, as code of a library may."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from relay.config.settings import load
from relay.daemon.replica import Replica
from relay.daemon.term import Term
from tests.support.fix_stream import Streams

_ENDS_S = 30.0


async def _until(is_so: Callable[[], bool], task: asyncio.Task[object]) -> None:
    async with asyncio.timeout(_ENDS_S):
        while not is_so():
            assert not task.done(), task.result()
            await asyncio.sleep(0.05)


def test_a_term_that_has_lost_its_lease_ends_although_a_task_is_deaf(
    database: str, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, heard = [], []

    async def deaf(_: Term) -> None:
        begun.append(1)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            heard.append(1)
            await asyncio.sleep(3600)

    async def run() -> None:
        replica = Replica(load(None, {"postgres.dsn": database, "nats.servers": (streams.url,)}, environ={}))
        working = asyncio.create_task(replica.run())
        try:
            await _until(lambda: bool(begun), working)
            with psycopg.connect(database) as conn:
                conn.execute(
                    "UPDATE outbox_shards SET owner = 'another', epoch = epoch + 1,"
                    " lease_until = now() + interval '1 second'"
                )
            await _until(lambda: bool(heard), working)
            await _until(lambda: len(begun) > 1, working)
            replica.stop()
            async with asyncio.timeout(_ENDS_S):
                await working
        finally:
            while not working.done():
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
                await asyncio.sleep(0.01)

    monkeypatch.setattr(Term, "_sweep", deaf)
    asyncio.run(run())
