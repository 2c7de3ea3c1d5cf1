"""Materialised views are refreshed on a schedule, by one runner at a time; one that fails is told and retried."""

import asyncio
import json
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay.observe.refresh_progress import RefreshProgress
from relay.postgres.database import Database
from relay.projection import Event, Projection, Refresh, Transaction, on
from relay.projection.refresher import Refresher
from tests.integration.projection.fix_runner import Run, run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import STREAM, TABLES, Events, definition, run_sql, state, trail
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import done, relay

VIEWS = """;
CREATE MATERIALIZED VIEW lengths AS SELECT key, cardinality(numbers) AS length FROM trail;
CREATE UNIQUE INDEX ON lengths (key);
CREATE MATERIALIZED VIEW clock AS SELECT 1 AS one, clock_timestamp() AS at;
CREATE UNIQUE INDEX ON clock (one)
"""
SCHEDULE = """
[[refresh]]
view = "lengths"
every = "1s"
[[refresh]]
view = "clock"
every = "1s"
always = true
"""
LENGTHS = Refresh("lengths", 1.0)
CLOCK = Refresh("clock", 1.0, always=True)
# Divides by zero until the key `mend` is there.
FRAGILE = """;
CREATE MATERIALIZED VIEW fragile AS
SELECT count(*) AS keys, 1 / count(*) FILTER (WHERE key = 'mend') AS mended FROM trail WITH NO DATA;
CREATE UNIQUE INDEX ON fragile (keys)
"""
# Says when each refresh has begun, and takes as long as it is told to.
SLOW = """;
CREATE TABLE begun (at timestamptz NOT NULL);
CREATE TABLE pace (seconds double precision NOT NULL);
INSERT INTO pace VALUES (0);
CREATE FUNCTION slowly() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trail.begun VALUES (clock_timestamp());
    PERFORM pg_sleep(seconds) FROM trail.pace;
    RETURN (SELECT count(*) FROM trail.begun);
END $$;
CREATE MATERIALIZED VIEW slow AS SELECT slowly() AS times WITH NO DATA;
CREATE UNIQUE INDEX ON slow (times)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one projection that has two views."""
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each") + SCHEDULE, "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES + VIEWS, "utf-8")
    return tmp_path


def lengths(dsn: str) -> dict[str, int]:
    return dict(run_sql(dsn, "SELECT key, length FROM trail.lengths"))


def view(dsn: str, name: str) -> dict[str, Any]:
    """Return what is written down of a view; empty if there is nothing yet."""
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as conn:
        if conn.execute("SELECT to_regclass('projection.refreshes') AS found").fetchone() == {"found": None}:
            return {}
        return conn.execute("SELECT * FROM projection.refreshes WHERE view = %s", (name,)).fetchone() or {}


def until_ticked(dsn: str, times: int) -> None:
    """Wait until the clock was refreshed so often, by a schedule of its own."""
    for _ in range(times):
        until_newer(dsn, view(dsn, "clock")["refreshed_at"])


def until_newer(dsn: str, before: object) -> None:
    wait_until("the clock ticks", lambda: view(dsn, "clock")["refreshed_at"] != before)


