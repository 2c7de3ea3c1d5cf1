"""What a stream has lost while its events are held goes before the event that finds out that it takes some again."""

import time

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order

KEYS = 5
LOST, HELD = 20, 40


def insert(outbox: Outbox, first: int, last: int) -> None:
    """Insert events with the payloads `first` to `last`, of five keys."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
        " jsonb_build_object('i', i) FROM generate_series(%s::int, %s::int) i",
        (KEYS, first, last),
    )


@pytest.mark.parametrize("held_by", ["full", "deleted"])
def test_what_was_lost_goes_before_the_probe(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, held_by: str
) -> None:
    streams.make("ORDERS", "orders.>", max_msgs=LOST, discard="new")
    # No regular look comes in between.
    relay = make_relay(outbox.dsn, streams.url, failures__hold_max_s="1", healing__check_every_s="600").start()
    insert(outbox, 1, LOST)
    outbox.drained()
    if held_by == "deleted":
        streams.api("STREAM.DELETE.ORDERS")
    insert(outbox, LOST + 1, LOST + HELD)
    relay.said("hold.opened")
    # Some probes are refused before.
    time.sleep(2)
    if held_by == "full":
        streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    outbox.drained()
    relay.said("stream.lost")
    assert_once_and_in_order(streams.read("ORDERS"), LOST + HELD, KEYS)


def test_a_stream_that_was_gone_at_the_start_gets_what_it_had_before_what_waits(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=True)
    insert(outbox, 1, 200)
    # A probe each half second meets the stream before anybody looks at it by the clock.
    relay = make_relay(outbox.dsn, streams.url, failures__hold_base_s="0.5", failures__hold_max_s="0.5").start()
    outbox.drained()
    assert relay.stop() == 0
    streams.api("STREAM.DELETE.ORDERS", {})
    insert(outbox, 201, 220)
    relay.start()
    wait_until("they wait", lambda: relay.lines("hold.opened"))
    wait_until("the relay knows", lambda: relay.lines("stream.gone"))
    streams.make("ORDERS", "orders.>", allow_direct=True)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 220, KEYS)


def test_a_stream_that_was_gone_at_the_start_gets_what_it_had_before_what_comes_first(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """Nothing is held, so no probe is sent: the first event itself finds the stream that was made again."""
    streams.make("ORDERS", "orders.>", allow_direct=True)
    insert(outbox, 1, LOST)
    # No regular look comes in between.
    relay = make_relay(outbox.dsn, streams.url, healing__check_every_s="600").start()
    outbox.drained()
    assert relay.stop() == 0
    streams.api("STREAM.DELETE.ORDERS", {})
    relay.start()
    relay.said("stream.gone")
    streams.make("ORDERS", "orders.>", allow_direct=True)
    insert(outbox, LOST + 1, LOST + HELD)
    relay.said("stream.lost")
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), LOST + HELD, KEYS)
