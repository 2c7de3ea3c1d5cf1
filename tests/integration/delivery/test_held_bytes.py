"""What is held takes no room from what can flow, however large it is."""

import time

from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams


def test_large_events_of_many_subjects_without_a_stream_keep_no_other_event_waiting(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__buffer_bytes="8000000").start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'nowhere.' || i, 'x' || i, to_jsonb(repeat('a', 950000)) FROM generate_series(1, 20) i"
    )
    relay.said("hold.opened", times=20)
    started = time.monotonic()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    assert time.monotonic() - started < 10
    assert relay.get("/healthz")[0] == 200
    streams.make("NOW", "nowhere.>")
    outbox.drained()


def test_probes_of_large_events_that_fill_the_memory_together_keep_no_other_event_waiting(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """While they are sent there is no room to read more; as they wait again there is, and nothing else tells that."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(
        outbox.dsn,
        streams.url,
        delivery__buffer_bytes="8000000",
        failures__hold_base_s="0.5",
        failures__hold_max_s="0.5",
    ).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'nowhere.' || i, 'x' || i, to_jsonb(repeat('a', 950000)) FROM generate_series(1, 20) i"
    )
    relay.said("hold.opened", times=20)
    for number in range(1, 100):
        last = outbox.insert("orders.placed", "k", {"i": number})
        time.sleep(0.05)
    outbox.delivered(last, timeout_s=10)


def test_events_of_thousands_of_subjects_without_a_stream_keep_no_other_event_waiting(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__held_events="1000", delivery__buffer_events="3000").start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'nowhere.' || i, 'x' || i, '{}' FROM generate_series(1, 6000) i"
    )
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    assert relay.get("/healthz")[0] == 200
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}), timeout_s=10)
