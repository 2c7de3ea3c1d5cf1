"""A relay met in the middle of its work, and what must hold at its end."""

from tests.support.fix_relay import Outbox, Relay
from tests.support.fix_stream import Streams, assert_once_and_in_order, ids

# Noticed soon, so that a test need not wait.
ALERT = {
    "nats__ping_interval_s": "1",
    "nats__connect_timeout_s": "1",
    "postgres__statement_timeout_s": "1",
    "postgres__connect_timeout_s": "2",
}


def ends_well(outbox: Outbox, streams: Streams, relay: Relay, events: int, keys: int) -> None:
    """Let the relay finish: each event once in ORDERS, in order, marked by its very place, with no attempt counted."""
    outbox.drained()
    stored = streams.read("ORDERS")
    assert_once_and_in_order(stored, events, keys)
    assert outbox.marks() == ids(stored)
    assert outbox.count("attempts > 0") == 0
    assert relay.stop() == 0
