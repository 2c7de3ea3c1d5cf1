"""The read side of a run: a PostgreSQL and a Redis with read models, and two runners that keep them up to date."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from relay.demo.redis_server import RedisServer
from relay.demo.servers import PostgresServer, free_port
from relay.projection.in_redis.ledger import prefix_of
from tests.chaos.history import Applied, Entry, Note, Standing
from tests.chaos.process import Process, proxy_to
from tests.support.fix_relay import Relay

STREAM = "ORDERS"
# The order in which events were applied, one by one and many at once; partitions have connections of their own.
_SQL = {
    "one_by_one": ("each", 1, "INSERT INTO applied (key, id) SELECT key, id FROM event"),
    "folded": ("fold", 2, "INSERT INTO applied (key, id) SELECT key, id FROM event ORDER BY stream_seq"),
}
_TABLES = "CREATE TABLE applied (n bigint GENERATED ALWAYS AS IDENTITY, key text, id text NOT NULL);"
# Two writes, so that an event of which only a half was applied shows.
_LUA = """
write('RPUSH', 'trail:' .. (e.key or ''), e.id)
write('HINCRBY', 'counts', e.key or '', 1)
"""
IN_REDIS = "in_redis"
_FILE = """
[projection]
name = "{name}"
stream = "{stream}"
subjects = "orders.>"
{more}

