"""What concerns one stream takes no care from another one."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_rights import LOOK_UP
from tests.support.fix_stream import Streams, assert_once_and_in_order, restrict

OFTEN = {"healing__check_every_s": "1", "consumers__watch": "false"}
SHORT_NS = 10**9
# To look at ORDERS, and at no other stream.
ORDERS_ALONE = (
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.ORDERS",
    "$JS.API.STREAM.MSG.GET.ORDERS",
    "$JS.API.DIRECT.GET.ORDERS",
)


def floor(outbox: Outbox, stream: str) -> int:
    row = outbox.conn.execute(
        "SELECT coalesce(min(floor), 0) FROM outbox_streams WHERE stream = %s", (stream,)
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.denials
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is down"])
def test_a_stream_that_may_not_be_looked_at_hides_no_loss_of_another(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, running: bool
) -> None:
    streams = restrict(own_nats, "a.>", "orders.>", *ORDERS_ALONE)
    streams.make("AAA", "a.>")
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, **OFTEN).start()
    outbox.delivered(outbox.insert("a.x", "k", {"i": 1}))
    outbox.fill("orders.placed", 50, keys=5)
    outbox.drained()
    assert relay.said("streams.unreadable")["stream"] == "AAA"
    query = "SELECT 1 FROM outbox_streams WHERE stream = 'ORDERS' AND created IS NOT NULL AND mark_seq = 50"
    wait_until("ORDERS is known", lambda: outbox.conn.execute(query).fetchone())
    if not running:
        relay.stop()
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    if not running:
        relay.start()
    assert relay.said("stream.lost")["stream"] == "ORDERS"
    outbox.drained()
    wait_until("all events in the stream", lambda: streams.messages("ORDERS") == 50)
    assert_once_and_in_order(streams.read("ORDERS"), 50, 5)
    assert {line["stream"] for line in relay.lines("streams.unreadable")} == {"AAA"}


def test_an_event_in_doubt_keeps_the_floor_of_no_other_stream_down(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    # It takes events and answers nothing, so that they stay in doubt for as long as it remembers ids.
    streams.make("SILENT", "silent.>", no_ack=True)
    streams.make("OTHER", "other.>", allow_direct=True)
    relay = make_relay(outbox.dsn, own_nats.url).start()
    outbox.delivered(outbox.insert("other.placed", "k", {"i": 0}))
    outbox.insert("silent.placed", "s", {"i": 0})
    relay.said("hold.opened")
    outbox.fill("other.placed", 5000, keys=50)
    wait_until("all but one delivered", lambda: outbox.count("delivered_at IS NULL") == 1)
    wait_until("the floor rises", lambda: floor(outbox, "OTHER") == 5001)
    relay.kill()
    outbox.leases_run_out()
    relay.start()
    outbox.delivered(outbox.insert("other.placed", "k", {"i": 0}))
    assert sum(line["messages"] for line in relay.lines("tail.read") if line["stream"] == "OTHER") <= 1


@pytest.mark.denials
def test_an_event_in_doubt_for_long_is_looked_for_so_that_its_own_stream_has_a_short_tail(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = restrict(own_nats, "orders.placed", *LOOK_UP, *ORDERS_ALONE)
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=SHORT_NS)
    relay = make_relay(outbox.dsn, own_nats.url, **OFTEN, delivery__ack_timeout_s="1").start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.insert('orders.secret."x"', "s", {"i": 0})
    relay.said("hold.opened")
    outbox.fill("orders.placed", 3000, keys=50)
    wait_until("all but one delivered", lambda: outbox.count("delivered_at IS NULL") == 1)
    time.sleep(2)  # twice as long as the stream remembers ids
    before = floor(outbox, "ORDERS")
    outbox.fill("orders.placed", 3000, keys=50)
    wait_until("all but one delivered", lambda: outbox.count("delivered_at IS NULL") == 1)
    wait_until("the floor rises", lambda: floor(outbox, "ORDERS") > max(before, 3000))


@pytest.mark.denials
@pytest.mark.parametrize("known", [0, 1], ids=["first events", "later events"])
def test_events_in_doubt_are_looked_for_whichever_other_stream_may_not_be_read(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, proxy: Callable[[int], Proxy], known: int
) -> None:
    streams = restrict(own_nats, "a.>", "orders.>", *ORDERS_ALONE)
    streams.make("AAA", "a.>", duplicate_window=SHORT_NS)
    streams.make("ORDERS", "orders.>", duplicate_window=SHORT_NS)
    between = proxy(int(own_nats.url.rsplit(":", 1)[1]))
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}", delivery__strategy="singles", **OFTEN).start()
    outbox.delivered(outbox.insert("a.x", "k", {"i": 0}))
    for _ in range(known):
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    between.deafen()
    for i in range(20):
        outbox.insert("a.x", f"a{i}", {"i": i})
        outbox.insert("orders.placed", f"o{i}", {"i": i})
    wait_until("all are stored, unanswered", lambda: streams.messages("AAA") + streams.messages("ORDERS") == 41 + known)
    between.refuse(True)
    between.cut()
    relay.said("nats.lost")
    time.sleep(2)  # twice as long as the streams remember ids
    between.flow()
    outbox.drained()
    stored = Counter(message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS"))
    assert stored.total() == len(stored) == 20 + known
