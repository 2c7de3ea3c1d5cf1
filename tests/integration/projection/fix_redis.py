"""A Redis of a test's own, a projection that keeps its model there, and the runners of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from relay.config.settings import load
from relay.demo.redis_server import RedisServer
from relay.projection import Definition
from relay.projection.definition import Handler
from relay.projection.in_redis.ledger import prefix_of
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_runner import Running
from tests.integration.projection.world import STREAM, Events
from tests.support.fix_relay import wait_until

# The list of a key's numbers, and how many there are: a half applied event, a repeat, a gap or another order shows.
TRAIL = """
write('RPUSH', 'trail:' .. e.key, string.format('%.0f', e.data.i))
write('HINCRBY', 'counts', e.key, 1)
"""


def definition(lua: str = TRAIL, **fields: Any) -> Definition:
    """Make the projection of these tests."""
    known: dict[str, Any] = {"name": "trail", "stream": STREAM, "subjects": ("orders.>",), "version": 1, "tables": ""}
    known["handlers"] = (Handler("orders.>", None, Mode.EACH, lua=lua),)
    return Definition(**{**known, **fields}, store="redis")


class World:
    """A Redis, and what a projection keeps there."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def ask(self, *command: Any) -> Any:
        """Send one command."""
        with Redis(port=self.server.port, decode_responses=True, encoding_errors="replace") as redis:
            return redis.execute_command(*command)

    def state(self, partition: int = 0) -> dict[str, str]:
        """Return the state of a partition; empty if there is none."""
        found: dict[str, str] = self.ask("HGETALL", f"{prefix_of('trail', partition)}:state")
        return found

    def lose_everything(self, events: Events, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Have 300 events settled, then kill the server, and start it again without its data."""
        events.make()
        events.fill(1, 300)
        self.reach(300)
        self.server.kill()
        meanwhile()
        self.server.lose_everything()
        self.server.start()

    def reach(self, position: int) -> None:
        """Wait until everything up to a sequence is settled."""
        wait_until(f"position {position}", lambda: self.state().get("position") == str(position))

    def trail(self) -> dict[str, list[int]]:
        """Return the model, and check that both of its halves agree."""
        keys = self.ask("KEYS", "trail:*")
        found = {key[6:]: [int(one) for one in self.ask("LRANGE", key, 0, -1)] for key in keys}
        assert {key: str(len(numbers)) for key, numbers in found.items()} == self.ask("HGETALL", "counts")
        return found

    def parked(self, partition: int = 0) -> list[tuple[str | None, str]]:
        """Return key and reason of what a partition has parked."""
        prefix = prefix_of("trail", partition)
        rows = [self.ask("HGETALL", f"{prefix}:parked:{one}") for one in self.ask("ZRANGE", f"{prefix}:parked", 0, -1)]
        return [(row.get("key"), row["reason"]) for row in rows if row]  # one may go between the two questions


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A Redis of the test's own."""
    with RedisServer(tmp_path / "redis") as server:
        yield World(server)


@pytest.fixture
def run(world: World, events: Events) -> Iterator[Any]:
    """Run a projection on the Redis; all are stopped at the end."""
    made: list[Running] = []

    def start(one: Definition | None = None) -> Running:
        values = {"redis.url": world.server.url, "nats.servers": (events.url,)}
        made.append(Running([one or definition()], load(None, values, environ={})))
        return made[-1]

    yield start
    for one in made:
        if one.running:
            one.stop()
