"""Outage and configuration wait; poison parks its key and everything later of it; too much of it stops."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay.projection import Event, Projection, Transaction, on, upcast
from relay.projection.definition import Definition, Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from tests.integration.projection.fix_runner import Run, Running
from tests.integration.projection.world import (
    STREAM,
    TABLES,
    Events,
    definition,
    fold,
    run_sql,
    state,
    trail,
    waits,
)
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import done

PARKED = "SELECT key, seq, reason IS NOT NULL FROM projection.parked ORDER BY number"


def reach(dsn: str, position: int, name: str = "trail") -> None:
    """Wait until everything up to a sequence is settled."""
    wait_until(f"position {position}", lambda: state(dsn, name).get("position") == position)


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET, Mode.FOLD])
def test_poison_parks_its_key_and_all_that_is_later_of_it_and_others_flow(
    empty_database: str, events: Events, running: Run, mode: Mode
) -> None:
    events.make()
    events.send((1, "hot"), (2, "b"))
    events.send((3, "hot"), payload={"i": "no number"})
    events.send((4, "hot"), (5, "b"), (6, "hot"), (7, "c"))
    running(empty_database, events.url, definition(mode=mode))
    reach(empty_database, 7)
    assert trail(empty_database) == fold((1, "hot"), (2, "b"), (5, "b"), (7, "c"))
    events.send((8, "hot"), (9, "b"))
    reach(empty_database, 9)
    assert state(empty_database)["applied"] == 5
    assert run_sql(empty_database, PARKED) == [
        ("hot", 3, True),
        ("hot", 4, False),
        ("hot", 6, False),
        ("hot", 8, False),
    ]
    assert trail(empty_database)["b"] == [2, 5, 9]


def test_what_is_skipped_lets_its_key_go_on_in_order(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "hot"))
    events.send((2, "hot"), payload={"i": "x"})
    events.send((3, "hot"), (4, "hot"))
    running(empty_database, events.url, definition())
    reach(empty_database, 4)
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'skip' WHERE seq = 2")
    wait_until("nothing is parked", lambda: run_sql(empty_database, PARKED) == [])
    events.send((5, "hot"))
    reach(empty_database, 5)
    assert trail(empty_database) == fold((1, "hot"), (3, "hot"), (4, "hot"), (5, "hot"))


def test_what_is_retried_after_the_fault_is_mended_is_applied_in_order(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), (2, "hot"), (3, "hot"), (4, "a"))
    tables = f"{TABLES}; ALTER TABLE trail ADD CONSTRAINT no_hot CHECK (key <> 'hot')"
    running(empty_database, events.url, definition(tables=tables))
    reach(empty_database, 4)
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry' WHERE seq = 2")
    wait_until("tried", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked WHERE wanted <> ''") == [])
    assert len(run_sql(empty_database, PARKED)) == 2
    run_sql(empty_database, "ALTER TABLE trail.trail DROP CONSTRAINT no_hot")
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry' WHERE seq = 2")
    wait_until("nothing is parked", lambda: run_sql(empty_database, PARKED) == [])
    assert trail(empty_database) == fold((1, "a"), (4, "a"), (2, "hot"), (3, "hot"))
    assert state(empty_database)["applied"] == 4


def test_all_poison_stops_the_projection_and_parks_no_more(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "good"))
    events.send(*((seq, f"k{seq}") for seq in range(2, 40)), payload={"i": "x"})
    running(empty_database, events.url, definition())
    wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
    error = str(state(empty_database)["error"])
    assert "in a row" in error
    # It names the last one with its reason: those of the batch are rolled back, and not among the parked.
    assert re.search(r"the last at sequence \d+ \(orders\.\w+\): SQLSTATE 22P02", error), error
    assert run_sql(empty_database, PARKED) == []


def test_a_constraint_that_is_checked_at_the_commit_finds_its_event(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    tables = f"""{TABLES}; CREATE TABLE allowed (key text PRIMARY KEY); INSERT INTO allowed VALUES ('a'), ('b');
        ALTER TABLE trail ADD FOREIGN KEY (key) REFERENCES allowed DEFERRABLE INITIALLY DEFERRED"""
    events.send((1, "a"), (2, "bad"), (3, "b"))
    running(empty_database, events.url, definition(tables=tables))
    reach(empty_database, 3)
    assert trail(empty_database) == fold((1, "a"), (3, "b"))
    assert run_sql(empty_database, PARKED) == [("bad", 2, True)]


def test_a_missing_table_is_waited_for_and_parks_nothing(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "a"))
    running(empty_database, events.url, definition())
    reach(empty_database, 1)
    run_sql(empty_database, "ALTER TABLE trail.trail RENAME TO gone")
    events.send((2, "a"), (3, "b"))
    assert "does not exist" in waits(empty_database)
    assert (state(empty_database)["position"], run_sql(empty_database, PARKED)) == (1, [])
    run_sql(empty_database, "ALTER TABLE trail.gone RENAME TO trail")
    reach(empty_database, 3)
    assert trail(empty_database) == fold((1, "a"), (2, "a"), (3, "b"))


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_an_event_that_failed_at_a_table_that_was_away_for_a_moment_is_applied(
    empty_database: str, events: Events, running: Run, tries: int
) -> None:
    events.make()
    tables = f"""{TABLES}; CREATE SEQUENCE tried; CREATE FUNCTION looked() RETURNS trigger LANGUAGE plpgsql
        SET search_path = trail AS $$ BEGIN
            IF NEW.key = 'hot' AND nextval('tried') <= {tries} THEN EXECUTE 'SELECT FROM away'; END IF;
            RETURN NEW;
        END $$; CREATE TRIGGER looked BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION looked();"""
    events.send((1, "hot"), (2, "b"))
    running(empty_database, events.url, definition(tables=tables))
    reach(empty_database, 2)
    assert trail(empty_database) == fold((1, "hot"), (2, "b"))
    assert run_sql(empty_database, PARKED) == []


def test_a_statement_that_meets_a_row_twice_is_applied_event_by_event(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    one_row = definition(mode=Mode.SET).handlers[0]
    assert one_row.sql is not None
    single = one_row.__class__(
        "orders.>", None, Mode.SET, sql=one_row.sql.replace(b"SELECT key, ARRAY", b"SELECT 'one', ARRAY")
    )
    events.send((1, "a"), (2, "b"), (3, "c"))
    running(empty_database, events.url, definition(handlers=(single,)))
    reach(empty_database, 3)
    assert trail(empty_database) == {"one": [1, 2, 3]}


class Trail(Projection):
    """The trail, by Python."""

    name, stream, subjects, version = "python", STREAM, ("orders.>",), 1
    tables = TABLES

    @on("orders.placed", version=2)
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Append the number."""
        if event.data["number"] < 0:
            raise ValueError("negative")
        if event.data["number"] == 0:
            await tx.execute("COMMIT")
        await tx.execute(
            "INSERT INTO trail VALUES ($1, ARRAY[$2::bigint])"
            " ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers",
            [event.key, event.data["number"]],
        )

    @upcast("orders.placed", from_version=1)
    @staticmethod
    def to_second(data: dict[str, Any]) -> dict[str, Any]:
        """Name the number as it is named today."""
        return {"number": data["i"]}


