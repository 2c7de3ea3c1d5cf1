"""Faults of the read side: its runners, their PostgreSQL, their Redis, and the links between them."""

import asyncio
import random
import shutil
import signal
import time
from contextlib import suppress

import psycopg
from redis.exceptions import RedisError

from relay.projection.ports import LEASE_S
from tests.chaos import links
from tests.chaos.failover import lose_the_newest_commits
from tests.chaos.kind import Kind, Make
from tests.chaos.read_side import ReadSide
from tests.chaos.world import World

_AGAIN_S = 0.1
# For as long another fault may keep Redis away, seconds.
_AWAY_S = 30.0
# Where a copy of the server's data waits to take its place.
_COPY = "copy"


# --- The runners


async def _runner_killed(world: World, rng: random.Random) -> str:
    runner = rng.choice(world.read_side.runners)
    runner.relay.kill()
    await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 3))))
    runner.relay.start()
    return runner.name


async def _runners_killed(world: World, rng: random.Random) -> str:
    for runner in world.read_side.runners:
        runner.relay.kill()
    await asyncio.sleep(rng.uniform(0, 2))
    for runner in world.read_side.runners:
        runner.relay.start()
    return "all"


async def _runner_stopped(world: World, rng: random.Random) -> str:
    """SIGTERM, as in a rolling update; it must end with 0."""
    runner = rng.choice(world.read_side.runners)
    if (why := await runner.stop()) is not None:
        world.wrong.append(why)
    runner.relay.start()
    return runner.name


async def _runner_frozen(world: World, rng: random.Random) -> str:
    """SIGSTOP, half the time past its lease: another one takes over meanwhile, and this one wakes with old events."""
    runner = rng.choice(world.read_side.runners)
    lasts_s = rng.choice((rng.uniform(0.2, 3), LEASE_S + rng.uniform(0.5, 4)))
    runner.relay.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        runner.relay.signal(signal.SIGCONT)
    return f"{runner.name} for {lasts_s:.0f} s"


# --- Their PostgreSQL


async def _models_crashed(world: World, rng: random.Random) -> str:
    postgres = world.read_side.postgres
    how = rng.choice(("killed", "immediate shutdown"))
    await asyncio.to_thread(postgres.kill if how == "killed" else lambda: postgres.stop("immediate"))
    await asyncio.sleep(rng.uniform(0, 1.5))
    await asyncio.to_thread(postgres.start)
    return how


async def _models_frozen(world: World, rng: random.Random) -> str:
    postgres = world.read_side.postgres
    await asyncio.to_thread(postgres.pause)
    try:
        await asyncio.sleep(rng.uniform(0.3, 4))
    finally:
        await asyncio.to_thread(postgres.resume)
    return "postmaster and backends"


async def _models_failover(world: World, rng: random.Random) -> str:
    """Promote an asynchronous standby that lacks up to the last two seconds of the models."""
    setback = await lose_the_newest_commits(world.read_side.postgres, rng)
    return f"{setback.until - setback.since:.1f} s behind"


async def _models_sessions_terminated(world: World, _: random.Random) -> str:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%'"
    async with await psycopg.AsyncConnection.connect(
        world.read_side.postgres.dsn(), autocommit=True, connect_timeout=3
    ) as conn:
        ended = await (await conn.execute(query)).fetchall()
    return f"{len(ended)} sessions"


# --- Their Redis


async def _redis_killed(world: World, rng: random.Random) -> str:
    redis = world.read_side.redis
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(rng.uniform(0, 1.5))
    await asyncio.to_thread(redis.start)
    return "killed"


async def _redis_frozen(world: World, rng: random.Random) -> str:
    redis = world.read_side.redis
    await asyncio.to_thread(redis.pause)
    try:
        await asyncio.sleep(rng.uniform(0.3, 4))
    finally:
        redis.resume()
    return "frozen"


async def _redis_fails_over(world: World, rng: random.Random) -> str:
    """Let a copy of the log take over that lacks up to the last two seconds, as a replica does that lags."""
    redis = world.read_side.redis
    log, copy = redis.directory / "appendonlydir", redis.directory.with_name(_COPY)
    shutil.rmtree(copy, ignore_errors=True)
    since = time.monotonic()
    await asyncio.to_thread(shutil.copytree, log, copy)
    await asyncio.sleep(rng.uniform(0, 2))
    await asyncio.to_thread(redis.kill)
    until = time.monotonic()
    redis.lose_everything()
    copy.rename(log)
    await asyncio.sleep(rng.uniform(0, 1))
    await asyncio.to_thread(redis.start)
    return f"{until - since:.1f} s behind"


async def _redis_loses_everything(world: World, rng: random.Random) -> str:
    redis = world.read_side.redis
    await asyncio.to_thread(redis.kill)
    redis.lose_everything()
    await asyncio.sleep(rng.uniform(0, 1))
    await asyncio.to_thread(redis.start)
    return "everything"


async def _redis_without_memory(world: World, rng: random.Random) -> str:
    await _configure(world.read_side, "maxmemory", "1")
    try:
        await asyncio.sleep(rng.uniform(0.3, 4))
    finally:
        await _configure(world.read_side, "maxmemory", "0")
    return "maxmemory 1"


async def _redis_read_only(world: World, rng: random.Random) -> str:
    """Let it be a replica of nobody who answers, as one that was not promoted yet."""
    await _ask(world.read_side, "REPLICAOF", "127.0.0.1", "1")
    try:
        await asyncio.sleep(rng.uniform(0.3, 3))
    finally:
        await _ask(world.read_side, "REPLICAOF", "NO", "ONE")
    return "a replica for a while"


async def _configure(read_side: ReadSide, name: str, value: str) -> None:
    await _ask(read_side, "CONFIG", "SET", name, value)


async def _ask(read_side: ReadSide, *command: str) -> None:
    """Ask until Redis answers."""
    async with asyncio.timeout(_AWAY_S):
        while True:
            with suppress(RedisError):
                await asyncio.to_thread(read_side.ask_redis, *command)
                return
            await asyncio.sleep(_AGAIN_S)


def _kind(component: str, name: str, make: Make, weight: int = 2) -> Kind:
    return Kind(component, name, make, weight, of_readers=True)


KINDS = (
    _kind("runner", "runner killed", _runner_killed, 4),
    _kind("runner", "all runners killed", _runners_killed),
    _kind("runner", "runner stopped", _runner_stopped),
    _kind("runner", "runner frozen", _runner_frozen),
    _kind("models", "models crashed", _models_crashed),
    _kind("models", "models frozen", _models_frozen),
    _kind("models", "models fail over", _models_failover, 3),
    _kind("models", "models' sessions terminated", _models_sessions_terminated),
    _kind("redis", "redis killed", _redis_killed),
    _kind("redis", "redis frozen", _redis_frozen),
    _kind("redis", "redis fails over", _redis_fails_over, 3),
    _kind("redis", "redis loses everything", _redis_loses_everything, 1),
    _kind("redis", "redis without memory", _redis_without_memory),
    _kind("redis", "redis read only", _redis_read_only, 1),
    _kind("reader link", "reader link cut", links.of_reader(links.cut), 4),
    _kind("reader link", "reader link refused", links.of_reader(links.refused), 1),
    _kind("reader link", "reader link silent", links.of_reader(links.silent), 3),
    _kind("reader link", "reader link slow", links.of_reader(links.slow), 1),
    _kind("reader link", "reader link crumbles", links.of_reader(links.crumbles), 1),
)
