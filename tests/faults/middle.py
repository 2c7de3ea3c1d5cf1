"""A relay met in the middle of its work, and what must hold at its end."""

from tests.fix_relay import Outbox, Relay, wait_until
from tests.fix_stream import Streams, assert_once_and_in_order

# Small enough that some thousand events take a while.
SLOWLY = {"delivery__fetch_batch": "100", "delivery__window": "20", "delivery__atomic_batch": "20"}
# Noticed soon, so that a test need not wait.
ALERT = {
    "nats__ping_interval_s": "1",
    "nats__connect_timeout_s": "1",
    "postgres__statement_timeout_s": "1",
    "postgres__connect_timeout_s": "2",
}


def delivered_at_least(outbox: Outbox, events: int) -> None:
    """Wait until so many events are marked."""
    wait_until(f"{events} events delivered", lambda: outbox.count("delivered_at IS NOT NULL") >= events)


def ends_well(outbox: Outbox, streams: Streams, relay: Relay, events: int, keys: int) -> None:
    """Let the relay finish: each event once in ORDERS, in order, marked by its very place, with no attempt counted."""
    outbox.drained()
    stored = streams.read("ORDERS")
    assert_once_and_in_order(stored, events, keys)
    marks: dict[int, str] = dict(outbox.conn.execute("SELECT stream_seq, id::text FROM outbox_events").fetchall())
    assert marks == {message.seq: message.headers["Nats-Msg-Id"] for message in stored}
    assert outbox.count("attempts > 0") == 0
    assert relay.stop() == 0
