"""A row that ends the relay each time is found and given up; one that merely waits while relays end is not."""

import psycopg
import pytest

from relay.errors import Exit
from relay.postgres.tables import Tables
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order

MAX_ATTEMPTS = 7
# One that nobody minds, one that is forgiven, then as many as are counted.
STARTS = 2 + MAX_ATTEMPTS
REFUSAL = b'{"error":{"code":400,"err_code":19999,"description":"for no known reason"}}'


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("way", "on_dead"), [("deadly-to-send", "skip"), ("deadly-to-read", "block")])
def test_a_row_that_ends_the_relay_becomes_a_dead_letter(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str, on_dead: str
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 1000, keys=50)
    deadly = outbox.insert("orders.deadly", "k-deadly", {"i": 0})
    behind = outbox.insert("orders.behind", "k-deadly", {"i": 1001})
    settings = {"failures__max_attempts": str(MAX_ATTEMPTS), "failures__on_dead": on_dead}
    running = make_relay(outbox.dsn, streams.url, **settings)
    running.patch(mutant=way)
    starts = 0
    while True:
        running.start()
        starts += 1
        wait_until("the relay ended, or nothing is left for it", lambda: not running.running or ready(outbox))
        if running.running:
            break
        outbox.leases_run_out()
    assert starts == STARTS + 1
    row = outbox.row(deadly)
    assert (row["attempts"], row["dead_at"] is None) == (MAX_ATTEMPTS, False)
    assert "ended each time" in row["last_error"]
    line = running.said("event.dead")
    assert running.lines("event.dead") == [line]
    assert line["event_id"] == str(row["id"])
    counted = 'outbox_relay_dead_letters_total{reason="crash"} 1.0'
    wait_until("it is counted", lambda: counted in running.get("/metrics")[1])
    placed = [message for message in streams.read("ORDERS") if message.subject == "orders.placed"]
    assert_once_and_in_order(placed, 1000, 50)
    running.said("start.survived")
    # Its key goes on, or waits for the operator.
    assert outbox.count(f"seq = {behind} AND delivered_at IS NOT NULL") == (on_dead == "skip")
    # Nobody else pays for it: an attempt stays at most with what was marked just before the end.
    assert outbox.count("dead_at IS NOT NULL") == 1
    assert outbox.count("attempts > 0 AND delivered_at IS NULL AND dead_at IS NULL") == 0
    outbox.delivered(outbox.insert("orders.placed", "k1", {"i": 2000}))
    suspected = len(running.lines("event.suspect"))
    assert suspected >= MAX_ATTEMPTS - 5
    assert running.stop() == Exit.DONE
    running.start()
    running.said("relay.active", STARTS + 2)
    outbox.delivered(outbox.insert("orders.placed", "k1", {"i": 2001}))
    assert len(running.lines("event.suspect")) == suspected, "a start after a good end suspects nobody"


def ready(outbox: Outbox) -> bool:
    """Report whether all that can be delivered is, and the deadly row is dead."""
    return outbox.count("dead_at IS NOT NULL") == 1 and outbox.count("delivered_at IS NULL") <= 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["deadly-to-send", "deadly-to-read"])
def test_a_row_that_ends_the_relay_becomes_a_dead_letter_behind_the_watermark(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str
) -> None:
    """No start after a crash looks there, so the scrub finds it in each term."""
    streams.make("ORDERS", "orders.>")
    deadly = outbox.insert("orders.deadly", "k-deadly", {"i": 0})
    harmless = outbox.insert("orders.placed", "k1", {"i": 1})
    refused = outbox.insert("orders.placed", "k2", {"i": 2})
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now(), stream = 'ORDERS', stream_seq = 1")
    running = make_relay(outbox.dsn, streams.url, failures__max_attempts="6")
    running.patch(mutant=way)
    running.start()
    outbox.delivered(outbox.insert("orders.placed", "k1", {"i": 3}))
    wait_until("the watermark is written", lambda: watermark(outbox) > refused)
    unmark = "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL"
    # It has ended four relays before, so that the test is shorter.
    outbox.conn.execute(f"{unmark}, attempts = 4 WHERE seq = {deadly}")
    outbox.conn.execute(f"{unmark} WHERE seq = {harmless}")
    outbox.conn.execute(f"{unmark}, attempts = 2, retry_at = now() + interval '1 h' WHERE seq = {refused}")
    attempts = []
    while True:
        wait_until("the relay ended, or the row is dead", lambda: not running.running or is_dead(outbox, deadly))
        if running.running:
            break
        attempts.append([outbox.row(seq)["attempts"] for seq in (deadly, harmless, refused)])
        assert len(attempts) < 5, attempts
        outbox.leases_run_out()
        running.start()
    # The first one was not after a crash. Then both are in one group; then it is alone.
    assert attempts == [[4, 0, 2], [5, 1, 2], [6, 1, 2], [7, 1, 2]]
    assert "ended each time" in outbox.row(deadly)["last_error"]
    counted = 'outbox_relay_dead_letters_total{reason="crash"} 1.0'
    wait_until("it is counted", lambda: counted in running.get("/metrics")[1])
    outbox.delivered(harmless)
    wait_until("it has no attempt", lambda: outbox.row(harmless)["attempts"] == 0)
    assert outbox.row(refused)["attempts"] == 2
    outbox.conn.execute("UPDATE outbox_events SET retry_at = now() WHERE retry_at IS NOT NULL")
    outbox.delivered(refused)
    assert outbox.row(refused)["attempts"] == 2
    assert running.stop() == Exit.DONE


