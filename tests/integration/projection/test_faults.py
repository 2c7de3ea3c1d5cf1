"""Faults from outside, on real servers: the model is the fold of the stream, or the projection stopped and says why."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis import Redis

from relay.config.settings import load
from relay.demo.redis_server import RedisServer
from relay.demo.servers import PostgresServer
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_redis import World
from tests.integration.projection.fix_redis import definition as redis_definition
from tests.integration.projection.fix_runner import Run, Running
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import (
    STREAM,
    TABLES,
    Events,
    definition,
    filled,
    run_sql,
    state,
    trail,
    waits,
)
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import wait_until

# How the server answers a COMMIT; the client's own message has another beginning.
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT"


def reach(dsn: str, position: int) -> None:
    """Wait until everything up to a sequence is settled."""
    wait_until(f"position {position}", lambda: state(dsn).get("position") == position, 60)


def reach_or_pass(dsn: str, position: int) -> None:
    wait_until(f"position {position} or more", lambda: state(dsn).get("position", 0) >= position, 60)


@contextlib.contextmanager
def process(folder: Path, dsn: str, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the projection by command; what is left of it is killed."""
    (folder / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (folder / "trail.sql").write_text(TABLES, "utf-8")
    command = [sys.executable, "-m", "relay", "projection", "run", str(folder), "--server", url, "--http-port", "0"]
    with subprocess.Popen(command, env={"RELAY_POSTGRES__DSN": dsn, "PATH": ""}) as runner:
        try:
            yield runner
        finally:
            runner.kill()


def test_a_runner_that_is_stopped_over_its_lease_is_replaced_and_changes_nothing_when_it_wakes(
    empty_database: str, events: Events, running: Run, tmp_path: Path
) -> None:
    events.make()
    events.fill(1, 50)
    with process(tmp_path, empty_database, events.url) as frozen:
        reach(empty_database, 50)
        owner = state(empty_database)["owner"]
        # It has the next events in its hands, and cannot commit them.
        with psycopg.connect(empty_database) as conn:
            conn.execute("LOCK TABLE trail.trail IN EXCLUSIVE MODE")
            events.fill(51, 50)
            waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
            wait_until("it waits for the table", lambda: run_sql(empty_database, waiting) != [])
            frozen.send_signal(signal.SIGSTOP)
        # Its transaction holds the row of the state until the server ends it.
        running(empty_database, events.url, definition())
        wait_until("another one owns it", lambda: state(empty_database)["owner"] not in (owner, None), 60)
        reach(empty_database, 100)
        events.fill(101, 50)
        reach(empty_database, 150)
        frozen.send_signal(signal.SIGCONT)
        events.fill(151, 50)
        reach(empty_database, 200)
        assert trail(empty_database) == filled(1, 200)
        assert state(empty_database)["applied"] == 200


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET])
def test_answers_to_commits_that_are_lost_on_the_way_repeat_nothing(
    empty_database: str, events: Events, running: Run, proxy: Callable[[int], Proxy], mode: Mode
) -> None:
    events.make()
    way = proxy(int(str(conninfo_to_dict(empty_database)["port"])))
    running(make_conninfo(empty_database, host="127.0.0.1", port=way.port), events.url, definition(mode=mode))
    events.fill(1, 10)
    reach(empty_database, 10)
    way.deadly = COMMITTED
    for first in (11, 21, 31):
        events.fill(first, 10)
        reach(empty_database, first + 9)
    way.deadly = b""
    events.fill(41, 10)
    reach(empty_database, 50)
    assert trail(empty_database) == filled(1, 50)
    assert (state(empty_database)["applied"], state(empty_database)["repeats"]) == (50, 0)


def test_a_database_that_was_set_back_is_brought_up_to_date_again(
    own_postgres: PostgresServer, events: Events, running: Run, tmp_path: Path
) -> None:
    dsn = own_postgres.dsn()
    events.make()
    events.fill(1, 100)
    running(dsn, events.url, definition())
    reach(dsn, 100)
    own_postgres.stop()
    shutil.copytree(own_postgres.data, tmp_path / "copy")
    own_postgres.start()
    events.fill(101, 100)
    reach(dsn, 200)
    own_postgres.stop("immediate")
    shutil.rmtree(own_postgres.data)
    shutil.copytree(tmp_path / "copy", own_postgres.data)
    own_postgres.start()
    events.fill(201, 20)
    reach(dsn, 220)
    assert trail(dsn) == filled(1, 220)
    assert state(dsn)["applied"] == 220


