"""How much room the streams have, in the metrics."""

from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams


def room(relay: Relay, stream: str) -> float | None:
    """Read the room of a stream from the metrics; None if it is not shown."""
    start = f'outbox_relay_stream_room_ratio{{stream="{stream}"}} '
    lines = [line for line in relay.get("/metrics")[1].splitlines() if line.startswith(start)]
    return float(lines[0].removeprefix(start)) if lines else None


def test_the_room_of_each_stream_with_a_limit_is_shown(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", max_msgs=8, discard="new")
    streams.make("LEDGER", "full.>")
    relay = make_relay(outbox.dsn, streams.url, healing__check_every_s="1").start()
    outbox.delivered(outbox.insert("full.a", None, {"i": 0}))
    for i in range(2):
        outbox.delivered(outbox.insert("orders.placed", None, {"i": i}))
    wait_until("the room is shown", lambda: room(relay, "ORDERS") == 0.75)
    assert room(relay, "LEDGER") is None
    outbox.fill("orders.placed", 10, keys=10)
    wait_until("it is full", lambda: room(relay, "ORDERS") == 0.0)
