"""What was left in the outbox behind a hold is read again beside what is new, never before it, and in order."""

from collections import defaultdict

from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams

WAITING = 60_000


def waiting(relay: Relay) -> float:
    """Read from the metrics how many events in memory wait."""
    lines = relay.get("/metrics")[1].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("outbox_relay_waiting_events "))


def test_new_events_of_other_keys_do_not_wait_until_all_that_was_held_is_read_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("FULL", "full.>", max_msgs=10, discard="new")
    relay = make_relay(outbox.dsn, streams.url, failures__hold_max_s="1").start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'full.x', 'f' || mod(i, 1000),"
        " jsonb_build_object('i', i) FROM generate_series(1, %s) i",
        (WAITING,),
    )
    relay.said("hold.opened")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    # Nothing flows until all is in memory that may be, and the rest was left in the outbox.
    wait_until("all that may wait is in memory", lambda: waiting(relay) >= 10_000)
    streams.change("FULL", max_msgs=-1)
    # Also new events of the keys that are read again: they come after what is older.
    for i in range(WAITING + 1, WAITING + 101):
        outbox.insert("full.x", f"f{i % 1000}", {"i": i})
        seq = outbox.insert("orders.placed", "k", {"i": i})
        if i % 20 == 0:
            outbox.delivered(seq)
            if i == WAITING + 20:
                assert outbox.count("delivered_at IS NULL AND topic = 'full.x'") > WAITING // 4
    outbox.drained()
    by_key: dict[int, list[int]] = defaultdict(list)
    for message in streams.read("FULL"):
        by_key[message.i % 1000].append(message.i)
    assert sum(map(len, by_key.values())) == WAITING + 100
    assert all(numbers == sorted(set(numbers)) for numbers in by_key.values())
