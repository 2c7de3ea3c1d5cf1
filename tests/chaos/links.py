"""Faults of the links between a process and one of its servers."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from tests.chaos.kind import Make
from tests.chaos.process import Process
from tests.chaos.world import World
from tests.support.fix_proxy import Proxy

# Does something to the ways to one server, and lets it end.
Act = Callable[[list[Proxy], random.Random], Awaitable[None]]


def of_relay(act: Act) -> Make:
    """Make it of the link between a relay and PostgreSQL or NATS."""

    async def make(world: World, rng: random.Random) -> str:
        return await _at_one(world.replicas, act, rng)

    return make


def of_reader(act: Act) -> Make:
    """Make it of the link between a runner of read models and one of its servers."""

    async def make(world: World, rng: random.Random) -> str:
        return await _at_one(world.read_side.runners, act, rng)

    return make


async def _at_one(processes: Sequence[Process], act: Act, rng: random.Random) -> str:
    process = rng.choice(processes)
    server = rng.choice(sorted(process.ways))
    await act(process.ways[server], rng)
    return f"{process.name} to {server}"


async def cut(proxies: list[Proxy], _: random.Random) -> None:
    """End every connection."""
    for proxy in proxies:
        proxy.cut()


async def refused(proxies: list[Proxy], rng: random.Random) -> None:
    """End every connection, and take none for a while."""
    for proxy in proxies:
        proxy.refuse(True)
        proxy.cut()
    await asyncio.sleep(rng.uniform(0.5, 3))
    _heal(proxies)


async def silent(proxies: list[Proxy], rng: random.Random) -> None:
    """Pass nothing on; afterwards everything arrives late, or never (the connection is cut)."""
    for proxy in proxies:
        proxy.swallow()
    await asyncio.sleep(rng.uniform(0.3, 4))
    if rng.random() < 0.5:
        for proxy in proxies:
            proxy.cut()
        await asyncio.sleep(0.01)
    _heal(proxies)


async def slow(proxies: list[Proxy], rng: random.Random) -> None:
    """Pass everything on late."""
    for proxy in proxies:
        proxy.delay_s = rng.uniform(0.02, 0.4)
    await asyncio.sleep(rng.uniform(1, 3))
    _heal(proxies)


async def crumbles(proxies: list[Proxy], rng: random.Random) -> None:
    """Cut all that is sent into pieces, and in the end the connection in the middle of one."""
    for proxy in proxies:
        proxy.crumble = True
    await asyncio.sleep(rng.uniform(0.5, 3))
    if rng.random() < 0.5:
        for proxy in proxies:
            proxy.cut()
    _heal(proxies)


def _heal(proxies: list[Proxy]) -> None:
    for proxy in proxies:
        proxy.flow()