def test_python_applies_events_of_every_version_and_what_it_refuses_is_parked(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "b"), payload={"number": -1}, **{"Event-Version": "2"})
    events.send((3, "c"), payload={"number": 3}, **{"Event-Version": "2"})
    events.send((4, "d"), payload={"number": 4}, **{"Event-Version": "3"})
    running(empty_database, events.url, Trail)
    reach(empty_database, 4, "python")
    assert trail(empty_database, "python") == {"a": [1], "c": [3]}
    found = run_sql(empty_database, "SELECT seq, reason FROM projection.parked ORDER BY number")
    assert [seq for seq, _ in found] == [2, 4]
    assert "negative" in found[0][1] and "version 3" in found[1][1]


def test_a_handler_that_ends_its_transaction_stops_the_projection(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), payload={"number": 0}, **{"Event-Version": "2"})
    running(empty_database, events.url, Trail)
    wait_until("it has stopped", lambda: state(empty_database, "python").get("status") == "stopped")
    assert state(empty_database, "python")["position"] == 0
    assert "COMMIT" in str(state(empty_database, "python")["error"])


def test_a_projection_that_stopped_at_an_event_goes_on_once_the_event_may_be_parked(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "b"), payload={"i": "x"})
    events.send((3, "c"))
    strict = running(empty_database, events.url, definition(on_refused="stop"))
    wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
    assert "stream sequence 2" in str(state(empty_database)["error"])
    strict.stop()
    running(empty_database, events.url, definition())
    done(empty_database, "projection", "resume", "trail", "--yes")
    reach(empty_database, 3)
    assert trail(empty_database) == fold((1, "a"), (3, "c"))
    assert run_sql(empty_database, PARKED) == [("b", 2, True)]


