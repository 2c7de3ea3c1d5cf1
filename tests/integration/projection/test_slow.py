"""An event whose statement takes too long is found and refused; a database that is slow for all is waited for."""

import pytest

from relay.projection import applier, store
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.test_refused import PARKED, reach
from tests.integration.projection.world import TABLES, Events, definition, fold, run_sql, state, trail
from tests.support.fix_relay import wait_until

# How long an event of a key takes, while it takes that long: the first so many tries. A sequence forgets no try.
SLOW = f"""{TABLES};
CREATE TABLE pace (key text, seconds float, tries bigint);
CREATE SEQUENCE tried;
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql SET search_path = trail AS $$
DECLARE found pace%ROWTYPE;
BEGIN
    FOR found IN SELECT * FROM pace WHERE NEW.key LIKE pace.key LOOP
        IF nextval('tried') <= found.tries THEN PERFORM pg_sleep(found.seconds); END IF;
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER slowly BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION slowly();
"""
ALWAYS = 1_000_000


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (store, applier):
        monkeypatch.setattr(module, "STATEMENT_TIMEOUT", "800ms")
    monkeypatch.setattr(applier, "_HURRIED_TIMEOUT", "300ms")


def paced(key: str, tries: int) -> str:
    return f"{SLOW} INSERT INTO pace VALUES ('{key}', 1000, {tries});"


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET, Mode.FOLD])
def test_an_event_that_takes_too_long_is_parked_with_its_key_and_others_flow(
    empty_database: str, events: Events, running: Run, mode: Mode
) -> None:
    events.make()
    before = [(seq, f"a{seq}") for seq in range(1, 41)]
    after = [(seq, f"b{seq}") for seq in range(43, 120)]
    events.send(*before, (41, "slow"), (42, "slow"), *after)
    running(empty_database, events.url, definition(mode=mode, tables=paced("slow", ALWAYS)))
    reach(empty_database, 119)
    assert trail(empty_database) == fold(*before, *after)
    assert run_sql(empty_database, PARKED) == [("slow", 41, True), ("slow", 42, False)]
    ((reason,),) = run_sql(empty_database, "SELECT reason FROM projection.parked WHERE seq = 41")
    assert "57014" in str(reason)
    assert state(empty_database)["applied"] == len(before) + len(after)


def test_an_event_that_is_slow_alone_waits_and_is_named_until_another_shows_that_it_is_at_fault(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "slow"))
    running(empty_database, events.url, definition(tables=paced("slow", ALWAYS)))
    wait_until("it waits", lambda: state(empty_database).get("status") == "waiting")
    assert "at stream sequence 1 (orders.placed)" in str(state(empty_database)["error"])
    assert run_sql(empty_database, PARKED) == []
    events.send((2, "b"))
    reach(empty_database, 2)
    assert trail(empty_database) == fold((2, "b"))
    assert run_sql(empty_database, PARKED) == [("slow", 1, True)]


def test_a_database_that_is_slow_for_every_event_parks_nothing(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    sent = [(seq, f"k{seq}") for seq in range(1, 21)]
    events.send(*sent)
    running(empty_database, events.url, definition(tables=paced("%", ALWAYS)))
    wait_until("it waits", lambda: "at stream sequence 1 " in str(state(empty_database).get("error")))
    assert run_sql(empty_database, PARKED) == []
    run_sql(empty_database, "DELETE FROM trail.pace")
    reach(empty_database, 20)
    assert trail(empty_database) == fold(*sent)
    assert run_sql(empty_database, PARKED) == []


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_an_event_that_was_slow_for_a_time_is_applied(
    empty_database: str, events: Events, running: Run, tries: int
) -> None:
    events.make()
    events.send((1, "slow"), (2, "b"))
    running(empty_database, events.url, definition(tables=paced("slow", tries)))
    reach(empty_database, 2)
    assert trail(empty_database) == fold((1, "slow"), (2, "b"))
    assert run_sql(empty_database, PARKED) == []


def test_a_slow_event_that_is_tried_again_stays_parked_and_stops_nobody(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "slow"), (2, "b"))
    running(empty_database, events.url, definition(tables=paced("slow", ALWAYS)))
    reach(empty_database, 2)
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry'")
    wait_until("tried", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked WHERE wanted <> ''") == [])
    events.send((3, "c"))
    reach(empty_database, 3)
    assert run_sql(empty_database, PARKED) == [("slow", 1, True)]
    run_sql(empty_database, "DELETE FROM trail.pace")
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry'")
    wait_until("nothing is parked", lambda: run_sql(empty_database, PARKED) == [])
    assert trail(empty_database) == fold((1, "slow"), (2, "b"), (3, "c"))
