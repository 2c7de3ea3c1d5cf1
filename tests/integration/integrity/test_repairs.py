"""What a stream has lost is sent again; the same loss a second time waits for the operator."""

import json
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.integration.integrity.test_stream_loss import KEYS, OFTEN, checked, insert, rolled_back
from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order
from tests.support.relay_cli import done

REPAIRED = "SELECT 1 FROM outbox_streams WHERE repaired_at IS NOT NULL"


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is down"])
def test_a_repair_that_did_not_help_is_not_repeated(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path, running: bool
) -> None:
    """Events were given back a moment before they were delivered, and nobody has seen the stream hold one of them."""
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, own_nats.url, **OFTEN).start()
    insert(outbox, 1, 100)
    outbox.drained()
    checked(outbox)

    def meanwhile() -> None:
        insert(outbox, 101, 150)
        outbox.drained()
        checked(outbox)
        relay.stop()

    rolled_back(own_nats, tmp_path / "copy", meanwhile)
    outbox.conn.execute(
        "UPDATE outbox_streams SET repaired_at = (SELECT max(delivered_at) - interval '1 ms' FROM outbox_events)"
    )
    if not running:
        own_nats.start()
    relay.start()
    if running:
        relay.said("nats.unreachable")
        own_nats.start()
    assert relay.said("stream.unhealed")["events"] == 50
    wait_until("the metric", lambda: "outbox_relay_open_losses 1.0" in relay.get("/metrics")[1])
    outbox.delivered(outbox.insert("orders.last", None, {"i": 0}))
    holds_for(3, "it is not sent again", lambda: streams.messages("ORDERS") == 101)
    assert (len(relay.lines("stream.unhealed")), relay.lines("stream.lost")) == (1, [])

    # The operator decides.
    report = json.loads(
        done(outbox.dsn, "verify", "--redeliver", "--yes", "--output", "json", RELAY_NATS__SERVERS=own_nats.url).stdout
    )
    assert (report["redelivered"], report["closed"]) == (50, ["ORDERS"])
    outbox.drained()
    assert_once_and_in_order([message for message in streams.read("ORDERS") if message.i], 150, KEYS)
    wait_until("the repair has shown", lambda: outbox.conn.execute(REPAIRED).fetchone() is None)


def test_a_stream_that_is_rolled_back_twice_is_healed_twice(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, own_nats.url, **OFTEN).start()
    insert(outbox, 1, 100)
    outbox.drained()
    for number in (1, 2):

        def meanwhile(number: int = number) -> None:
            insert(outbox, 50 + 50 * number + 1, 100 + 50 * number)
            outbox.drained()
            checked(outbox)

        rolled_back(own_nats, tmp_path / f"copy{number}", meanwhile)
        own_nats.start()
        assert relay.said("stream.lost", number)["events"] == 50
        outbox.drained()
        wait_until("the repair has shown", lambda: outbox.conn.execute(REPAIRED).fetchone() is None)
    assert_once_and_in_order(streams.read("ORDERS"), 200, KEYS)
    assert relay.lines("stream.unhealed") == []
