"""Old rows that the database lets nobody delete hold up neither others nor marks, and are told."""

import time

import pytest

from tests.integration.maintenance.test_retention import BEYOND, DAY_S, KEEP_A_DAY, metric, old_rows
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done


@pytest.mark.denials
@pytest.mark.parametrize("refused", ["a row", "a row, as an outage", "all"])
def test_what_may_not_be_deleted_holds_up_neither_other_old_rows_nor_marks(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, refused: str
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 3000)
    if refused == "all":
        outbox.conn.execute("REVOKE DELETE ON outbox_events FROM outbox_relay")
    else:
        code = "P0001" if refused == "a row" else "53100"
        outbox.conn.execute(
            "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '{code}'; END $$;"
            "CREATE TRIGGER guard BEFORE DELETE ON outbox_events FOR EACH ROW WHEN (old.seq = 777)"
            " EXECUTE FUNCTION guard()".encode()
        )
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    assert running.said("duty.refused")["duty"] == "Retention"
    left = 3000 if refused == "all" else 2
    wait_until("all others are gone", lambda: outbox.count("true") == left)
    for i in range(3):
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": i}), timeout_s=10)
    wait_until("the relay is well", lambda: running.get("/readyz")[0] == 200, 5)


def guard(outbox: Outbox, condition: str) -> None:
    """Have a trigger refuse to delete the rows of which something holds."""
    outbox.conn.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'kept'; END $$;"
        f"CREATE TRIGGER guard BEFORE DELETE ON outbox_events FOR EACH ROW WHEN ({condition})"
        " EXECUTE FUNCTION guard()".encode()
    )


def rolled_back(outbox: Outbox) -> int:
    row = outbox.conn.execute(
        "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.denials
def test_a_missing_right_to_delete_is_found_by_one_statement(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 3000)
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, dead_at = now() - interval '9 days' WHERE seq < 5"
    )
    outbox.conn.execute("REVOKE DELETE ON outbox_events FROM outbox_relay")
    before = rolled_back(outbox)
    running = make_relay(outbox.dsn, streams.url, retention__dead_age_s="60", **KEEP_A_DAY).start()
    assert "permission denied for table" in running.said("duty.refused")["reason"]
    # A session counts for all to see what it has done, a second after it did so before, at its next statement.
    time.sleep(1.2)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    wait_until("it is counted", lambda: rolled_back(outbox) > before)
    time.sleep(0.5)
    assert rolled_back(outbox) - before < 20
    behind = "outbox_relay_retention_behind_seconds"
    wait_until("it is told", lambda: metric(running, behind) > DAY_S / 2)
    wait_until("status says so", lambda: "permission denied" in done(outbox.dsn, "status").stdout)
    outbox.conn.execute("GRANT DELETE ON outbox_events TO outbox_relay")
    wait_until("all are gone", lambda: outbox.count("true") <= 2)
    wait_until("that is told", lambda: "permission denied" not in done(outbox.dsn, "status").stdout)


@pytest.mark.parametrize("by", ["a trigger", "a foreign key"])
def test_many_rows_that_may_not_be_deleted_are_passed_over(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, by: str
) -> None:
    """A whole step of them, and more, and single ones among others; what lies between and behind them is deleted."""
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 5000)
    kept = "seq BETWEEN 301 AND 1700 OR seq IN (3333, 4000, 4001)"
    if by == "a trigger":
        guard(outbox, kept.replace("seq", "old.seq"))
    else:
        outbox.conn.execute(
            "CREATE TABLE mine (seq bigint REFERENCES outbox_events);"
            f"INSERT INTO mine SELECT seq FROM outbox_events WHERE {kept}".encode()
        )
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    line = running.said("duty.refused")
    assert line["duty"] == "Retention"
    assert 280 < line["first_seq"] <= 301, "as near as it was searched"
    wait_until("those behind are gone", lambda: outbox.count(f"NOT ({kept}) AND seq > 1800") == 1, 60)
    # Of a step in which many are refused, what stands alone among them may stay for an hour.
    assert outbox.count(f"NOT ({kept})") < 150
    assert outbox.count(kept) == 1403
    told = "outbox_relay_undeletable_events"
    wait_until("it is told", lambda: 10 < metric(running, told) <= 1403)
    wait_until("it is behind", lambda: metric(running, "outbox_relay_retention_behind_seconds") > DAY_S / 2)
    wait_until("status says so", lambda: "old rows or more, from seq" in done(outbox.dsn, "status").stdout)
    assert len(running.lines("duty.refused")) == 1
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events" if by == "a trigger" else "DROP TABLE mine")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert running.stop() == 0
    running.start()
    wait_until("they are tried again", lambda: outbox.count("true") <= 2)
    wait_until("nothing is told any more", lambda: metric(running, told) == 0)


def test_rows_that_may_not_be_deleted_hold_up_nothing_behind_a_young_row(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 4000)
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE seq IN (10, 1500)")
    guard(outbox, "old.seq BETWEEN 1001 AND 2000")
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    running.said("duty.refused")
    wait_until("those behind are gone", lambda: outbox.count("seq > 2000") == 1, 40)


def test_a_dead_letter_that_may_not_be_deleted_holds_up_no_other_one(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 1300)
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, dead_at = now() - interval '9 days' - make_interval(secs => seq)"
        " WHERE seq <= 1200"
    )
    guard(outbox, "old.seq IN (7, 1111) OR old.seq BETWEEN 400 AND 600")
    running = make_relay(outbox.dsn, streams.url, retention__dead_age_s="60").start()
    assert running.said("duty.refused")["first_seq"] <= 1111, "the longest dead come first"
    wait_until("others are gone", lambda: outbox.count("dead_at IS NOT NULL") < 203 + 40, 60)
    wait_until("they are counted", lambda: metric(running, "outbox_relay_undeletable_events") > 2)
