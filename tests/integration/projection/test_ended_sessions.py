"""An event that ends its session, or its transaction, is parked; what every event meets is waited for."""

from typing import Any

import psycopg
import pytest

from relay.projection.definition import Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import TABLES, Events, definition, fold, run_sql, state, trail
from tests.support.fix_relay import wait_until

# What the event says is done, and so is what the table says, for every event.
OWN_TABLES = f"""{TABLES};
    CREATE TABLE everybody (does text);
    CREATE FUNCTION worked(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        what := coalesce(what, (SELECT max(does) FROM everybody));
        IF what = 'end' THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(60); END IF;
        IF what = 'read only' THEN SET TRANSACTION READ ONLY; END IF;
        RETURN true;
    END $$"""
_KEY = {
    Mode.EACH: "SELECT key, ARRAY[seq] FROM event WHERE trail.worked(data->>'does')",
    Mode.FOLD: "SELECT key, array_agg(seq ORDER BY stream_seq) FROM event WHERE trail.worked(data->>'does') GROUP BY 1",
}
PARKED = "SELECT key, seq, reason FROM projection.parked ORDER BY number"


def working(mode: Mode = Mode.EACH, **fields: Any) -> Any:
    """Return the projection whose statement does what its event says."""
    sql = f"""INSERT INTO trail (key, numbers) {_KEY[mode]}
        ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers"""
    return definition(tables=OWN_TABLES, handlers=(Handler("orders.>", None, mode, sql=statement(sql)),), **fields)


def settled(dsn: str, position: int) -> None:
    """Wait until everything up to a sequence is settled."""
    wait_until(f"position {position}", lambda: state(dsn).get("position") == position, 60)


@pytest.mark.parametrize(
    ("does", "mode"),
    [
        ("end", Mode.EACH),
        ("end", Mode.FOLD),
        ("read only", Mode.EACH),
    ],
)
def test_an_event_that_ends_its_session_or_transaction_is_parked_and_others_flow(
    empty_database: str, events: Events, running: Run, does: str, mode: Mode
) -> None:
    events.make()
    events.fill(1, 150)
    events.send((151, "hot"), payload={"does": does})
    events.send((152, "hot"))
    events.fill(153, 100)
    running(empty_database, events.url, working(mode))
    settled(empty_database, 252)
    reason = run_sql(empty_database, PARKED)[0][2]
    assert "while another event could be applied" in reason, reason
    assert [row[:2] for row in run_sql(empty_database, PARKED)] == [("hot", 151), ("hot", 152)]
    healthy = [seq for seq in range(1, 253) if seq not in (151, 152)]
    assert trail(empty_database) == fold(*((seq, f"k{seq % 7}") for seq in healthy))
    assert state(empty_database)["applied"] == len(healthy)
    # What is tried again and fails so stays parked, and stops nobody.
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry' WHERE seq = 151")
    wait_until("tried", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked WHERE wanted <> ''") == [], 20)
    events.send((253, "k0"))
    settled(empty_database, 253)
    assert len(run_sql(empty_database, PARKED)) == 2


def test_several_such_events_are_each_found(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    ending = (40, 41, 90)
    for seq in range(1, 101):
        events.send((seq, f"k{seq}"), payload={"does": "end"} if seq in ending else None)
    running(empty_database, events.url, working())
    settled(empty_database, 100)
    assert [seq for _, seq, _ in run_sql(empty_database, PARKED)] == list(ending)
    assert trail(empty_database) == fold(*((seq, f"k{seq}") for seq in range(1, 101) if seq not in ending))


def test_what_every_event_meets_is_waited_for_and_parks_nothing(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 10)
    running(empty_database, events.url, working())
    settled(empty_database, 10)
    run_sql(empty_database, "INSERT INTO trail.everybody VALUES ('end')")
    events.fill(11, 90)
    told = "at the event at stream sequence 11 (orders.placed)"
    wait_until("it names the event", lambda: told in str(state(empty_database)["error"]), 30)
    failed = "SELECT 1 FROM pg_stat_database WHERE datname = current_database() AND xact_rollback > %s"
    rolled_back = run_sql(
        empty_database, "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    )[0][0]
    wait_until("it is tried on", lambda: run_sql(empty_database, failed, rolled_back + 5) != [], 60)
    wait_until("it names the event", lambda: told in str(state(empty_database)["error"]), 30)
    assert state(empty_database)["position"] == 10
    run_sql(empty_database, "DELETE FROM trail.everybody")
    settled(empty_database, 100)
    assert run_sql(empty_database, PARKED) == []
    assert trail(empty_database) == fold(*((seq, f"k{seq % 7}") for seq in range(1, 101)))


def test_such_an_event_waits_until_another_one_shows_that_it_is_not_the_server(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "hot"), payload={"does": "end"})
    running(empty_database, events.url, working())
    wait_until("it waits", lambda: "stream sequence 1 (" in str(state(empty_database).get("error")), 30)
    events.send((2, "b"))
    settled(empty_database, 2)
    assert [row[:2] for row in run_sql(empty_database, PARKED)] == [("hot", 1)]
    assert trail(empty_database) == fold((2, "b"))


def test_a_session_that_an_operator_ends_parks_nothing(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.fill(1, 10)
    running(empty_database, events.url, working())
    settled(empty_database, 10)
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
    for _ in range(3):
        with psycopg.connect(empty_database) as conn:
            conn.execute("LOCK TABLE trail.trail IN EXCLUSIVE MODE")
            events.fill(events.sent[-1][0] + 1, 90)
            wait_until("it waits for the table", lambda: run_sql(empty_database, waiting) != [])
            run_sql(empty_database, f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS one")
        settled(empty_database, events.sent[-1][0])
    assert run_sql(empty_database, PARKED) == []
    assert state(empty_database)["applied"] == 280