def test_python_reads_its_settings_from_the_environment(
    empty_database: str, events: Events, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events.make()
    events.send((1, "a"))
    file = tmp_path / "relay.toml"
    file.write_text(f'[nats]\nservers = ["{events.url}"]\n', "utf-8")
    monkeypatch.setenv("RELAY_CONFIG", str(file))
    monkeypatch.setenv("RELAY_POSTGRES__DSN", empty_database)
    by_default = Running([Trail], None)
    try:
        reach(empty_database, 1, "python")
    finally:
        by_default.stop()


SECRET = "cat dog"
# Reads a payload as a query of a search, as a name and as whatever a function of the author's makes of it.
OWN_TABLES = f"""{TABLES};
    CREATE FUNCTION checked(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        IF what = 'cat dog' THEN RAISE EXCEPTION 'refused %', what USING ERRCODE = 'AB123'; END IF;
        RETURN what;
    END $$;
    CREATE FUNCTION looked(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        IF what = 'cat dog' THEN EXECUTE 'SELECT 1 FROM "' || what || '"'; END IF;
        RETURN what;
    END $$"""


def reading(expression: str, **fields: Any) -> Definition:
    """Return the projection whose statement makes something of the text of an event first."""
    read = f"""INSERT INTO trail (key, numbers)
        SELECT key, ARRAY[seq] FROM event WHERE ({expression}) IS NOT NULL
        ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers"""
    other = "INSERT INTO trail (key, numbers) SELECT key, ARRAY[seq] FROM event"
    handlers = (
        Handler("orders.placed", None, Mode.EACH, sql=statement(read)),
        Handler("orders.other", None, Mode.EACH, sql=statement(other)),
    )
    return definition(tables=OWN_TABLES, handlers=handlers, **fields)


@pytest.mark.parametrize("on_refused", ["park", "skip"])
@pytest.mark.parametrize(
    "expression",
    [
        "to_tsquery('simple', data->>'q')",  # 42601
        "(data->>'q')::regclass",  # 42P01, or 42602
        "(data->>'q')::regconfig",  # 42704
        "checked(data->>'q')",  # a SQLSTATE that nobody knows
    ],
)
def test_an_event_that_fails_for_a_reason_of_its_own_is_refused_whatever_its_sqlstate_is(
    empty_database: str,
    events: Events,
    running: Run,
    caplog: pytest.LogCaptureFixture,
    expression: str,
    on_refused: Any,
) -> None:
    events.make()
    events.send((1, "hot"), payload={"q": SECRET})
    events.send((2, "other"), topic="orders.other")
    running(empty_database, events.url, reading(expression, on_refused=on_refused))
    reach(empty_database, 2)
    assert trail(empty_database) == fold((2, "other"))
    assert run_sql(empty_database, PARKED) == ([("hot", 1, True)] if on_refused == "park" else [])
    told = [json.dumps(vars(record), default=str) for record in caplog.records] + [str(state(empty_database))]
    assert not [one for one in told if SECRET in one]


def test_an_error_inside_a_function_is_the_events_own_once_the_same_handler_applies_another_event(
    empty_database: str, events: Events, running: Run, caplog: pytest.LogCaptureFixture
) -> None:
    events.make()
    events.send((1, "hot"), payload={"q": SECRET})
    running(empty_database, events.url, reading("looked(data->>'q')"))
    error = waits(empty_database)
    assert "SQLSTATE 42P01" in error and "stream sequence 1" in error
    events.send((2, "b"), payload={"q": "cat"})
    reach(empty_database, 2)
    assert trail(empty_database) == fold((2, "b"))
    assert run_sql(empty_database, PARKED) == [("hot", 1, True)]
    told = [json.dumps(vars(record), default=str) for record in caplog.records] + [error]
    assert not [one for one in told if SECRET in one]
    # What an operator tries again stays parked, and stops nobody.
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry'")
    wait_until("tried", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked WHERE wanted <> ''") == [])
    events.send((3, "b"), payload={"q": "cat"})
    reach(empty_database, 3)
    assert run_sql(empty_database, PARKED) == [("hot", 1, True)]


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        (
            "DROP FUNCTION trail.checked",
            "CREATE FUNCTION trail.checked(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        ),
        ("ALTER TABLE trail.trail DROP COLUMN numbers", "ALTER TABLE trail.trail ADD numbers bigint[]"),
    ],
)
def test_what_no_event_can_pass_is_waited_for_though_events_are_to_be_skipped(
    empty_database: str, events: Events, running: Run, broken: str, mended: str
) -> None:
    events.make()
    events.send((1, "a"), payload={"q": "cat"})
    running(empty_database, events.url, reading("checked(data->>'q')", on_refused="skip"))
    reach(empty_database, 1)
    run_sql(empty_database, broken)
    events.send((2, "b"), (3, "c"), payload={"q": "cat"})
    wait_until("it waits", lambda: state(empty_database)["status"] == "waiting")
    assert "does not exist" in str(state(empty_database)["error"])
    assert state(empty_database)["position"] == 1
    run_sql(empty_database, mended)
    reach(empty_database, 3)
    assert {"b", "c"} <= trail(empty_database).keys()


def test_a_lock_of_another_session_is_told_and_waited_for(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "a"))
    running(empty_database, events.url, definition())
    reach(empty_database, 1)
    with psycopg.connect(empty_database) as conn:
        conn.execute("SELECT 1 FROM trail.trail WHERE key = 'a' FOR UPDATE")
        events.send((2, "a"), (3, "b"))
        wait_until("it waits", lambda: state(empty_database)["status"] == "waiting")
        assert "another session holds a lock" in str(state(empty_database)["error"])
        assert (state(empty_database)["position"], state(empty_database)["owner"] is None) == (1, False)
    reach(empty_database, 3)
    assert trail(empty_database) == fold((1, "a"), (2, "a"), (3, "b"))
    assert run_sql(empty_database, PARKED) == []
    wait_until("it runs", lambda: state(empty_database)["status"] == "running")
