"""A row that the database refuses to change concerns itself alone, and no value of it reaches the log."""

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import Streams

# The server refuses it with a code that nobody knows.
ODD_HEADER = "Nats-Expected-Last-Subject-Sequence-Subject"
SECRET = "4929-1234-5678-9012"
RAISES = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.topic = 'orders.guarded' AND NEW.delivered_at IS NOT NULL THEN
        RAISE EXCEPTION 'rows of this topic are frozen' USING DETAIL = NEW.payload::text;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard BEFORE UPDATE ON outbox_events FOR EACH ROW EXECUTE FUNCTION guard()
"""
REFUSING = {
    "a check": "ALTER TABLE outbox_events ADD CONSTRAINT short CHECK (topic <> 'orders.guarded' OR stream IS NULL)",
    "a trigger": RAISES,
}


def assert_quiet(relay: Relay) -> None:
    """Nothing of a row is in the log, and the relay works."""
    assert relay.running
    assert SECRET not in relay.text()
    assert "Failing row" not in relay.text()


@pytest.mark.parametrize("statement", REFUSING.values(), ids=REFUSING.keys())
def test_a_mark_that_is_refused_holds_up_no_other_and_is_made_when_it_can_be(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, statement: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.conn.execute(statement.encode())
    outbox.fill("orders.placed", 700, keys=20)
    refused = [outbox.insert("orders.guarded", f"k{i}", {"card": SECRET}) for i in range(5)]
    outbox.fill("orders.placed", 700, keys=20)
    relay = make_relay(outbox.dsn, streams.url).start()
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == len(refused))
    outbox.delivered(outbox.insert("orders.placed", "k0", {"i": 0}), timeout_s=10)
    line = relay.said("settle.refused")
    assert line["seq"] in refused
    assert ("short" if "short" in statement else "PL/pgSQL function guard() line 4") in line["reason"]
    holds_for(
        2,
        "no watermark passes them",
        lambda: outbox.count("delivered_at IS NULL AND seq <= (SELECT max(watermark) FROM outbox_shards)") == 0,
    )
    assert relay.get("/readyz")[0] == 200
    assert len(relay.lines("settle.refused")) == 1
    assert_quiet(relay)
    # A restart neither fails nor sends them again.
    assert relay.stop() == 0
    relay.start()
    relay.said("settle.refused", times=2)
    outbox.conn.execute("ALTER TABLE outbox_events DROP CONSTRAINT IF EXISTS short")
    outbox.conn.execute("DROP TRIGGER IF EXISTS guard ON outbox_events")
    for seq in refused:
        outbox.delivered(seq)
    assert streams.messages("ORDERS") == 1406
    assert_quiet(relay)


def guard(outbox: Outbox, condition: str, action: str) -> None:
    """Have a trigger do something about each row that is changed and for which a condition holds."""
    outbox.conn.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$"
        f"BEGIN IF {condition} THEN {action}; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER guard BEFORE UPDATE ON outbox_events FOR EACH ROW EXECUTE FUNCTION guard()".encode()
    )


# Codes of outages, of rights, of retries and of locks: what a trigger raises that reaches for something of its own.
OTHERS_TROUBLES = ["42501", "42P01", "53100", "53200", "53300", "08006", "40001", "40P01", "57P01", "57P03", "25006"]
TROUBLES = {
    "lacks a right": "INSERT INTO audited VALUES (NEW.seq)",
    "ends the session": "PERFORM pg_terminate_backend(pg_backend_pid())",
    "quotes the payload": "RAISE EXCEPTION 'cannot change %', NEW.payload",
    "casts a value": "PERFORM (NEW.payload->>'card')::int",
    **{code: f"RAISE EXCEPTION 'no way to %', NEW.payload USING ERRCODE = '{code}'" for code in OTHERS_TROUBLES},
}


@pytest.mark.denials
@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_a_trigger_meets_concerns_its_row_whatever_code_it_has(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, trouble: str
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("CREATE TABLE audited (seq bigint)")
    guard(outbox, "NEW.topic = 'orders.guarded'", TROUBLES[trouble])
    relay = make_relay(outbox.dsn, streams.url).start()
    guarded = outbox.insert("orders.guarded", "k", {"card": SECRET})
    outbox.fill("orders.placed", 300, keys=20)
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == 1, 20)
    line = relay.said("settle.refused")
    assert (line["seq"], relay.running) == (guarded, True)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}), timeout_s=20)
    # A session that has ended is made again.
    wait_until("all is well", lambda: relay.get("/readyz")[0] == 200, 5)
    assert SECRET not in relay.get("/readyz")[1]
    assert_quiet(relay)
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events")
    outbox.delivered(guarded, timeout_s=60)
    assert streams.messages("ORDERS") == 302


def test_when_every_second_row_is_refused_the_others_are_marked_within_seconds(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    guard(outbox, "NEW.seq % 2 = 0", "RAISE EXCEPTION 'rows of this kind are frozen'")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 3000, keys=50)
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL AND seq % 2 = 1") == 0)
    outbox.fill("orders.placed", 20, keys=5)
    wait_until("new ones are marked", lambda: outbox.count("delivered_at IS NULL AND seq % 2 = 1") == 0, 5)
    assert len(relay.lines("settle.refused")) == 1
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events")
    outbox.drained(timeout_s=70)
    assert streams.messages("ORDERS") == 3020
    assert_quiet(relay)


def test_a_row_that_a_trigger_keeps_as_it_is_costs_no_lease_and_holds_up_no_other(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    guard(outbox, "NEW.topic = 'orders.guarded'", "RETURN NULL")
    relay = make_relay(outbox.dsn, streams.url).start()
    guarded = [outbox.insert("orders.guarded", f"k{i}", {"card": SECRET}) for i in range(3)]
    outbox.fill("orders.placed", 700, keys=20)
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == len(guarded))
    assert "keeps the row as it is" in relay.said("settle.refused")["reason"]
    holds_for(2, "they are pending", lambda: outbox.count("delivered_at IS NULL") == len(guarded))
    assert relay.lines("lease.lost") == []
    assert relay.lines("settle.fewer") == []
    assert len(relay.lines("settle.refused")) == 1
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events")
    outbox.drained()
    assert streams.messages("ORDERS") == 703
    assert_quiet(relay)


def test_a_row_that_a_trigger_sets_back_after_each_mark_is_not_sent_without_end(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", duplicate_window=10**8)
    outbox.conn.execute(
        "CREATE FUNCTION set_back() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.delivered_at := NULL; RETURN NEW; END $$;"
        "CREATE TRIGGER set_back BEFORE UPDATE ON outbox_events FOR EACH ROW"
        " WHEN (OLD.topic = 'orders.bad') EXECUTE FUNCTION set_back()"
    )
    relay = make_relay(outbox.dsn, streams.url).start()
    bad = outbox.insert("orders.bad", "k", {"i": 0})
    good = outbox.insert("orders.good", "k", {"i": 1})
    outbox.delivered(good)
    assert relay.said("scrub.in_vain")["first_seq"] == bad
    stored = streams.messages("ORDERS")
    holds_for(11.0, "it is not sent again", lambda: streams.messages("ORDERS") == stored)
    assert (stored, len(relay.lines("scrub.in_vain"))) == (3, 1)
    outbox.conn.execute("DROP TRIGGER set_back ON outbox_events")
    outbox.conn.execute("UPDATE outbox_events SET retry_at = now() WHERE seq = %s", (bad,))
    outbox.delivered(bad)


def test_an_operator_who_takes_a_mark_back_again_and_again_has_the_event_sent_each_time(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", duplicate_window=10**8)
    relay = make_relay(outbox.dsn, streams.url).start()
    seq = outbox.insert("orders.placed", "k", {"i": 0})
    outbox.delivered(seq)
    for times in (1, 2):
        outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL WHERE seq = %s", (seq,))
        outbox.delivered(seq)
        assert streams.messages("ORDERS") == 1 + times
        holds_for(6.0, "the scrub sees that it is settled", lambda: outbox.row(seq)["delivered_at"] is not None)
    assert relay.lines("scrub.in_vain") == []


@pytest.mark.parametrize("column", ["retry_at", "dead_at"])
def test_a_postponement_or_a_dead_letter_that_a_trigger_drops_is_written_when_it_can_be(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, column: str
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=2000)
    guard(outbox, f"NEW.{column} IS NOT NULL", "RETURN NULL")
    if column == "dead_at":
        outbox.insert("orders.placed", "large", {"card": SECRET, "more": "x" * 4000})
    else:
        outbox.insert("orders.placed", "odd", {"card": SECRET}, {ODD_HEADER: "orders.>"})
    relay = make_relay(outbox.dsn, streams.url, headers__allow_nats=ODD_HEADER).start()
    assert "keeps the row as it is" in relay.said("settle.refused")["reason"]
    outbox.fill("orders.placed", 200, keys=20)
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == 1)
    assert relay.lines("lease.lost") == []
    assert_quiet(relay)
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events")
    wait_until("it is written", lambda: outbox.count(f"{column} IS NOT NULL") == 1)
    assert relay.stop() == 0


@pytest.mark.parametrize("column", ["retry_at", "dead_at"])
def test_a_postponement_or_a_dead_letter_that_is_refused_holds_up_no_other(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, column: str
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=2000)
    outbox.conn.execute(f"ALTER TABLE outbox_events ADD CONSTRAINT alive CHECK ({column} IS NULL)".encode())
    if column == "dead_at":
        outbox.insert("orders.placed", "large", {"card": SECRET, "more": "x" * 4000})
    else:
        outbox.insert("orders.placed", "odd", {"card": SECRET}, {ODD_HEADER: "orders.>"})
    relay = make_relay(outbox.dsn, streams.url, headers__allow_nats=ODD_HEADER).start()
    assert "alive" in relay.said("settle.refused")["reason"]
    outbox.fill("orders.placed", 200, keys=20)
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == 1)
    assert_quiet(relay)
    outbox.conn.execute("ALTER TABLE outbox_events DROP CONSTRAINT alive")
    wait_until("it is written", lambda: outbox.count(f"{column} IS NOT NULL") == 1)
    assert relay.stop() == 0


def test_a_sequence_of_a_stream_that_no_column_holds_concerns_its_events_alone(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("LATE", "late.>", first_seq=(1 << 63) + 5)
    relay = make_relay(outbox.dsn, streams.url).start()
    beyond = outbox.insert("late.x", "b", {"card": SECRET})
    assert "out of range" in relay.said("settle.refused")["reason"]
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert outbox.row(beyond)["delivered_at"] is None
    assert_quiet(relay)


def test_a_table_that_is_away_for_a_moment_is_waited_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute("ALTER TABLE outbox_events RENAME TO away")
    assert "does not exist" in relay.said("postgres.lost")["error"]
    outbox.conn.execute("ALTER TABLE away RENAME TO outbox_events")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    assert relay.running


def test_rows_that_may_not_be_deleted_do_not_end_the_relay(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("CREATE TABLE mine (seq bigint REFERENCES outbox_events)")
    seq = outbox.insert("orders.placed", "k", {"card": SECRET})
    outbox.conn.execute("INSERT INTO mine VALUES (%s)", (seq,))
    outbox.insert("orders.placed", "k", {"i": 1})
    relay = make_relay(outbox.dsn, streams.url, retention__delivered_age_s="0.1").start()
    assert "mine" in relay.said("duty.refused")["reason"]
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))
    assert_quiet(relay)


@pytest.mark.parametrize("attempts", [0, 7], ids=["a suspect", "a crasher"])
def test_a_row_that_takes_no_attempts_or_no_death_after_crashes_does_not_end_the_relay(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, attempts: int
) -> None:
    streams.make("ORDERS", "orders.>")
    guarded = outbox.insert("orders.guarded", "k", {"card": SECRET})
    outbox.fill("orders.placed", 20, keys=5)
    outbox.conn.execute(f"UPDATE outbox_events SET attempts = {attempts} WHERE seq = {guarded}".encode())
    outbox.leases_run_out(ended=3)
    wanted = "attempts = 0" if attempts == 0 else "dead_at IS NULL"
    outbox.conn.execute(
        f"ALTER TABLE outbox_events ADD CONSTRAINT frozen CHECK (topic <> 'orders.guarded' OR {wanted})".encode()
    )
    relay = make_relay(outbox.dsn, streams.url, failures__max_attempts="7").start()
    line = relay.said("settle.refused" if attempts else "start.uncounted")
    assert (line["seq"], "frozen" in line["reason"]) == (guarded, True)
    assert_quiet(relay)
    outbox.conn.execute("ALTER TABLE outbox_events DROP CONSTRAINT frozen")
    relay.said("start.survived")
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL AND dead_at IS NULL") == 0)
    assert outbox.count("dead_at IS NOT NULL") == (attempts > 0)
    assert outbox.count("attempts > 0 AND dead_at IS NULL") == 0
    assert len(relay.lines("settle.refused")) + len(relay.lines("start.uncounted")) == 1
    assert relay.stop() == 0


SMALL = {
    "delivery__buffer_events": "200",
    "delivery__window": "100",
    "delivery__atomic_batch": "50",
    "delivery__fetch_batch": "100",
}


def is_unmarked(relay: Relay, events: int) -> bool:
    """Report whether the metrics say that so many stored events are not marked."""
    return f"outbox_relay_unmarked_events {events:.1f}\n" in relay.get("/metrics")[1]


@pytest.mark.parametrize("action", ["RETURN NULL", "RAISE EXCEPTION 'frozen'"], ids=["kept", "refused"])
def test_more_refused_marks_than_fit_into_memory_hold_up_no_other_and_are_sent_once(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, action: str
) -> None:
    streams.make("ORDERS", "orders.>", duplicate_window=10**8)
    guard(outbox, "NEW.topic = 'orders.guarded'", action)
    relay = make_relay(outbox.dsn, streams.url, **SMALL).start()
    outbox.fill("orders.guarded", 700, keys=50)
    wait_until("all are stored and none is marked", lambda: is_unmarked(relay, 700))
    outbox.fill("orders.placed", 100, keys=10)
    wait_until("all others are marked", lambda: outbox.count("topic = 'orders.placed' AND delivered_at IS NULL") == 0)
    assert relay.get("/healthz")[0] == 200
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
    # The next relay finds them in the stream; their ids are forgotten.
    relay.kill()
    outbox.leases_run_out()
    relay.start()
    wait_until("they are found and set aside", lambda: is_unmarked(relay, 700))
    outbox.fill("orders.placed", 100, keys=10)
    wait_until("all others are marked", lambda: outbox.count("topic = 'orders.placed' AND delivered_at IS NULL") == 0)
    assert streams.messages("ORDERS") == 900
    outbox.conn.execute("DROP TRIGGER guard ON outbox_events")
    outbox.drained(timeout_s=70)
    assert streams.messages("ORDERS") == 900


def test_a_relay_none_of_whose_marks_is_accepted_is_not_ready_and_says_why_until_one_is(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("CREATE RULE kept AS ON UPDATE TO outbox_events DO INSTEAD NOTHING")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 20, keys=5)
    wait_until("it says why", lambda: "no event can be marked: " in relay.get("/readyz")[1])
    assert relay.get("/readyz")[0] == 503
    assert relay.get("/healthz")[0] == 200
    outbox.conn.execute("DROP RULE kept ON outbox_events")
    outbox.drained()
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
