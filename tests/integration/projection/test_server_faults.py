"""Faults of a cluster's leader, of a standby, behind a pooler, and of a disk: the model is the fold, or it waits."""

import errno
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import PostgresServer
from relay.projection.waiting import Answer, Token, wait_applied
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.test_faults import process, reach
from tests.integration.projection.world import STREAM, TABLES, Events, definition, filled, run_sql, state, trail
from tests.support.backends import SETTINGS
from tests.support.fix_cluster import Cluster
from tests.support.fix_pgbouncer import MakePooler
from tests.support.fix_relay import wait_until
from tests.support.fix_rights import LOGIN
from tests.support.fix_standby import base_backup

_DISK_BYTES = 4 * 1024 * 1024
_PIECE = b"\0" * 65_536


# --- NATS


def _step_down(cluster: Cluster) -> None:
    cluster.step_down(STREAM)
    cluster.settled(STREAM)


def _kill_the_leader(cluster: Cluster) -> None:
    leader = cluster.settled(STREAM)
    leader.kill()
    wait_until("another one leads", lambda: cluster.leader(STREAM) not in (None, leader))
    leader.start()
    cluster.settled(STREAM)


def _freeze_the_leader(cluster: Cluster) -> None:
    leader = cluster.settled(STREAM)
    leader.pause()
    try:
        wait_until("another one leads", lambda: cluster.leader(STREAM) not in (None, leader), 60)
    finally:
        leader.resume()
    cluster.settled(STREAM)


@pytest.mark.parametrize("change", [_step_down, _kill_the_leader, _freeze_the_leader])
def test_while_the_streams_leader_changes_no_event_is_missed_applied_twice_or_out_of_order(
    empty_database: str, cluster: Cluster, running: Run, change: Callable[[Cluster], None]
) -> None:
    cluster.make(STREAM, "orders.>")
    running(empty_database, cluster.urls, definition())
    filled_up_to = 0
    for _ in range(3):
        streams = cluster.streams()
        # The runner reads these while the leader goes.
        Events(streams, streams.url).fill(filled_up_to + 1, 1_500)
        filled_up_to += 1_500
        change(cluster)
    reach(empty_database, filled_up_to)
    assert trail(empty_database) == filled(1, filled_up_to)
    assert state(empty_database)["applied"] == filled_up_to


# --- A pooler


def test_behind_a_pooler_of_transactions_a_frozen_runner_is_replaced_and_changes_nothing_when_it_wakes(
    own_postgres: PostgresServer, pooler: MakePooler, events: Events, running: Run, tmp_path: Path
) -> None:
    dsn = own_postgres.dsn()
    through = pooler(own_postgres, "transaction").replace(LOGIN, "postgres")
    events.make()
    events.fill(1, 50)
    with process(tmp_path, through, events.url) as frozen:
        reach(dsn, 50)
        owner = state(dsn)["owner"]
        with psycopg.connect(dsn) as conn:
            conn.execute("LOCK TABLE trail.trail IN EXCLUSIVE MODE")
            events.fill(51, 50)
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'relation'"
            wait_until("it waits for the table", lambda: run_sql(dsn, waiting) != [])
            frozen.send_signal(signal.SIGSTOP)
        running(through, events.url, definition())
        wait_until("another one owns it", lambda: state(dsn)["owner"] not in (owner, None), 60)
        reach(dsn, 100)
        frozen.send_signal(signal.SIGCONT)
        events.fill(101, 50)
        reach(dsn, 150)
    assert trail(dsn) == filled(1, 150)
    assert state(dsn)["applied"] == 150


# --- A standby


@pytest.fixture
def standby(own_postgres: PostgresServer, tmp_path: Path) -> Iterator[PostgresServer]:
    """A standby of `own_postgres` that follows it."""
    one = PostgresServer(tmp_path / "standby", settings=SETTINGS)
    one.directory.mkdir()
    base_backup(own_postgres, one.data)
    with one:
        yield one


def _waited(dsn: str, seq: int) -> Answer:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return wait_applied(conn, "trail", Token("", seq), 0.2)[0]