def test_a_view_is_refreshed_after_events_and_not_without_and_the_status_says_how_old_it_is(
    empty_database: str, events: Events, folder: Path
) -> None:
    events.make()
    checked = done(empty_database, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
    assert "no fault" in checked.stderr
    events.send((1, "a"), (2, "b"), (3, "a"))
    with run_by_command(empty_database, events.url, folder):
        wait_until("it is refreshed", lambda: state(empty_database) and lengths(empty_database) == {"a": 2, "b": 1})
        events.send((4, "c"))
        wait_until("again", lambda: lengths(empty_database) == {"a": 2, "b": 1, "c": 1})
        last = view(empty_database, "lengths")
        until_ticked(empty_database, 3)
        assert view(empty_database, "lengths") == last
        assert (last["applied"], last["failures"], last["every_s"]) == (4, 0, 1.0)
        (line,) = done(empty_database, "projection", "status", "trail", "--output", "json").stdout.splitlines()
        clock, shown = json.loads(line)["refreshes"]
        assert (clock["view"], shown["view"], shown["failures"], shown["error"]) == ("clock", "lengths", 0, None)
        assert shown["refreshed_at"] == pytest.approx(last["refreshed_at"].timestamp())
        assert shown["took_s"] == pytest.approx(last["took_s"]) and 0 < shown["took_s"] < 10
        table = done(empty_database, "projection", "status", "trail").stdout
        assert "VIEW" in table and "lengths" in table


class Counts(Projection):
    """As many rows as keys, and a view of the whole that begins without data."""

    name, stream, subjects = "counts", STREAM, ["orders.>"]
    tables = """
    CREATE TABLE counts (key text PRIMARY KEY, count bigint NOT NULL);
    CREATE MATERIALIZED VIEW total AS SELECT 1 AS one, sum(count)::bigint AS events FROM counts WITH NO DATA;
    CREATE UNIQUE INDEX ON total (one);
    """
    refreshes = (Refresh("total", every_s=1),)

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Count one more."""
        query = "INSERT INTO counts VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET count = counts.count + 1"
        await tx.execute(query, [event.key])


def test_a_class_has_views_too_and_one_without_data_is_filled(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    running(empty_database, events.url, Counts)
    wait_until("it can be read", lambda: view(empty_database, "total").get("refreshed_at") is not None)
    events.send((1, "a"), (2, "a"), (3, "b"))
    wait_until("it is right", lambda: run_sql(empty_database, "SELECT events FROM counts.total") == [(3,)])


def test_a_view_is_refreshed_by_no_runner_while_another_one_does_it(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"))
    one = definition(tables=TABLES + VIEWS, refreshes=(LENGTHS, CLOCK))
    running(empty_database, events.url, one)
    wait_until("it is refreshed", lambda: state(empty_database) and lengths(empty_database) == {"a": 1})
    with psycopg.connect(empty_database) as conn:
        conn.execute("SELECT FROM projection.refreshes WHERE view = 'lengths' FOR UPDATE")
        events.send((2, "a"))
        wait_until("the event is applied", lambda: trail(empty_database) == {"a": [1, 2]})
        until_ticked(empty_database, 3)
        assert lengths(empty_database) == {"a": 1}
        assert view(empty_database, "lengths")["failures"] == 0
    wait_until("it is our turn", lambda: lengths(empty_database) == {"a": 2})


def test_two_runners_keep_one_schedule(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    one = definition(tables=TABLES + SLOW, refreshes=(Refresh("slow", 1.0, always=True),))
    running(empty_database, events.url, one)
    running(empty_database, events.url, one)
    count = "SELECT count(*) FROM trail.begun"
    wait_until("it was refreshed often", lambda: state(empty_database) and run_sql(empty_database, count)[0][0] >= 6)
    begun = [at for (at,) in run_sql(empty_database, "SELECT at FROM trail.begun ORDER BY at")]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(begun)]
    # The schedule goes by the beginning of the transaction, and this by that of the query.
    assert min(gaps) > 0.8, gaps
    assert view(empty_database, "slow")["failures"] == 0


# Whoever reads the state of projections waits for the lock, and has it until its transaction ends.
ONE_BY_ONE = """
ALTER TABLE projection.state RENAME TO state_of_all;
CREATE VIEW projection.state AS
SELECT one.* FROM projection.state_of_all one CROSS JOIN LATERAL (SELECT pg_advisory_xact_lock(length(one.name))) turn
"""


def test_a_look_that_began_before_another_runner_had_refreshed_does_not_do_it_again(
    empty_database: str, events: Events, running: Run
) -> None:
    async def look() -> float:
        refresh = Refresh("slow", 600.0, always=True)
        async with Database(empty_database, "refresh", connect_timeout_s=5, statement_timeout_s=30) as database:
            return await Refresher(database, one, refresh, RefreshProgress())._look()

    async def two_looks(holder: "psycopg.Connection[Any]") -> None:
        looks = [asyncio.create_task(look()) for _ in range(2)]
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

        def both_wait_or_one_is_done() -> bool:
            return any(one.done() for one in looks) or holder.execute(waiting).fetchone() == (2,)

        await asyncio.to_thread(wait_until, "both look", both_wait_or_one_is_done)
        holder.execute("SELECT pg_advisory_unlock(length('trail'))")
        await asyncio.gather(*looks)

    events.make()
    one = definition(tables=TABLES + SLOW)
    first = running(empty_database, events.url, one)
    wait_until("it is made", lambda: state(empty_database).get("position") is not None)
    first.stop()
    run_sql(empty_database, ONE_BY_ONE)
    with psycopg.connect(empty_database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(length('trail'))")
        asyncio.run(two_looks(holder))
    assert run_sql(empty_database, "SELECT count(*) FROM trail.begun") == [(1,)]


def test_a_view_that_fails_is_told_and_tried_again_and_the_projection_goes_on(
    empty_database: str, events: Events, tmp_path: Path
) -> None:
    (tmp_path / "trail.toml").write_text(
        FILE.replace("MODE", "each") + '[[refresh]]\nview = "fragile"\nevery = "1s"\n', "utf-8"
    )
    (tmp_path / "trail.sql").write_text(TABLES + FRAGILE, "utf-8")
    events.make()
    events.send((1, "a"))
    log = tmp_path / "log"
    with run_by_command(empty_database, events.url, tmp_path, log=log):
        wait_until("it is tried again", lambda: view(empty_database, "fragile").get("failures", 0) >= 2)
        (line,) = done(empty_database, "projection", "status", "trail", "--output", "json").stdout.splitlines()
        (shown,) = json.loads(line)["refreshes"]
        assert "division by zero" in shown["error"] and shown["refreshed_at"] is None
        assert "division by zero" in done(empty_database, "projection", "status", "trail").stdout
        events.send((2, "mend"))
        wait_until("it is applied", lambda: trail(empty_database) == {"a": [1], "mend": [2]})
        wait_until("it is refreshed", lambda: view(empty_database, "fragile")["error"] is None)
        assert run_sql(empty_database, "SELECT keys, mended FROM trail.fragile") == [(2, 1)]
        assert view(empty_database, "fragile")["failures"] == 0
    actions = [json.loads(line)["action"] for line in log.read_text("utf-8").splitlines()]
    assert actions.count("projection.refresh_failed") == 1
    assert actions.count("projection.refreshed") == 1


def test_a_runner_that_is_killed_in_a_refresh_leaves_it_to_another_one(
    empty_database: str, events: Events, tmp_path: Path, running: Run
) -> None:
    events.make()
    one = definition(tables=TABLES + SLOW, refreshes=(Refresh("slow", 1.0, always=True),))
    (tmp_path / "trail.toml").write_text(
        FILE.replace("MODE", "each") + '[[refresh]]\nview = "slow"\nevery = "1s"\nalways = true\n', "utf-8"
    )
    (tmp_path / "trail.sql").write_text(TABLES + SLOW.replace("VALUES (0)", "VALUES (300)"), "utf-8")
    command = [sys.executable, "-m", "relay", "projection", "run", str(tmp_path), "--server", events.url]
    working = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'REFRESH%%'"
    with subprocess.Popen(command, env={"RELAY_POSTGRES__DSN": empty_database, "PATH": ""}) as process:
        try:
            wait_until("it refreshes", lambda: run_sql(empty_database, working) != [])
        finally:
            process.send_signal(signal.SIGKILL)
    run_sql(empty_database, "UPDATE trail.pace SET seconds = 0")
    running(empty_database, events.url, one)
    wait_until("another one has done it", lambda: view(empty_database, "slow")["refreshed_at"] is not None, 60)


def test_check_says_which_view_cannot_be_refreshed(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    tables = TABLES + VIEWS.replace("CREATE UNIQUE INDEX ON lengths (key);", "").replace("VIEW clock", "VIEW watch")
    (folder / "trail.sql").write_text(tables.replace("ON clock", "ON watch"), "utf-8")
    found = relay(empty_database, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
    assert found.exit_code == 8
    assert "lengths needs a unique index of plain columns" in found.stdout
    assert "there is no materialised view trail.clock" in found.stdout


def test_an_older_layout_is_brought_up_to_date_and_a_view_that_is_refreshed_no_more_is_forgotten(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    one = definition(tables=TABLES + VIEWS, refreshes=(LENGTHS, CLOCK))
    first = running(empty_database, events.url, one)
    wait_until("the clock runs", lambda: view(empty_database, "clock").get("refreshed_at") is not None)
    first.stop()
    run_sql(empty_database, "DROP TABLE projection.refreshes")
    run_sql(empty_database, "COMMENT ON SCHEMA projection IS 'relay projection, layout 2'")
    second = running(empty_database, events.url, one)
    wait_until("the clock runs", lambda: view(empty_database, "clock").get("refreshed_at") is not None)
    second.stop()
    running(empty_database, events.url, definition(tables=TABLES + VIEWS, refreshes=(LENGTHS,)))
    wait_until("it is forgotten", lambda: view(empty_database, "clock") == {})
    assert view(empty_database, "lengths") != {}
