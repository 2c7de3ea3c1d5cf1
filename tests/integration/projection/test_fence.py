"""One runner or ten: at most one applies; a runner that ends at any point leaves nothing half done."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from unittest.mock import patch

import psycopg
import pytest

from relay.config.settings import Settings, load
from relay.projection import run
from relay.projection.outcome import Fenced
from relay.projection.ports import Move
from relay.projection.rules.grouping import Mode
from relay.projection.rules.seq_bits import Chunk, ChunkId
from relay.projection.service import open_database
from relay.projection.store import Conn, Store
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import Events, definition, filled, run_sql, state, trail
from tests.support.fix_relay import wait_until


def settings_of(dsn: str, url: str) -> Settings:
    """Return the settings of a runner."""
    return load(None, {"postgres.dsn": dsn, "nats.servers": (url,)}, environ={})


def reached(dsn: str, position: int) -> None:
    """Wait until everything up to a sequence is settled."""
    wait_until(f"position {position}", lambda: state(dsn).get("position") == position)


def test_a_runner_that_was_frozen_changes_nothing(empty_database: str) -> None:
    async def both() -> None:
        settings = settings_of(empty_database, "nats://localhost:1")
        async with open_database(settings, "a") as first, open_database(settings, "b") as second:
            frozen, other = Store(first, definition(), 0, "a"), Store(second, definition(), 0, "b")
            await frozen.prepare()
            await other.prepare()
            claim = await frozen.claim()
            assert claim is not None
            assert await other.claim() is None
            run_sql(empty_database, "UPDATE projection.state SET lease_until = '-infinity'")
            newer = await other.claim()
            assert newer is not None
            with pytest.raises(Fenced):
                async with frozen.moving(claim.epoch, Move(0, 5, 1)) as conn:
                    await conn.execute("INSERT INTO trail VALUES ('a', '{1}')")
            with pytest.raises(Fenced):
                await frozen.beat(claim.epoch, None)
            async with other.moving(newer.epoch, Move(0, 3, 1)) as conn:
                await conn.execute("INSERT INTO trail VALUES ('b', '{1}')")
            with pytest.raises(Fenced):
                async with other.moving(newer.epoch, Move(0, 3, 1)) as conn:
                    await conn.execute("INSERT INTO trail VALUES ('c', '{1}')")

    asyncio.run(both())
    assert trail(empty_database) == {"b": [1]}
    assert state(empty_database)["position"] == 3


def test_several_runners_apply_each_event_once(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    for _ in range(3):
        running(empty_database, events.url, definition())
    wait_until("claimed", lambda: state(empty_database).get("owner") is not None)
    for first in range(1, 601, 200):
        events.fill(first, 200)
        # Whoever owns it loses its lease in the middle: another one claims at once.
        run_sql(empty_database, "UPDATE projection.state SET owner = NULL, lease_until = '-infinity'")
    wait_until("all is applied", lambda: state(empty_database)["position"] == 600)
    assert trail(empty_database) == filled(1, 600)
    assert state(empty_database)["applied"] == 600


class LostAnswer(Store):
    """A store whose connection breaks right after a commit, a few times: its answer is lost."""

    left = 3

    @asynccontextmanager
    async def moving(self, epoch: int, move: Move, *, piped: bool = False) -> AsyncIterator[Conn]:
        """Break the connection after the transaction was committed."""
        async with super().moving(epoch, move, piped=piped) as conn:
            yield conn
        if move.applied and LostAnswer.left:
            LostAnswer.left -= 1
            raise psycopg.OperationalError("the answer was lost")


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    empty_database: str, events: Events, running: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.projection.service.Store", LostAnswer)
    LostAnswer.left = 3
    events.make()
    events.fill(1, 50)
    running(empty_database, events.url, definition())
    for first in (51, 101, 151):
        reached(empty_database, first - 1)
        events.fill(first, 50)
    wait_until("all is applied", lambda: state(empty_database).get("position") == 200)
    assert trail(empty_database) == filled(1, 200)
    assert LostAnswer.left == 0


def killed_at(dsn: str, url: str, mode: Mode, point: str, after: int) -> None:
    """Run the projection in this process, and kill it at a point."""
    passed = 0

    def pass_point(name: str) -> None:
        nonlocal passed
        passed += name == point
        if passed == after:
            os.kill(os.getpid(), signal.SIGKILL)

    class Killed(Store):
        @asynccontextmanager
        async def moving(self, epoch: int, move: Move, *, piped: bool = False) -> AsyncIterator[Conn]:
            async with super().moving(epoch, move, piped=piped) as conn:
                pass_point("moved")
                yield conn
                pass_point("before the commit")
            pass_point("committed")

        async def save_bits(self, conn: Conn, changed: Mapping[ChunkId, Chunk]) -> None:
            pass_point("applied")
            await super().save_bits(conn, changed)

    with patch("relay.projection.service.Store", Killed):
        asyncio.run(run([definition(mode=mode)], settings_of(dsn, url)))


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET])
@pytest.mark.parametrize("point", ["moved", "applied", "before the commit", "committed"])
def test_a_runner_that_is_killed_leaves_nothing_half_done(
    empty_database: str, events: Events, running: Run, point: str, mode: Mode
) -> None:
    events.make()
    events.fill(1, 1_500)
    child = multiprocessing.get_context("spawn").Process(
        target=killed_at, args=(empty_database, events.url, mode, point, 2)
    )
    child.start()
    wait_until("the first batch", lambda: state(empty_database).get("position", 0) > 0)
    events.fill(1_501, 200)
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    run_sql(empty_database, "UPDATE projection.state SET lease_until = '-infinity'")
    running(empty_database, events.url, definition())
    wait_until("all is applied", lambda: state(empty_database)["position"] == 1_700)
    assert trail(empty_database) == filled(1, 1_700)
    assert state(empty_database)["applied"] == 1_700
