"""What a stream has lost while its events are held goes before the event that finds out that it takes some again."""

import time

import pytest

from tests.support.fix_relay import MakeRelay, Outbox
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
