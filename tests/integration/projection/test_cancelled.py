"""A runner that is cancelled ends, whatever it is at: one that goes on keeps its process from stopping."""

import asyncio
from collections.abc import Callable

import pytest

from relay import cancellation
from relay.cancellation import end
from relay.config.settings import Settings, load
from relay.projection import Definition, Event, Projection, Refresh, Transaction, on, run, runner, term
from tests.integration.projection.fix_redis import World
from tests.integration.projection.fix_redis import definition as in_redis
from tests.integration.projection.test_refresh import VIEWS
from tests.integration.projection.world import STREAM, TABLES, Events, run_sql
from tests.integration.projection.world import definition as in_postgres

# Passes of the loop: a runner begins, claims, reads what is there and what comes then, and beats several times.
_LAST = 300
_STEP = 9
_ENDS_S = 10.0


class _Loop(asyncio.SelectorEventLoop):
    """Cancels a task in one of its passes."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0
        self._task: asyncio.Task[None] | None = None
        self.cancelled = asyncio.Event()

    def cancel_in(self, task: asyncio.Task[None], passes: int) -> None:
        self._task, self._left = task, passes

    def _run_once(self) -> None:
        self._left -= 1
        if self._left == 0 and self._task is not None:
            self._task.cancel()
            self.cancelled.set()
        super()._run_once()  # type: ignore[misc]  # of asyncio's own


def _ends(definition: Definition | type[Projection], settings: Settings, passes: int) -> bool:
    """Run a projection and cancel it in a pass of the loop; report whether it has ended."""

    async def scenario() -> bool:
        task = asyncio.create_task(run([definition], settings))
        loop.cancel_in(task, passes)
        async with asyncio.timeout(30):
            await loop.cancelled.wait()
        await asyncio.wait([task], timeout=_ENDS_S)
        is_done = task.done()
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for one in left:
                one.cancel()
            await asyncio.sleep(0.01)
        return is_done and task.cancelled()

    loop = _Loop()
    try:
        return loop.run_until_complete(scenario())
    finally:
        loop.close()


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let much happen in a short time, and let nothing but the first cancellation count."""
    monkeypatch.setattr(runner, "_CLAIM_PAUSE_S", 0.01)
    monkeypatch.setattr(term, "_BEAT_S", 0.01)
    monkeypatch.setattr(term, "_LOOK_S", 0.02)
    monkeypatch.setattr(cancellation, "_AGAIN_S", 3600)


def _everywhere(one: Definition, settings: Settings, events: Events, let_go: Callable[[], object]) -> None:
    events.make()
    events.streams.make("MARKS", "outbox.watermark")
    for passes in range(1, _LAST, _STEP):
        events.fill(3 * passes, 3)
        assert _ends(one, settings, passes), f"cancelled in pass {passes}"
        let_go()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.usefixtures("_quick")
def test_a_runner_in_redis_ends_in_whichever_pass_of_the_loop_it_is_cancelled(
    world: World, events: Events, paused: bool
) -> None:
    def let_go() -> None:
        if world.state():
            world.ask("HSET", "projection:{trail.1.0}:state", "owner", "", "paused", int(paused))

    values = {"redis.url": world.server.url, "nats.servers": (events.url,), "watermark.subject": "outbox.watermark"}
    _everywhere(in_redis(), load(None, values, environ={}), events, let_go)


@pytest.mark.usefixtures("_quick")
def test_a_runner_ends_in_whichever_pass_of_the_loop_it_is_cancelled(empty_database: str, events: Events) -> None:
    def let_go() -> None:
        if run_sql(empty_database, "SELECT to_regclass('projection.state')") != [(None,)]:
            run_sql(empty_database, "UPDATE projection.state SET owner = NULL, lease_until = '-infinity'")

    one = in_postgres(tables=TABLES + VIEWS, refreshes=(Refresh("clock", 1.0, always=True),))
    values = {"postgres.dsn": empty_database, "nats.servers": (events.url,), "watermark.subject": "outbox.watermark"}
    _everywhere(one, load(None, values, environ={}), events, let_go)


class Deaf(Projection):
    """Goes on when it is cancelled."""

    name, stream, subjects = "deaf", STREAM, ["orders.>"]
    tables = "CREATE TABLE deaf (at timestamptz)"
    heard: asyncio.Event

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Sleep, and swallow what ends that."""
        self.heard.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await tx.execute("INSERT INTO deaf VALUES (now())")


@pytest.mark.usefixtures("_quick")
def test_a_handler_that_swallows_its_cancellation_keeps_no_runner(empty_database: str, events: Events) -> None:
    async def scenario() -> bool:
        Deaf.heard = asyncio.Event()
        task = asyncio.create_task(run([Deaf], settings))
        await Deaf.heard.wait()
        task.cancel()
        await asyncio.wait([task], timeout=_ENDS_S)
        return task.cancelled()

    events.make()
    events.send((1, "a"))
    settings = load(None, {"postgres.dsn": empty_database, "nats.servers": (events.url,)}, environ={})
    assert asyncio.run(scenario())
    assert run_sql(empty_database, "SELECT count(*) FROM deaf.deaf") == [(0,)]


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "_AGAIN_S", 0.01)
    swallowed: list[int] = []

    async def goes_on(times: int) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed.append(times)
                if swallowed.count(times) > times:
                    raise

    tasks = [asyncio.create_task(goes_on(times)) for times in (0, 1, 3)]
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(*tasks))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending], timeout=_ENDS_S)
    assert ending.cancelled()
    assert all(task.cancelled() for task in tasks)