[[on]]
topic = "orders.placed"
{statement}
"""
# What the runners wait for a server that does not answer, shorter than the defaults.
_SETTINGS = {
    "RELAY_NATS__PING_INTERVAL_S": "1",
    "RELAY_NATS__CONNECT_TIMEOUT_S": "1",
    "RELAY_POSTGRES__CONNECT_TIMEOUT_S": "2",
    "RELAY_POSTGRES__STATEMENT_TIMEOUT_S": "3",
    "RELAY_LOG__FORMAT": "json",
    "RELAY_LOG__LEVEL": "info",
}


class ReadSide:
    """Read models and their runners.

    Args:
        directory: Where data and logs go.
        mutant: What of `tests.support.faulty_relay` the runners run with; None: as they are.
    """

    def __init__(self, directory: Path, mutant: str | None = None) -> None:
        self._directory = directory
        self._mutant = mutant
        self.postgres = PostgresServer(directory / "models", fsync=False, settings={"max_connections": "60"})
        self.redis = RedisServer(directory / "redis", settings={"auto-aof-rewrite-percentage": "0"})
        self.runners: list[Process] = []

    async def start(self, nats_ports: Sequence[int]) -> None:
        """Start everything."""
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(self.redis.start)
        files = self._directory / "projections"
        files.mkdir()
        (files / "applied.sql").write_text(_TABLES, "utf-8")
        for name, (mode, partitions, sql) in _SQL.items():
            more = f'tables = "applied.sql"\npartitions = {partitions}'
            text = _FILE.format(name=name, stream=STREAM, more=more, statement=f'mode = "{mode}"\nsql = "{sql}"')
            (files / f"{name}.toml").write_text(text, "utf-8")
        text = _FILE.format(name=IN_REDIS, stream=STREAM, more='store = "redis"', statement=f"lua = '''{_LUA}'''")
        (files / f"{IN_REDIS}.toml").write_text(text, "utf-8")
        for number in range(2):
            self.runners.append(await self._runner(f"m{number}", files, nats_ports))
            self.runners[-1].relay.start()

    async def _runner(self, name: str, files: Path, nats_ports: Sequence[int]) -> Process:
        to_postgres, to_redis = await proxy_to(self.postgres.port), await proxy_to(self.redis.port)
        to_nats = [await proxy_to(port) for port in nats_ports]
        directory = self._directory / name
        directory.mkdir()
        port = str(free_port())
        settings = {
            **_SETTINGS,
            "RELAY_POSTGRES__DSN": f"postgresql://postgres@127.0.0.1:{to_postgres.port}/postgres",
            "RELAY_REDIS__URL": f"redis://127.0.0.1:{to_redis.port}/0",
            "RELAY_NATS__SERVERS": ",".join(f"nats://127.0.0.1:{proxy.port}" for proxy in to_nats),
            "RELAY_HTTP__PORT": port,
            "RELAY_PROJECTION_HTTP__PORT": port,
        }
        if self._mutant is not None:
            settings["RELAY_TEST_MUTANT"] = self._mutant
        relay = Relay(directory, settings, ("projection", "run", str(files)))
        return Process(name, relay, {"models": [to_postgres], "redis": [to_redis], "nats": to_nats})

    async def stop(self) -> None:
        """End everything."""
        for runner in self.runners:
            await runner.end()
        await asyncio.to_thread(self.redis.kill)
        await asyncio.to_thread(self.postgres.kill)

    def ask_redis(self, *command: str) -> object:
        """Send one command to Redis.

        Raises:
            redis.exceptions.RedisError: It does not answer, or refuses.
        """
        with Redis(port=self.redis.port, decode_responses=True, socket_timeout=3, socket_connect_timeout=3) as redis:
            return redis.execute_command(*command)

    async def standings(self) -> list[Standing] | None:
        """Return how each partition stands; None if not every store says it now, or a model is not made yet."""
        found: list[Standing] = []
        with suppress(psycopg.Error, RedisError, OSError, TimeoutError):
            async with asyncio.timeout(5):
                found += await asyncio.to_thread(self._in_postgres)
                found += await asyncio.to_thread(self._in_redis)
        return found if len(found) == 1 + sum(partitions for _, partitions, _ in _SQL.values()) else None

    def _in_postgres(self) -> list[Standing]:
        query = "SELECT name, partition, position, status, error FROM projection.state ORDER BY name, partition"
        with psycopg.connect(self.postgres.dsn(), connect_timeout=3) as conn:
            return [Standing(row[0], row[1], _SQL[row[0]][1], *row[2:]) for row in conn.execute(query)]

    def _in_redis(self) -> list[Standing]:
        fields = self.ask_redis("HMGET", f"{prefix_of(IN_REDIS, 0)}:state", "position", "status", "error")
        assert isinstance(fields, list)
        position, status, error = fields
        return [] if position is None else [Standing(IN_REDIS, 0, 1, int(position), status, error or None)]

    async def entries(self) -> list[Entry]:
        """Read the models as they are at the end, and how each partition stands; a half event is a fault."""
        standings = await self.standings()
        if standings is None:
            return [Note(time.monotonic(), "not every read model could be read at the end", wrong=True)]
        return [*standings, *await asyncio.to_thread(self._applied)]

    def _applied(self) -> list[Entry]:
        found: list[Entry] = []
        with psycopg.connect(self.postgres.dsn(), connect_timeout=3) as conn:
            for name in _SQL:
                rows = conn.execute(f"SELECT key, id FROM {name}.applied ORDER BY n".encode())
                found += [Applied(name, key, id_) for key, id_ in rows]
                parked = conn.execute("SELECT count(*) FROM projection.parked WHERE name = %s", (name,)).fetchone()
                if parked != (0,):
                    found.append(Note(time.monotonic(), f"{name} has parked events: {parked}", wrong=True))
        keys = self.ask_redis("KEYS", "trail:*")
        assert isinstance(keys, list)
        counts = self.ask_redis("HGETALL", "counts")
        for key in sorted(keys):
            ids = self.ask_redis("LRANGE", key, "0", "-1")
            assert isinstance(ids, list)
            assert isinstance(counts, dict)
            found += [Applied(IN_REDIS, key[6:] or None, id_) for id_ in ids]
            if counts.pop(key[6:], None) != str(len(ids)):
                found.append(Note(time.monotonic(), f"{IN_REDIS}: a half event at key {key[6:]}", wrong=True))
        if counts or self.ask_redis("ZCARD", f"{prefix_of(IN_REDIS, 0)}:parked"):
            found.append(Note(time.monotonic(), f"{IN_REDIS} holds a half event, or has parked some", wrong=True))
        return found
