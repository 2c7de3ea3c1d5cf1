"""A row that ended relays, became a dead letter, and is given back by the operator, is found again as it was before."""

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

MAX_ATTEMPTS = 3
# Far more than it takes to find it.
MOST_STARTS = 20


@pytest.mark.timeout(300)
@pytest.mark.parametrize("on_dead", ["skip", "block"])
@pytest.mark.parametrize("way", ["deadly-to-send", "deadly-to-read"])
def test_a_row_that_ends_the_relay_and_is_given_back_becomes_a_dead_letter_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str, on_dead: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, failures__max_attempts=str(MAX_ATTEMPTS), failures__on_dead=on_dead)
    relay.patch(mutant=way)
    deadly = outbox.insert("orders.deadly", "k-deadly", {"i": 0})
    behind = outbox.insert("orders.placed", "k-deadly", {"i": 2})

    def is_dead() -> bool:
        return outbox.row(deadly)["dead_at"] is not None

    for _ in range(2):
        for _ in range(MOST_STARTS):
            if relay.running:
                break
            outbox.leases_run_out()
            relay.start()
            wait_until("the relay ended, or has found the row", lambda: not relay.running or is_dead())
        assert relay.running
        assert is_dead()
        if on_dead == "skip":
            outbox.delivered(behind)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
        # As `relay dead retry` does.
        outbox.conn.execute(
            "UPDATE outbox_events SET dead_at = NULL, retry_at = now(), attempts = 0 WHERE seq = %s", (deadly,)
        )
        wait_until("it ends the relay again", lambda: not relay.running)
    assert (outbox.row(behind)["delivered_at"] is None) == (on_dead == "block")


def test_a_row_that_is_given_back_waits_for_no_later_dead_letter_of_its_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """Also if an event that is older than both keeps the watermark back, so that a fetch brings it."""
    streams.make("ORDERS", "orders.>")
    outbox.insert("nowhere.a", None, {"i": 0})
    first = outbox.insert("orders.placed", "k", {"i": 1})
    second = outbox.insert("orders.placed", "k", {"i": 2})
    last = outbox.insert("orders.placed", "k", {"i": 3})
    outbox.conn.execute("UPDATE outbox_events SET dead_at = now() WHERE seq = %s", (second,))
    outbox.conn.execute("UPDATE outbox_events SET retry_at = now() WHERE seq = %s", (first,))
    make_relay(outbox.dsn, streams.url, failures__on_dead="block").start()
    outbox.delivered(first)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL, retry_at = now() WHERE seq = %s", (second,))
    outbox.delivered(last)
    assert [message.i for message in streams.read("ORDERS")] == [1, 2, 3]
