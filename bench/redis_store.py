"""Read a backlog into Redis: a projection, and the consumer that gets, averages and sets, each in its own process."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from redis import Redis

from bench.figures import rate, ratios
from bench.quiet import Quiet
from bench.read_models import KEYS, fill_stream, watch, write_lua_definition
from bench.report import Figure, Report
from bench.world import World
from relay.demo.redis_server import RedisServer

_BAR = 8.0
_KEY = "device:stats:"
_LUA = f"""
local key = '{_KEY}' .. e.key
local last = tonumber(read('HGET', key, 'last_seq') or 0)
write('HINCRBY', key, 'count', 1)
write('HINCRBY', key, 'sum_temperature', string.format('%.0f', e.data.temperature))
write('HINCRBY', key, 'sum_humidity', string.format('%.0f', e.data.humidity))
write('HSET', key, 'last_seq', string.format('%.0f', math.max(last, tonumber(e.seq))))
"""


def run(world: World, report: Report, *, rounds: int, quick: bool) -> None:
    """Measure both once a round, one after the other, on one server that is emptied in between."""
    many, few = (20_000, 3_000) if quick else (100_000, 20_000)
    rates: dict[str, list[float]] = {"projection": [], "GET, average, SET": []}
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        # What is acknowledged may be lost for a second, as in most installations; with a sync for each write the
        # rival would wait for the disk a thousand times as often.
        server = RedisServer(Path(directory) / "redis", settings={"appendfsync": "everysec"})
        file = write_lua_definition(Path(directory), _LUA)
        with server, Redis.from_url(server.url) as redis:
            cases: dict[str, Callable[[], float]] = {
                "projection": lambda: _projection(world, report.quiet, server, redis, file, many),
                "GET, average, SET": lambda: _rival(world, report.quiet, server, redis, few),
            }
            for number in range(rounds):
                for name, measure in cases.items():
                    rates[name].append(report.quiet.take(f"redis: {name}", measure))
                    report.progress(f"redis, round {number + 1}: {name}: {rates[name][-1]:,.0f} events/s")
    for name, values in rates.items():
        report.add(Figure("redis", name, median(values), "events/s", rounds=values))
    each = ratios(rates["projection"], rates["GET, average, SET"])
    report.add(Figure("redis", "projection / GET, average, SET", median(each), "times", at_least=_BAR, rounds=each))


def _projection(world: World, quiet: Quiet, server: RedisServer, redis: Redis, file: Path, events: int) -> float:
    """Return the events a second of ``relay projection run``."""
    fill_stream(world, events)
    redis.flushall()

    def count(key: str) -> int:
        return int(redis.hget(key, "count") or 0)

    quiet.begin()
    with world.projections(file, settings={"RELAY_REDIS__URL": server.url}) as process:
        samples = watch(process, lambda: count(f"{_KEY}k0") * KEYS, events)
    _check(count, events)
    return rate(samples)


def _rival(world: World, quiet: Quiet, server: RedisServer, redis: Redis, events: int) -> float:
    """Return the events a second of what most teams write."""
    fill_stream(world, events)
    redis.flushall()

    def count(key: str) -> int:
        found = redis.get(key)
        return 0 if found is None else int(json.loads(found)["count"])

    quiet.begin()
    with world.program("bench.redis_rival", server.url, world.nats.url) as process:
        samples = watch(process, lambda: count(f"{_KEY}k0") * KEYS, events)
    _check(count, events)
    return rate(samples)


def _check(count: Callable[[str], int], events: int) -> None:
    """Look at all keys: the one that was watched has the last event of the stream."""
    total = sum(count(f"{_KEY}k{number}") for number in range(KEYS))
    if total != events:
        raise RuntimeError(f"the model holds {total} of {events} events")