def test_a_replica_that_lags_shows_a_fold_up_to_its_own_position_and_answers_for_no_event_that_it_lacks(
    own_postgres: PostgresServer, standby: PostgresServer, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 50)
    running(own_postgres.dsn(), events.url, definition())
    reach(own_postgres.dsn(), 50)
    reach(standby.dsn(), 50)
    run_sql(standby.dsn(), "SELECT pg_wal_replay_pause()")
    wait_until(
        "it is paused", lambda: run_sql(standby.dsn(), "SELECT pg_get_wal_replay_pause_state()") == [("paused",)]
    )
    events.fill(51, 500)
    reach(own_postgres.dsn(), 550)
    assert (_waited(own_postgres.dsn(), 550), _waited(standby.dsn(), 550)) == (Answer.APPLIED, Answer.TIMED_OUT)
    assert trail(standby.dsn()) == filled(1, 50)
    run_sql(standby.dsn(), "SELECT pg_wal_replay_resume()")
    wait_until("it says so", lambda: _waited(standby.dsn(), 550) is Answer.APPLIED)
    assert trail(standby.dsn()) == filled(1, 550)


def test_a_replica_that_is_promoted_without_the_last_commits_gets_their_events_again(
    own_postgres: PostgresServer, standby: PostgresServer, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 50)
    both = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{own_postgres.port}/postgres"
    running(both, events.url, definition())
    reach(own_postgres.dsn(), 50)
    reach(standby.dsn(), 50)
    run_sql(own_postgres.dsn(), "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    run_sql(standby.dsn(), "ALTER SYSTEM SET primary_conninfo = ''")
    run_sql(standby.dsn(), "SELECT pg_reload_conf()")
    wait_until("it follows no more", lambda: run_sql(standby.dsn(), "SELECT 1 FROM pg_stat_wal_receiver") == [])
    events.fill(51, 100)
    reach(own_postgres.dsn(), 150)
    own_postgres.kill()
    assert state(standby.dsn())["position"] == 50
    run_sql(standby.dsn(), "SELECT pg_promote(true, 20)")
    events.fill(151, 50)
    reach(standby.dsn(), 200)
    assert trail(standby.dsn()) == filled(1, 200)
    assert state(standby.dsn())["applied"] == 200


# --- A disk


class SmallDisk:
    """A PostgreSQL that sees a file system in memory of a few MB, which ends with it.

    Args:
        directory: Where the server's files go.
    """

    def __init__(self, directory: Path) -> None:
        self.mounted = directory / "small"
        self.mounted.mkdir(parents=True)
        real = PostgresServer(directory / "unused").binaries
        binaries = directory / "bin"
        binaries.mkdir()
        (binaries / "initdb").symlink_to(real / "initdb")
        # A namespace that may mount, and in it one that is not root: PostgreSQL refuses to be that.
        script = binaries / "postgres"
        script.write_text(
            f"""#!/bin/sh
exec unshare --user --map-root-user --mount sh -c '
    mount -t tmpfs -o size={_DISK_BYTES},mode=700 tmpfs "{self.mounted}" &&
    exec unshare --user --map-user=1000 --map-group=1000 -- "{real}/postgres" "$@"' postgres "$@"
""",
            "utf-8",
        )
        script.chmod(0o755)
        self.postgres = PostgresServer(directory / "postgres", binaries=binaries)

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self.postgres.pid}/root{self.mounted}/ballast")

    def fill(self) -> None:
        """Take all the room that is left."""
        with pytest.raises(OSError, check=lambda error: error.errno == errno.ENOSPC):
            self._write_for_ever()

    def _write_for_ever(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            while ballast.write(_PIECE):
                pass

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


def test_a_disk_that_is_full_is_waited_for_and_parks_nothing(events: Events, running: Run, tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path)
    with disk.postgres as server:
        dsn = server.dsn()
        run_sql(dsn, f"CREATE TABLESPACE small LOCATION '{disk.mounted}'")
        events.make()
        events.fill(1, 100)
        running(dsn, events.url, definition(tables=f"{TABLES} TABLESPACE small"))
        reach(dsn, 100)
        disk.fill()
        # More than fits into the page that is begun.
        events.fill(101, 3_000, keys=3_000)
        wait_until("it waits", lambda: state(dsn)["status"] == "waiting", 60)
        assert "No space left on device" in state(dsn)["error"] or "could not extend file" in state(dsn)["error"]
        assert run_sql(dsn, "SELECT count(*) FROM projection.parked") == [(0,)]
        disk.free()
        reach(dsn, 3_100)
        few, many = filled(1, 100), filled(101, 3_000, keys=3_000)
        assert trail(dsn) == {key: few.get(key, []) + numbers for key, numbers in many.items()}
        assert state(dsn)["applied"] == 3_100
