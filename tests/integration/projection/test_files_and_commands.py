"""Projections of TOML and SQL, and the commands around them, on real servers."""

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.integration.projection.fix_runner import run_by_command
from tests.integration.projection.world import STREAM, TABLES, Events, filled, fold, run_sql, state, trail
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import done, relay

FILE = f"""
[projection]
name = "trail"
stream = "{STREAM}"
subjects = ["orders.>"]
tables = "trail.sql"

[[on]]
topic = "orders.placed"
mode = "MODE"
sql = '''
INSERT INTO trail (key, numbers) SELECT key, ARRAY[(data->>'i')::bigint] FROM event
ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers;
'''
"""

NAMED = [("stats", "stats"), ("trail", "trail"), ("twice", "trail")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one projection."""
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    return tmp_path


def test_the_commands_lead_from_the_file_to_the_repair(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    url = {"RELAY_NATS__SERVERS": events.url}
    checked = done(empty_database, "projection", "check", str(folder), **url)
    assert "1 checked, no fault" in checked.stderr
    assert run_sql(empty_database, "SELECT to_regnamespace('trail'), to_regnamespace('projection')") == [(None, None)]

    events.send((1, "a"), (2, "b"))
    events.send((3, "a"), payload={"i": "x"})
    events.send((4, "a"), (5, "b"))
    with run_by_command(empty_database, events.url, folder):
        wait_until("all is settled", lambda: state(empty_database).get("position") == 5)
        assert trail(empty_database) == fold((1, "a"), (2, "b"), (5, "b"))
        (listed,) = done(empty_database, "projection", "list", "--output", "json").stdout.splitlines()
        assert [json.loads(listed)[name] for name in ("status", "applied", "parked")] == ["running", 3, 2]
        assert "trail" in done(empty_database, "projection", "status", "trail").stdout
        lines = done(empty_database, "projection", "parked", "trail", "--output", "json").stdout.splitlines()
        assert [json.loads(line)["seq"] for line in lines] == [3, 4]
        assert "22P02" in json.loads(lines[0])["reason"]
        assert "behind" in json.loads(lines[1])["reason"]
        number = str(json.loads(lines[0])["number"])
        assert "would" in done(empty_database, "projection", "skip", "trail", "--number", number, "--dry-run").stderr
        done(empty_database, "projection", "retry", "trail", "--key", "a", "--yes")
        wanted = "SELECT 1 FROM projection.parked WHERE wanted IS NOT NULL"
        wait_until("it was tried", lambda: run_sql(empty_database, wanted) == [])
        done(empty_database, "projection", "skip", "trail", "--number", number, "--yes")
        wait_until("nothing is parked", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked") == [])
        assert trail(empty_database)["a"] == [1, 4]
        (listed,) = done(empty_database, "projection", "list", "--output", "json").stdout.splitlines()
        assert json.loads(listed)["applied"] == 4

        lines = done(empty_database, "projection", "audit", "trail", "--output", "json").stdout.splitlines()
        assert [json.loads(line)["events"] for line in lines] == [1, 2]

        done(empty_database, "projection", "pause", "trail", "--yes")
        events.send((6, "a"))
        assert '"paused"' in done(empty_database, "projection", "status", "trail", "--output", "json").stdout
        done(empty_database, "projection", "resume", "trail", "--yes")
        wait_until("it goes on", lambda: trail(empty_database)["a"] == [1, 4, 6])
    assert state(empty_database)["owner"] is None


def test_a_gap_is_told_and_may_be_accepted(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    events.fill(1, 10)
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 6})
    with run_by_command(empty_database, events.url, folder):
        wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
        told = relay(empty_database, "projection", "status", "trail")
        assert told.exit_code == 7 and "sequences 1 to 5" in told.stdout
        done(empty_database, "projection", "resume", "trail", "--accept-gap", "--yes")
        wait_until("the rest is applied", lambda: state(empty_database).get("position") == 10)


def test_a_schema_of_somebody_else_is_not_taken(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    run_sql(empty_database, "CREATE SCHEMA trail")
    done(empty_database, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
    run_sql(empty_database, "CREATE TABLE trail.invoices (id int)")
    for command in ("check", "run"):
        found = relay(empty_database, "projection", command, str(folder), RELAY_NATS__SERVERS=events.url)
        assert found.exit_code != 0
        assert "there is a schema trail already" in found.stdout + found.stderr, command
    tables = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('trail')"
    assert run_sql(empty_database, tables) == [("invoices",)]


def test_another_stream_for_a_model_that_is_there_is_refused(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    events.streams.make("OTHER", "other.>")
    events.send((1, "a"))
    with run_by_command(empty_database, events.url, folder):
        wait_until("it is settled", lambda: state(empty_database).get("position") == 1)
    text = (folder / "trail.toml").read_text("utf-8")
    (folder / "trail.toml").write_text(text.replace(STREAM, "OTHER"), "utf-8")
    for command in ("check", "run"):
        found = relay(empty_database, "projection", command, str(folder), RELAY_NATS__SERVERS=events.url)
        assert found.exit_code != 0
        assert f"stream: its model is of {STREAM}" in found.stdout + found.stderr, command
    assert state(empty_database)["position"] == 1


def test_check_finds_wrong_sql_and_a_missing_stream(empty_database: str, events: Events, folder: Path) -> None:
    (folder / "trail.sql").write_text(TABLES.replace("numbers", "other"), "utf-8")
    found = relay(empty_database, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
    assert found.exit_code == 8
    assert "on.0 (orders.placed): column" in found.stdout and "stream not found" in found.stdout


def test_each_line_of_check_names_its_file_and_projection(empty_database: str, events: Events, folder: Path) -> None:
    def checked(**env: str) -> list[str]:
        found = relay(empty_database, "projection", "check", str(folder), **env)
        assert found.exit_code == 8
        return found.stdout.splitlines()

    text = (folder / "trail.toml").read_text("utf-8")
    stats = '[projection]\nname = "stats"\nstore = "redis"\nstream = "TELEMETRY"\nsubjects = "telemetry.>"\n'
    (folder / "stats.toml").write_text(stats + '[[on]]\ntopic = "telemetry.*"\nlua = "return"\n', "utf-8")
    (folder / "twice.toml").write_text(text.replace("orders.placed", "orders.paid"), "utf-8")
    places = [f"{folder / file}.toml: projection {name}: " for file, name in NAMED]
    events.make()
    events.store([("orders.placed", {"i": 1}, {})])
    for lines in (checked(RELAY_NATS__SERVERS=events.url), checked(RELAY_NATS__SERVERS="nats://127.0.0.1:9")):
        assert [line for line in lines if not any(line.startswith(place) for place in places)] == []
        assert {place for place in places if any(line.startswith(place) for line in lines)} == set(places)
        assert f"{places[0]}[redis] url: must be set (RELAY_REDIS__URL)" in lines[1]
        assert lines[0] == f"{places[2]}is given twice, first by {folder / 'trail.toml'}"


def test_a_database_that_cannot_hold_every_key_is_refused(empty_database: str, events: Events, folder: Path) -> None:
    name = f"{conninfo_to_dict(empty_database)['dbname']}_latin"
    run_sql(empty_database, f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        events.make()
        for command in ("check", "run"):
            dsn = make_conninfo(empty_database, dbname=name)
            found = relay(dsn, "projection", command, str(folder), RELAY_NATS__SERVERS=events.url)
            assert found.exit_code != 0, found.output
            assert "projection trail: the database has the encoding LATIN1" in found.output
    finally:
        run_sql(empty_database, f"DROP DATABASE {name}")


@pytest.mark.denials
def test_a_login_that_may_make_no_schema_is_told_what_it_takes(
    empty_database: str, events: Events, folder: Path
) -> None:
    role = f"{conninfo_to_dict(empty_database)['dbname']}_other"
    run_sql(empty_database, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        events.make()
        dsn = make_conninfo(empty_database, user=role, password="x")
        found = relay(dsn, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
        assert found.exit_code == 8, found.output
        assert "permission denied for database" in found.stdout
        assert "a runner needs CREATE on the database" in found.stdout
    finally:
        run_sql(empty_database, f"DROP ROLE {role}")


def test_a_projection_that_is_not_there_is_said(empty_database: str) -> None:
    for args in (["status", "nobody"], ["list"], ["parked", "nobody"], ["pause", "nobody"]):
        found = relay(empty_database, "projection", *args)
        assert found.exit_code == 1 and "no projection" in found.stderr, args


def test_check_says_what_run_would_refuse(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    events.fill(1, 1)
    env = {"RELAY_NATS__SERVERS": events.url}
    with run_by_command(empty_database, events.url, folder):
        wait_until("it is applied", lambda: state(empty_database).get("position") == 1)
    done(empty_database, "projection", "check", str(folder), **env)
    text = (folder / "trail.toml").read_text("utf-8")
    (folder / "trail.toml").write_text(text.replace("tables =", "version = 2\ntables ="), "utf-8")
    for command_name in ("check", "run"):
        refused = relay(empty_database, "projection", command_name, str(folder), **env)
        assert "version: its model is of version 1" in refused.output, command_name
        assert refused.exit_code != 0, command_name


def test_a_dropped_schema_is_refused_at_the_start_and_built_again_once_it_is_forgotten(
    empty_database: str, events: Events, folder: Path
) -> None:
    events.make()
    events.fill(1, 5)
    env = {"RELAY_NATS__SERVERS": events.url}
    with run_by_command(empty_database, events.url, folder):
        wait_until("it is applied", lambda: state(empty_database).get("position") == 5)
        owned = relay(empty_database, "projection", "forget", "trail", "--yes")
        assert (owned.exit_code, "stop it first" in owned.stderr) == (1, True)
    run_sql(empty_database, "DROP SCHEMA trail CASCADE")
    for command_name in ("check", "run"):
        refused = relay(empty_database, "projection", command_name, str(folder), **env)
        assert "its schema was dropped" in refused.output, command_name
        assert refused.exit_code != 0, command_name
    done(empty_database, "projection", "forget", "trail", "--yes")
    assert relay(empty_database, "projection", "status", "trail").exit_code == 1
    with run_by_command(empty_database, events.url, folder):
        wait_until("it is built again", lambda: state(empty_database).get("position") == 5)
    assert trail(empty_database) == filled(1, 5)
    assert '"forget"' in done(empty_database, "projection", "audit", "--output", "json").stdout


def test_check_tells_of_headers_that_the_relay_does_not_send(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    env = {"RELAY_NATS__SERVERS": events.url}
    without: dict[str, Any] = {"Outbox-Created-At": None}
    events.send((1, "a"), **without)
    partly = done(empty_database, "projection", "check", str(folder), **env)
    told = "projection trail: the newest message of orders.placed, sequence 1, carries no Outbox-Created-At"
    assert f"warning: {folder / 'trail.toml'}: {told}" in partly.stderr
    events.streams.publish("orders.placed", {"i": 2})
    refused = relay(empty_database, "projection", "check", str(folder), **env)
    assert refused.exit_code == 8
    assert "sequence 2, carries no Outbox-Key, no Outbox-Seq, no Outbox-Created-At" in refused.stdout
    assert "RELAY_HEADERS__KEY=true RELAY_HEADERS__SEQ=true RELAY_HEADERS__CREATED_AT=true" in refused.stdout
    events.send((3, "a"), **{"Outbox-Created-At": "2026-01-01T00:00:00+00:00"})
    assert "warning" not in done(empty_database, "projection", "check", str(folder), **env).stderr


def test_a_runner_warns_once_of_events_without_a_key(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    events.streams.publish("orders.placed", {"i": 1})
    with run_by_command(empty_database, events.url, folder, log=folder / "log"):
        wait_until("it is settled", lambda: state(empty_database).get("position") == 1)
        events.streams.publish("orders.placed", {"i": 2})
        wait_until("the next one, too", lambda: state(empty_database).get("position") == 2)
    assert (folder / "log").read_text("utf-8").count("projection.keyless") == 1


CLASS = f"""
from relay.projection import Event, Projection, Transaction, on


class Count(Projection):
    name, stream, subjects = "counted", "{STREAM}", ["orders.>"]
    tables = "CREATE TABLE counted (key text PRIMARY KEY, events bigint NOT NULL)"

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        await tx.execute(
            "INSERT INTO counted VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET events = counted.events + 1",
            [event.key],
        )
"""


def test_a_folder_and_a_class_are_checked_and_run_by_one_command(
    empty_database: str, events: Events, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "count_of_events.py").write_text(CLASS, "utf-8")
    monkeypatch.chdir(folder)
    sources = (str(folder), "count_of_events:Count")
    events.make()
    events.fill(1, 14)
    checked = done(empty_database, "projection", "check", *sources, RELAY_NATS__SERVERS=events.url)
    assert "2 checked, no fault" in checked.stderr
    with run_by_command(empty_database, events.url, *sources):
        wait_until("one", lambda: state(empty_database).get("position") == 14)
        wait_until("the other", lambda: state(empty_database, "counted").get("position") == 14)
    assert trail(empty_database) == filled(1, 14)
    assert run_sql(empty_database, "SELECT DISTINCT events FROM counted.counted") == [(2,)]


def test_several_numbers_are_skipped_or_retried_by_one_command(
    empty_database: str, events: Events, folder: Path
) -> None:
    events.make()
    events.send((1, "a"), (2, "b"), (3, "c"), payload={"i": "x"})
    with run_by_command(empty_database, events.url, folder):
        wait_until("all is settled", lambda: state(empty_database).get("position") == 3)
        lines = done(empty_database, "projection", "parked", "trail", "--output", "json").stdout.splitlines()
        first, second, third = (str(json.loads(line)["number"]) for line in lines)
        tried = done(empty_database, "projection", "retry", "trail", "--number", first, "--number", third, "--yes")
        assert tried.stdout.strip() == "asked to retry 2 parked events"
        numbers = ("--number", first, "--number", second, "--number", "999999")
        skipped = done(empty_database, "projection", "skip", "trail", *numbers, "--yes")
        assert "only 2 of these 3 numbers" in skipped.stderr
        left = "SELECT seq FROM projection.parked"
        wait_until("two are skipped", lambda: run_sql(empty_database, left) == [(3,)])
    assert state(empty_database)["applied"] == 0


def test_a_retry_of_everything_leaves_what_somebody_has_asked_to_skip(
    empty_database: str, events: Events, folder: Path
) -> None:
    events.make()
    events.send((1, "a"), (2, "b"), payload={"i": "x"})
    with run_by_command(empty_database, events.url, folder):
        wait_until("all is settled", lambda: state(empty_database).get("position") == 2)
    # No runner runs, so nothing is done until there is one again.
    wanted = "SELECT seq, wanted FROM projection.parked ORDER BY seq"
    ((number,),) = run_sql(empty_database, "SELECT number FROM projection.parked WHERE seq = 1")
    done(empty_database, "projection", "skip", "trail", "--number", str(number), "--yes")
    tried = done(empty_database, "projection", "retry", "trail", "--yes")
    assert tried.stdout.strip() == "asked to retry 1 parked event"
    assert run_sql(empty_database, wanted) == [(1, "skip"), (2, "retry")]
    again = done(empty_database, "projection", "retry", "trail", "--number", str(number), "--yes")
    assert again.stdout.strip() == "asked to retry 1 parked event"
    assert run_sql(empty_database, wanted) == [(1, "retry"), (2, "retry")]
