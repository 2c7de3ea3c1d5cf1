"""Projections of TOML and SQL, and the commands around them, on real servers."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.projection.world import STREAM, TABLES, Events, fold, run_sql, state, trail
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
    command = [sys.executable, "-m", "relay", "projection", "run", str(folder), "--server", events.url]
    with subprocess.Popen(command, env={"RELAY_POSTGRES__DSN": empty_database, "PATH": ""}) as process:
        try:
            wait_until("all is settled", lambda: state(empty_database).get("position") == 5)
            assert trail(empty_database) == fold((1, "a"), (2, "b"), (5, "b"))
            (listed,) = done(empty_database, "projection", "list", "--output", "json").stdout.splitlines()
            assert (json.loads(listed)["status"], json.loads(listed)["parked"]) == ("running", 2)
            assert "trail" in done(empty_database, "projection", "status", "trail").stdout
            lines = done(empty_database, "projection", "parked", "trail", "--output", "json").stdout.splitlines()
            assert [json.loads(line)["seq"] for line in lines] == [3, 4]
            assert "22P02" in json.loads(lines[0])["reason"]
            assert "behind" in json.loads(lines[1])["reason"]
            number = str(json.loads(lines[0])["number"])
            assert (
                "would" in done(empty_database, "projection", "skip", "trail", "--number", number, "--dry-run").stderr
            )
            done(empty_database, "projection", "retry", "trail", "--key", "a", "--yes")
            wanted = "SELECT 1 FROM projection.parked WHERE wanted IS NOT NULL"
            wait_until("it was tried", lambda: run_sql(empty_database, wanted) == [])
            done(empty_database, "projection", "skip", "trail", "--number", number, "--yes")
            wait_until("nothing is parked", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked") == [])
            assert trail(empty_database)["a"] == [1, 4]

            done(empty_database, "projection", "pause", "trail")
            events.send((6, "a"))
            assert '"paused"' in done(empty_database, "projection", "status", "trail", "--output", "json").stdout
            done(empty_database, "projection", "resume", "trail", "--yes")
            wait_until("it goes on", lambda: trail(empty_database)["a"] == [1, 4, 6])
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert state(empty_database)["owner"] is None


def test_a_gap_is_told_and_may_be_accepted(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    events.fill(1, 10)
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 6})
    command = [sys.executable, "-m", "relay", "projection", "run", str(folder), "--server", events.url]
    with subprocess.Popen(command, env={"RELAY_POSTGRES__DSN": empty_database, "PATH": ""}) as process:
        try:
            wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
            told = relay(empty_database, "projection", "status", "trail")
            assert told.exit_code == 7 and "sequences 1 to 5" in told.stdout
            done(empty_database, "projection", "resume", "trail", "--accept-gap", "--yes")
            wait_until("the rest is applied", lambda: state(empty_database).get("position") == 10)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_check_finds_wrong_sql_and_a_missing_stream(empty_database: str, events: Events, folder: Path) -> None:
    (folder / "trail.sql").write_text(TABLES.replace("numbers", "other"), "utf-8")
    found = relay(empty_database, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
    assert found.exit_code == 8
    assert "on.0 (orders.placed): column" in found.stdout and "stream not found" in found.stdout


def test_a_projection_that_is_not_there_is_said(empty_database: str) -> None:
    for args in (["status", "nobody"], ["list"], ["parked", "nobody"], ["pause", "nobody"]):
        found = relay(empty_database, "projection", *args)
        assert found.exit_code == 1 and "no projection" in found.stderr, args
