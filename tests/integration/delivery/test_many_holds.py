"""Thousands of holds that open at once: few questions and few statements, and what flows hardly notices."""

import time

import psycopg

from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams

SLOW = {"failures__hold_base_s": "60", "failures__hold_max_s": "60"}


def insert_homeless(outbox: Outbox, subjects: int) -> None:
    """Insert an event on each of many subjects that begin alike."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'nowhere.at.x' || i, 'n' || i, '{}' FROM generate_series(1, %s::int) i",
        (subjects,),
    )


def wait_for_holds(relay: Relay, holds: int) -> None:
    """Wait until so many subjects are held."""
    held = f'outbox_relay_holds{{class="configuration"}} {holds:.1f}\n'
    wait_until(f"{holds} holds", lambda: held in relay.get("/metrics")[1])


def test_subjects_that_begin_alike_are_asked_about_together(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **SLOW).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    with streams.subscriber("$JS.API.STREAM.NAMES", None) as asked:
        insert_homeless(outbox, 2000)
        wait_for_holds(relay, 2000)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    assert 0 < len(asked) < 50


def test_of_subjects_that_begin_alike_those_with_a_stream_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    # One lies within the pattern that all of them share, the other one contains it.
    streams.make("ONE", "nowhere.at.x7")
    streams.make("WILD", "nowhere.*.x9")
    insert_homeless(outbox, 300)
    relay = make_relay(outbox.dsn, streams.url, **SLOW).start()
    wait_for_holds(relay, 298)
    wait_until("two flow", lambda: outbox.count("delivered_at IS NOT NULL") == 2)
    assert (streams.messages("ONE"), streams.messages("WILD")) == (1, 1)


def test_why_events_wait_is_written_for_many_at_once_and_a_locked_or_refused_row_is_left_out(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    insert_homeless(outbox, 400)
    outbox.conn.execute("ALTER TABLE outbox_events ADD CHECK (topic <> 'nowhere.at.x5' OR last_error IS NULL)")
    commits = "SELECT count(DISTINCT xmin::text) FROM outbox_events WHERE last_error LIKE '%no stream takes%'"
    with psycopg.connect(outbox.dsn) as session:
        session.execute("SELECT FROM outbox_events WHERE topic = 'nowhere.at.x6' FOR UPDATE")
        started = time.monotonic()
        relay = make_relay(outbox.dsn, streams.url, **SLOW).start()
        wait_until("the others say why", lambda: outbox.count("last_error LIKE '%no stream takes%'") == 398)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
        assert time.monotonic() - started < 30
    written = outbox.conn.execute(commits).fetchone()
    assert written is not None
    # One by one those that shared a statement with the refused one.
    assert written[0] < 120
    assert relay.running
