"""A long tail is searched without what is marked in it, and no mark that may be untrue hides an event."""

import time
from collections.abc import Callable

import pytest

from tests.integration.integrity.test_tail_search import WINDOW_NS, WINDOW_S
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order

EVENTS = 6_000
# One each, so that the stream holds them nearly in the order of their seqs.
KEYS = EVENTS


def killed_after_a_drain(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, *, direct: bool, is_known: bool = True
) -> Relay:
    """Leave a stream and its marks, as a relay does that saved no floor before it was killed.

    Args:
        is_known: Whether the next relay takes it for crashed, and so reads nothing before it has looked at the stream.
    """
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=direct, duplicate_window=WINDOW_NS)
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    if is_known:
        relay.kill()
    else:
        assert relay.stop() == 0
    outbox.conn.execute("UPDATE outbox_streams SET floor = 0")
    return relay


def take_marks_away(outbox: Outbox, *stored: tuple[int, int]) -> int:
    """Have events be pending that lie in the stream, as if a relay was killed before their marks; return how many."""
    for first, last in stored:
        outbox.conn.execute(
            "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL"
            " WHERE stream_seq BETWEEN %s AND %s",
            (first, last),
        )
    outbox.conn.execute(
        "UPDATE outbox_shards SET watermark = (SELECT min(seq) - 1 FROM outbox_events WHERE delivered_at IS NULL)"
    )
    return sum(last - first + 1 for first, last in stored)


def start_beyond_the_window(outbox: Outbox, relay: Relay) -> None:
    """Start a relay when the stream has forgotten the ids of what it holds."""
    time.sleep(WINDOW_S * 2)
    outbox.leases_run_out()
    relay.start()
    outbox.drained()


@pytest.mark.parametrize("direct", [True, False], ids=["batches", "messages"])
def test_what_is_not_marked_is_found_by_reading_little_else(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, direct: bool
) -> None:
    relay = killed_after_a_drain(outbox, streams, make_relay, direct=direct)
    unmarked = take_marks_away(outbox, (3_001, 3_100), (EVENTS - 199, EVENTS))
    start_beyond_the_window(outbox, relay)
    said = relay.said("tail.read")
    assert (said["found"], said["messages"], said["marked"]) == (unmarked, unmarked, EVENTS - unmarked)
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, KEYS)
    assert outbox.count("stream_seq IS NOT NULL") == EVENTS


@pytest.mark.parametrize("first", [3_001, 1])
def test_a_tail_is_searched_as_soon_if_events_were_read_before_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy], first: int
) -> None:
    """What is in memory is looked for whatever its row says by now, and what lies before it in the outbox is not."""
    killed_after_a_drain(outbox, streams, make_relay, direct=True, is_known=False)
    unmarked = take_marks_away(outbox, (first, first + 99), (EVENTS - 199, EVENTS))
    lowest = outbox.conn.execute("SELECT min(seq) FROM outbox_events WHERE delivered_at IS NULL").fetchone()
    assert lowest is not None
    before = outbox.count(f"seq < {lowest[0]}")
    time.sleep(WINDOW_S * 2)
    outbox.leases_run_out()
    between = proxy(int(streams.url.rpartition(":")[2]))
    between.refuse(True)
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}").start()
    wait_until(
        "the events are in memory",
        lambda: f"outbox_relay_fetched_events_total {unmarked}.0" in relay.get("/metrics")[1],
    )
    between.flow()
    outbox.drained()
    said = relay.said("tail.read")
    assert (said["found"], said["marked"]) == (unmarked, before)
    assert said["messages"] == EVENTS - before
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, KEYS)


def test_marks_are_found_if_the_watermark_is_older_than_the_floor(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """A relay is killed in a drain of 60,000 events a second: its watermark was saved a second before its floor."""
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 3_000, keys=3_000)
    outbox.drained()
    outbox.conn.execute("SELECT setval(pg_get_serial_sequence('outbox_events', 'seq'), 60000)")
    outbox.fill("orders.packed", 3_000, keys=3_000)
    outbox.drained()
    relay.kill()
    unmarked = take_marks_away(outbox, (5_801, 6_000))
    outbox.conn.execute("UPDATE outbox_streams SET floor = 3000")
    outbox.conn.execute("UPDATE outbox_shards SET watermark = 3000")
    start_beyond_the_window(outbox, relay)
    said = relay.said("tail.read")
    assert (said["found"], said["messages"], said["marked"]) == (unmarked, unmarked, 3_000 - unmarked)
    assert streams.messages("ORDERS") == 6_000


@pytest.mark.parametrize(
    "because",
    [
        "UPDATE outbox_events SET delivered_at = delivered_at - interval '1 hour' WHERE stream_seq > 5400",
        "UPDATE outbox_streams SET lost_at = now()",
        "UPDATE outbox_streams SET repaired_at = now()",
    ],
    ids=["it is older than the tail", "a loss is open", "a repair has not shown to help"],
)
def test_a_mark_of_what_the_stream_held_earlier_hides_no_event(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, because: bytes
) -> None:
    """A stream was set back, and holds other events at the sequences that some marks name."""
    relay = killed_after_a_drain(outbox, streams, make_relay, direct=True)
    unmarked = take_marks_away(outbox, (5_401, EVENTS))
    # Far below the watermark, so that none of them is taken for the highest mark.
    outbox.conn.execute("UPDATE outbox_events SET stream_seq = stream_seq + 5400 WHERE stream_seq <= 600")
    outbox.conn.execute(because)
    start_beyond_the_window(outbox, relay)
    assert relay.said("tail.read")["found"] == unmarked
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, KEYS)
