"""A row that waits in memory is sent as the table has it: corrected, marked or deleted by hand meanwhile."""

import re

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import Streams

# A hold that ends by itself would hide that nobody looks at the table.
LONG = {"failures__hold_base_s": "600", "failures__hold_max_s": "600"}


def held(outbox: Outbox, relay: Relay, seq: int) -> None:
    """Wait until an event waits in a hold."""
    relay.said("hold.opened")
    wait_until("it waits", lambda: outbox.row(seq)["last_error"] is not None)


def wait_for_waiting(relay: Relay, events: int) -> None:
    """Wait until so many events wait in memory."""
    wait_until(f"{events} wait", lambda: f"outbox_relay_waiting_events {events:.1f}\n" in relay.get("/metrics")[1])


@pytest.mark.parametrize("key", ["k", None])
def test_a_held_event_whose_topic_is_corrected_is_delivered_before_what_waits_behind_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, key: str | None
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LONG).start()
    wrong = outbox.insert("nowhere.placed", key, {"i": 1})
    held(outbox, relay, wrong)
    behind = [outbox.insert("orders.placed", key, {"i": i}) for i in (2, 3)]
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.placed' WHERE seq = %s", (wrong,))
    for seq in (wrong, *behind):
        outbox.delivered(seq)
    wanted = [1, 2, 3] if key else [2, 3, 1]
    assert [message.i for message in streams.read("ORDERS")] == wanted
    holds = re.compile(r"^outbox_relay_holds{.*} [^0]", re.MULTILINE)
    wait_until("no hold is left", lambda: not holds.search(relay.get("/metrics")[1]))


def test_what_waits_behind_a_held_event_is_sent_with_the_key_and_payload_that_it_has_now(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LONG).start()
    head = outbox.insert("nowhere.placed", "k", {"i": 0})
    held(outbox, relay, head)
    freed, changed, last = (outbox.insert("orders.placed", "k", {"i": i}) for i in (1, 2, 3))
    wait_for_waiting(relay, 4)
    outbox.conn.execute("UPDATE outbox_events SET key = 'free' WHERE seq = %s", (freed,))
    outbox.delivered(freed)
    wait_for_waiting(relay, 3)
    outbox.conn.execute("UPDATE outbox_events SET payload = '{\"i\": 20}' WHERE seq = %s", (changed,))
    relay.said("waiting.changed", 2)
    assert outbox.row(last)["delivered_at"] is None, "its key waits"
    streams.change("ORDERS", subjects=["orders.>", "nowhere.>"])
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.placed' WHERE seq = %s", (head,))
    outbox.delivered(last)
    assert [message.i for message in streams.read("ORDERS")] == [1, 0, 20, 3]


@pytest.mark.parametrize("way", ["DELETE FROM outbox_events", "UPDATE outbox_events SET delivered_at = now()"])
def test_a_held_event_that_is_deleted_or_marked_is_not_waited_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LONG).start()
    wrong = outbox.insert("nowhere.placed", "k", {"i": 1})
    held(outbox, relay, wrong)
    behind = outbox.insert("orders.placed", "k", {"i": 2})
    outbox.conn.execute(f"{way} WHERE seq = %s".encode(), (wrong,))
    outbox.delivered(behind)

    def watermark() -> object:
        row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
        return row and row[0]

    wait_until("the watermark past it", lambda: watermark() == behind)


def test_a_postponed_event_that_gets_another_key_frees_its_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    slowly = {"failures__backoff_base_s": "2", "failures__backoff_max_s": "2"}
    relay = make_relay(outbox.dsn, streams.url, **slowly).start()
    refusal = b'{"error":{"code":400,"err_code":99,"description":"for no known reason"}}'
    with streams.subscriber("silent.>", refusal):
        postponed = outbox.insert("silent.x", "k", {"i": 0})
        relay.said("event.postponed")
        behind = outbox.insert("orders.placed", "k", {"i": 1})
        outbox.conn.execute("UPDATE outbox_events SET key = 'other', topic = 'orders.x' WHERE seq = %s", (postponed,))
        outbox.delivered(postponed)
        outbox.delivered(behind)


def test_a_row_that_is_too_large_to_be_read_waits_as_any_other(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__buffer_bytes=str(1 << 20), **LONG).start()
    head = outbox.insert("nowhere.placed", "k", {"i": 0})
    held(outbox, relay, head)
    large = outbox.insert("orders.placed", "k", {"i": "x" * (3 << 20)})
    grown = outbox.insert("orders.placed", "k", {"i": 1})
    wait_for_waiting(relay, 3)
    holds_for(11.0, "none is taken for changed", lambda: relay.lines("waiting.changed") == [])
    outbox.conn.execute("UPDATE outbox_events SET payload = to_json(repeat('x', 50000000)) WHERE seq = %s", (grown,))
    relay.said("waiting.changed")
    relay.said("hold.opened", 2)
    wait_for_waiting(relay, 3)
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq = %s", (large,))
    assert relay.said("waiting.changed", 2)["first_seq"] == large
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq = %s", (head,))
    wait_until("the one that grew is a dead letter", lambda: outbox.row(grown)["dead_at"] is not None)