def test_a_database_that_is_killed_loses_position_and_effects_together(
    own_postgres: PostgresServer, events: Events, running: Run
) -> None:
    dsn = own_postgres.dsn()
    events.make()
    events.fill(1, 2_000)
    running(dsn, events.url, definition())
    for first in (2_001, 2_201, 2_401):
        reach_or_pass(dsn, first - 2_000)
        own_postgres.kill()
        events.fill(first, 200)
        own_postgres.start()
    reach(dsn, 2_600)
    assert trail(dsn) == filled(1, 2_600)
    assert state(dsn)["applied"] == 2_600


def test_what_is_purged_ahead_of_a_reader_that_runs_stops_it_at_the_gap(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 10)
    running(empty_database, events.url, definition())
    reach(empty_database, 10)
    with psycopg.connect(empty_database) as conn:
        # It reads ahead for as long, and no more than its requests ask for.
        conn.execute("LOCK TABLE trail.trail IN EXCLUSIVE MODE")
        events.fill(11, 5_000)
        events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 5_001})
    wait_until("it has stopped", lambda: state(empty_database)["status"] == "stopped")
    settled = state(empty_database)["position"]
    assert 10 < settled < 5_000
    assert f"no longer holds sequences {settled + 1} to 5000" in state(empty_database)["error"]
    assert trail(empty_database) == filled(1, settled)


def test_a_right_that_is_revoked_while_it_runs_is_waited_for_and_parks_nothing(
    empty_database: str, events: Events, running: Run
) -> None:
    role = str(conninfo_to_dict(empty_database)["dbname"])
    run_sql(empty_database, f"CREATE ROLE {role}_runner LOGIN")
    run_sql(empty_database, f"GRANT CREATE ON DATABASE {role} TO {role}_runner")
    try:
        events.make()
        events.fill(1, 10)
        one = running(make_conninfo(empty_database, user=f"{role}_runner"), events.url, definition())
        reach(empty_database, 10)
        run_sql(empty_database, f"REVOKE INSERT ON trail.trail FROM {role}_runner")
        events.fill(11, 10)
        assert "permission denied for table trail: GRANT it to this login" in waits(empty_database)
        assert state(empty_database)["position"] == 10
        run_sql(empty_database, f"GRANT INSERT ON trail.trail TO {role}_runner")
        reach(empty_database, 20)
        assert trail(empty_database) == filled(1, 20)
        assert run_sql(empty_database, "SELECT 1 FROM projection.parked") == []
        one.stop()
    finally:
        run_sql(empty_database, f"DROP OWNED BY {role}_runner CASCADE")
        run_sql(empty_database, f"DROP ROLE {role}_runner")


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[tuple[World, World]]:
    """A Redis, and a replica of it."""
    with RedisServer(tmp_path / "primary") as primary:
        follow = {"replicaof": f"127.0.0.1 {primary.port}", "repl-diskless-sync-delay": "0"}
        with RedisServer(tmp_path / "replica", settings=follow) as replica:
            with Redis(port=replica.port, decode_responses=True) as redis:
                wait_until("it follows", lambda: redis.info("replication")["master_link_status"] == "up")
            yield World(primary), World(replica)


@pytest.fixture
def address(replicated: tuple[World, World], events: Events, tmp_path: Path) -> Iterator[Path]:
    """Return the file that tells a runner which of the two to use: the first; 100 events are applied on both."""
    file = tmp_path / "redis.url"
    file.write_text(replicated[0].server.url, "utf-8")
    events.make()
    events.fill(1, 100)
    settings = load(None, {"redis.url_file": str(file), "nats.servers": (events.url,)}, environ={})
    runner = Running([redis_definition()], settings)
    try:
        for one in replicated:
            one.reach(100)
        yield file
    finally:
        runner.stop()


def test_a_replica_that_is_promoted_without_the_last_writes_gets_them_again(
    replicated: tuple[World, World], events: Events, address: Path
) -> None:
    primary, replica = replicated
    # It is cut off from now on: what the primary still confirms is lost.
    replica.ask("REPLICAOF", "NO", "ONE")
    events.fill(101, 100)
    primary.reach(200)
    address.write_text(replica.server.url, "utf-8")
    primary.server.kill()
    events.fill(201, 50)
    replica.reach(250)
    assert replica.trail() == filled(1, 250)
    assert (replica.state()["applied"], replica.state()["repeats"]) == ("250", "0")
    assert replica.parked() == []


def test_a_replica_that_is_not_promoted_yet_is_waited_for(
    replicated: tuple[World, World], events: Events, address: Path
) -> None:
    primary, replica = replicated
    address.write_text(replica.server.url, "utf-8")
    primary.server.kill()
    events.fill(101, 50)
    refused = {"errorstat_READONLY", "errorstat_ERR"}
    wait_until("it refuses writes", lambda: refused & set(replica.ask("INFO", "errorstats")))
    assert replica.state()["position"] == "100"
    replica.ask("REPLICAOF", "NO", "ONE")
    replica.reach(150)
    assert replica.trail() == filled(1, 150)
    assert replica.parked() == []
