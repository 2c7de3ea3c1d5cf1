"""A runner whose process has provably ended is not waited for, and its lease is."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from relay.config.settings import load
from relay.demo.redis_server import RedisServer
from relay.demo.servers import free_port
from relay.projection.in_redis.ledger import prefix_of
from tests.integration.projection.fix_redis import TRAIL, World
from tests.integration.projection.fix_redis import definition as redis_definition
from tests.integration.projection.fix_runner import Run, Running
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import STREAM, TABLES, Events, definition, filled, run_sql, state, trail
from tests.support.fix_relay import Relay, holds_for, wait_until

HOUR = "UPDATE projection.state SET lease_until = clock_timestamp() + interval '1 hour'"


def settled(dsn: str, position: int) -> bool:
    return bool(state(dsn).get("position") == position)


@pytest.fixture
def start(tmp_path: Path, events: Events) -> Iterator[Callable[..., Relay]]:
    """Start a runner of its own process by command: ``start(RELAY_POSTGRES__DSN=...)``."""
    made: list[Relay] = []

    def one(**settings: str) -> Relay:
        known = {"RELAY_NATS__SERVERS": events.url, "RELAY_PROJECTION_HTTP__PORT": "0"}
        known |= {"RELAY_HTTP__PORT": str(free_port()), "RELAY_LOG__FORMAT": "json"}
        made.append(Relay(tmp_path, {**known, **settings}, ("projection", "run", str(tmp_path / "trail.toml"))))
        return made[-1].start()

    yield one
    for runner in made:
        runner.end()


@pytest.fixture
def by_command(tmp_path: Path, empty_database: str, start: Callable[..., Relay]) -> Callable[[], Relay]:
    """Start the projection of the tests, kept in PostgreSQL."""
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    return partial(start, RELAY_POSTGRES__DSN=empty_database)


@pytest.mark.parametrize("waits", [True, False], ids=["by one that waits", "by one that starts"])
def test_one_that_was_killed_is_replaced_though_its_lease_is_an_hour(
    empty_database: str, events: Events, running: Run, by_command: Callable[[], Relay], waits: bool
) -> None:
    events.make()
    events.fill(1, 50)
    killed = by_command()
    wait_until("it has applied them", lambda: settled(empty_database, 50))
    owner = state(empty_database)["owner"]
    if waits:
        running(empty_database, events.url, definition())
    killed.kill()
    run_sql(empty_database, HOUR)
    events.fill(51, 50)
    if not waits:
        by_command()
    wait_until("another one has applied the others", lambda: settled(empty_database, 100))
    assert trail(empty_database) == filled(1, 100)
    assert state(empty_database)["owner"] != owner


def test_one_whose_place_is_not_known_is_waited_for(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    first = running(empty_database, events.url, definition())
    wait_until("it is claimed", lambda: state(empty_database).get("owner") is not None)
    first.stop()
    run_sql(empty_database, f"{HOUR}, owner = 'another-host-1'")
    events.fill(1, 5)
    running(empty_database, events.url, definition())
    holds_for(3.0, "it is waited for", lambda: state(empty_database)["owner"] == "another-host-1")


def test_one_of_this_process_is_waited_for(empty_database: str, events: Events, running: Run) -> None:
    """Its process lives, so nothing is known of a run of it."""
    events.make()
    running(empty_database, events.url, definition())
    wait_until("it is claimed", lambda: state(empty_database).get("owner") is not None)
    owner = state(empty_database)["owner"]
    running(empty_database, events.url, definition())
    holds_for(3.0, "it keeps the partition", lambda: state(empty_database)["owner"] == owner)
    assert state(empty_database)["epoch"] == 1


def test_in_redis_one_that_was_killed_is_replaced_though_its_lease_is_an_hour(
    events: Events, start: Callable[..., Relay], tmp_path: Path
) -> None:
    (tmp_path / "trail.toml").write_text(
        f'[projection]\nname = "trail"\nstream = "{STREAM}"\nsubjects = ["orders.>"]\nstore = "redis"\n'
        f"[[on]]\ntopic = \"orders.>\"\nlua = '''{TRAIL}'''\n",
        "utf-8",
    )
    events.make()
    events.fill(1, 50)
    with RedisServer(tmp_path / "redis") as server:
        world = World(server)
        killed = start(RELAY_REDIS__URL=server.url, RELAY_POSTGRES__DSN="postgresql://localhost:1/none")
        world.reach(50)
        settings = load(None, {"redis.url": server.url, "nats.servers": (events.url,)}, environ={})
        waiting = Running([redis_definition()], settings)
        try:
            killed.kill()
            seconds = int(world.ask("TIME")[0])
            world.ask("HSET", f"{prefix_of('trail', 0)}:state", "lease_until", (seconds + 3600) * 1000)
            events.fill(51, 50)
            world.reach(100)
            assert world.trail() == filled(1, 100)
        finally:
            waiting.stop()
