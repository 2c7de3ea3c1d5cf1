"""The order of each key in the stream, whatever happens on the way."""

import time
from functools import partial

import pytest

from relay.servers import NatsServer
from tests.fix_relay import MakeRelay, Outbox, wait_until
from tests.fix_stream import Streams, assert_once_and_in_order

STRATEGIES = ["singles", "atomic"]


def has_delivered(outbox: Outbox, events: int) -> bool:
    return outbox.count("delivered_at IS NOT NULL") >= events


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_holds_through_kills_of_the_relay(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 20_000, keys=37)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy, lease__ttl_s="2").start()
    for kill in range(3):
        wanted = 2000 * (kill + 1)
        wait_until(f"{wanted} delivered", partial(has_delivered, outbox, wanted))
        relay.kill()
        relay.start()
    outbox.drained()
    assert relay.stop() == 0
    assert_once_and_in_order(streams.read("ORDERS"), 20_000, 37)
    wrong = outbox.count("stream IS DISTINCT FROM 'ORDERS' OR stream_seq IS NULL")
    assert wrong == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_holds_through_kills_of_nats(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, strategy: str
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 20_000, keys=37)
    relay = make_relay(outbox.dsn, own_nats.url, delivery__strategy=strategy).start()
    for kill in range(3):
        wanted = 2000 * (kill + 1)
        wait_until(f"{wanted} delivered", partial(has_delivered, outbox, wanted))
        own_nats.kill()
        time.sleep(0.2)
        own_nats.start()
    outbox.drained()
    assert relay.stop() == 0
    assert_once_and_in_order(streams.read("ORDERS"), 20_000, 37)
    assert outbox.count("attempts > 0") == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_marks_name_the_very_message(outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 3000, keys=11)
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    marked: dict[int, str] = dict(outbox.conn.execute("SELECT stream_seq, id::text FROM outbox_events").fetchall())
    assert marked == {message.seq: message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_key_alone_keeps_its_order(outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 3000, keys=1)
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert [message.i for message in streams.read("ORDERS")] == list(range(1, 3001))


def test_atomic_batches_are_used_where_the_stream_allows_them(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ATOMIC", "a.>", allow_atomic=True)
    streams.make("PLAIN", "p.>")
    outbox.fill("a.x", 3000, keys=100)
    outbox.fill("p.x", 3000, keys=100)
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    for name in ("ATOMIC", "PLAIN"):
        assert_once_and_in_order(streams.read(name), 3000, 100)
    in_batches = [message for message in streams.read("ATOMIC") if "Nats-Batch-Id" in message.headers]
    assert len(in_batches) > 1500
    assert not [message for message in streams.read("PLAIN") if "Nats-Batch-Id" in message.headers]


def test_a_batch_with_an_event_that_is_stored_already_still_ends_well(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 3000, keys=100)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    assert relay.stop() == 0
    # As after a crash between acknowledgement and mark: some of each batch are in the stream.
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL WHERE mod(seq, 3) = 0"
    )
    outbox.fill("orders.other", 1000, keys=100)
    outbox.conn.execute("UPDATE outbox_shards SET watermark = 0")
    relay.start()
    outbox.drained()
    stored = streams.read("ORDERS")
    assert len(stored) == 4000
    marked: dict[int, str] = dict(outbox.conn.execute("SELECT stream_seq, id::text FROM outbox_events").fetchall())
    assert marked == {message.seq: message.headers["Nats-Msg-Id"] for message in stored}
    assert relay.lines("batch.refused")


def test_without_ordering_everything_is_delivered_once(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 5000, keys=1)
    make_relay(outbox.dsn, streams.url, delivery__ordering="none").start()
    outbox.drained()
    assert sorted(message.i for message in streams.read("ORDERS")) == list(range(1, 5001))
