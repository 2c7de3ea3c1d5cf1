"""Rows behind the cursor that no gap explains: found by a search that passes over the whole table, whatever comes."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done

BY_HAND = """
INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE VALUES (%s, 'orders.placed', %s, '{}')
"""
# A step every five seconds, one step to the end of the pass that is under way, one of the next: and a slow machine.
FOUND_WITHIN_S = 20.0


@pytest.fixture
def relay(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Relay:
    """A relay at work, with two thousand events behind it."""
    streams.make("ORDERS", "orders.>")
    one = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 2000, keys=50)
    wait_until("all are delivered", lambda: pending(outbox) == 0)
    return one


def pending(outbox: Outbox) -> int:
    return outbox.count("delivered_at IS NULL AND dead_at IS NULL")


@contextmanager
def events_coming(outbox: Outbox, every_s: float = 0.3, topic: str = "orders.placed") -> Iterator[None]:
    """Insert an event again and again, by a session of its own."""
    ended = threading.Event()

    def insert() -> None:
        with psycopg.connect(outbox.dsn, autocommit=True) as conn:
            while not ended.wait(every_s):
                conn.execute("INSERT INTO outbox_events (topic, payload) VALUES (%s, '{}')", (topic,))

    producer = threading.Thread(target=insert)
    producer.start()
    try:
        yield
    finally:
        ended.set()
        producer.join()


def test_rows_behind_the_cursor_are_found_while_events_keep_coming(outbox: Outbox, relay: Relay) -> None:
    """Written by hand, drawn before the insert, or with a mark that was taken back."""
    by_hand, unmarked = (5, 1000, 1990), 1500
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq = ANY(%s)", (list(by_hand),))
    with events_coming(outbox), psycopg.connect(outbox.dsn, autocommit=True) as conn:
        time.sleep(6)  # the search of the start has passed
        row = conn.execute("SELECT nextval(pg_get_serial_sequence('outbox_events', 'seq'))").fetchone()
        assert row is not None
        time.sleep(2)
        for seq in (*by_hand, row[0]):
            conn.execute(BY_HAND, (seq, f"hand{seq}"))
        conn.execute(
            "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL WHERE seq = %s",
            (unmarked,),
        )
        told = json.loads(done(outbox.dsn, "explain", "5", "--output", "json").stdout)
        if told["state"] == "pending":  # it may have been found by now
            assert "It lies below the watermark" in " ".join(told["why"])
            assert "finds it within" in told["next"]
        mine = [*by_hand, row[0], unmarked]
        wait_until(
            "each is delivered",
            lambda: outbox.count(f"seq = ANY('{{{','.join(map(str, mine))}}}') AND delivered_at IS NULL") == 0,
            FOUND_WITHIN_S,
        )
    assert relay.lines("scrub.found")
    assert relay.lines("scrub.in_vain") == []


@pytest.mark.usefixtures("relay")
def test_a_cached_sequence_leaves_nothing_behind_while_its_sessions_work(outbox: Outbox) -> None:
    outbox.conn.execute("ALTER SEQUENCE outbox_events_seq_seq CACHE 50")
    with events_coming(outbox), events_coming(outbox, 0.2), events_coming(outbox, 0.1):
        for _ in range(3):
            time.sleep(FOUND_WITHIN_S / 2)
            old = f"delivered_at IS NULL AND created_at < now() - interval '{FOUND_WITHIN_S} s'"
            assert outbox.count(old) == 0


def test_a_transaction_that_stays_open_hides_no_row_above_its_seq(outbox: Outbox, relay: Relay) -> None:
    with psycopg.connect(outbox.dsn) as open_one, events_coming(outbox):
        open_one.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', '{}')")
        later = outbox.insert("orders.placed", "later", {"i": 1})
        outbox.delivered(later)
        outbox.conn.execute(
            "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL WHERE seq = %s", (later,)
        )
        wait_until("it is found", lambda: outbox.row(later)["delivered_at"] is not None, FOUND_WITHIN_S)
    assert relay.said("scrub.found")["first_seq"] == later


def test_events_that_wait_in_the_outbox_for_the_end_of_a_hold_hide_no_row_of_another_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url, delivery__held_events="20").start()
    outbox.fill("nowhere.x", 100, keys=2)
    later = outbox.insert("orders.placed", "later", {"i": 1})
    outbox.delivered(later)
    with events_coming(outbox):
        outbox.conn.execute(
            "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL WHERE seq = %s", (later,)
        )
        wait_until("it is found", lambda: outbox.row(later)["delivered_at"] is not None, FOUND_WITHIN_S)