def test_new_events_do_not_wait_for_what_is_found_behind_the_watermark_after_a_crash(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """What is found is held or refused, and the row of another one that is to be a dead letter is locked."""
    streams.make("ORDERS", "orders.>")
    held = outbox.insert("nowhere.x", "k1", {"i": 0})
    refused = outbox.insert("silent.x", "k2", {"i": 1})
    crasher = outbox.insert("orders.deadly", "k3", {"i": 2})
    dead = outbox.insert("orders.placed", "k4", {"i": 3})
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now(), stream = 'ORDERS', stream_seq = 1")
    running = make_relay(outbox.dsn, streams.url, failures__max_attempts="6", failures__backoff_base_s="60").start()
    outbox.delivered(outbox.insert("orders.placed", "k1", {"i": 4}))
    wait_until("the watermark is written", lambda: watermark(outbox) > dead)
    running.kill()
    outbox.leases_run_out()
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL,"
        f" attempts = CASE seq WHEN {crasher} THEN 7 WHEN {dead} THEN 6 ELSE 0 END WHERE seq <= {dead}"
    )
    with psycopg.connect(outbox.dsn) as locking, streams.subscriber("silent.>", REFUSAL):
        locking.execute("SELECT FROM outbox_events WHERE seq = %s FOR UPDATE", (crasher,))
        running.start()
        running.said("hold.opened")
        assert outbox.row(held)["attempts"] == 1
        outbox.delivered(outbox.insert("orders.placed", "k5", {"i": 5}), timeout_s=1)
        wait_until("they are outlived", lambda: outbox.row(held)["attempts"] == 0)
        assert outbox.row(refused)["attempts"] == 1, "this one is its own"
        # SQL made it pending again, and it has all its attempts: it never ended a relay.
        outbox.delivered(dead)
        assert outbox.row(crasher)["dead_at"] is None
    wait_until("it is a dead letter", lambda: is_dead(outbox, crasher))
    assert [running.said("event.dead")] == running.lines("event.dead")


def watermark(outbox: Outbox) -> int:
    (seq,) = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone() or (0,)
    return int(seq)


def is_dead(outbox: Outbox, seq: int) -> bool:
    return outbox.row(seq)["dead_at"] is not None


def test_relays_that_end_during_an_outage_cost_no_event_an_attempt(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    waiting = outbox.insert("nowhere.x", "k1", {"i": 1})
    running = make_relay(outbox.dsn, streams.url, failures__max_attempts="3")
    for turn in range(8):
        running.start()
        running.said("hold.opened", turn + 1)
        if turn:
            running.said("start.survived", turn)
        running.kill()
        outbox.leases_run_out()
    row = outbox.row(waiting)
    assert (row["attempts"], row["dead_at"]) == (0, None)
    streams.make("NOWHERE", "nowhere.>")
    running.start()
    outbox.delivered(waiting)


@pytest.mark.parametrize("ended", [0, 3])
def test_ends_of_relays_are_no_refusals(outbox: Outbox, streams: Streams, make_relay: MakeRelay, ended: int) -> None:
    """An event that was in hand when relays ended is refused for the first time: that is its first attempt."""
    seq = outbox.insert("silent.x", "k", {"i": 1})
    outbox.conn.execute("UPDATE outbox_events SET attempts = %s", (ended,))
    outbox.leases_run_out(ended=3)
    with streams.subscriber("silent.>", REFUSAL):
        relay = make_relay(outbox.dsn, streams.url, failures__max_attempts="3", failures__backoff_base_s="60").start()
        assert relay.said("event.postponed")["attempts"] == 1
        relay.said("start.survived")
    row = outbox.row(seq)
    assert (row["attempts"], row["dead_at"]) == (1, None)


def test_what_is_written_of_a_trial_may_be_written_twice(outbox: Outbox) -> None:
    """The answer to a statement may be lost with the connection: then it is sent again."""
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    event_id = outbox.row(seq)["id"]
    outbox.conn.execute("UPDATE outbox_shards SET owner = 'me', epoch = 1")
    cursor = psycopg.RawCursor(outbox.conn)
    for query, attempts in (("delivery/raise_attempts", 1), ("delivery/lower_attempts", 0)):
        for _ in range(2):
            cursor.execute(Tables().query(query), (f"{{{seq}}}", "{1}", "me", 64, f"{{{event_id}}}"))
        assert outbox.row(seq)["attempts"] == attempts
    outbox.conn.execute("UPDATE outbox_events SET attempts = 2, retry_at = now() - interval '1 s'")
    for query, attempts in (("delivery/raise_attempts", 3), ("delivery/lower_attempts", 2)):
        for _ in range(2):
            cursor.execute(Tables().query(query), (f"{{{seq}}}", "{3}", "me", 64, f"{{{event_id}}}"))
        assert outbox.row(seq)["attempts"] == attempts
