"""Events that may have been stored already are looked for before they are sent again, beyond the duplicate window."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_rights import LOOK_UP
from tests.support.fix_stream import Streams, assert_once_and_in_order, restrict

WINDOW_S = 1.0
WINDOW_NS = int(WINDOW_S * 1e9)
EVENTS = 400


@contextmanager
def no_marks(outbox: Outbox) -> Iterator[None]:
    """Let events be read and published but not marked: updates of the table wait."""
    with psycopg.connect(outbox.dsn) as conn:
        conn.execute("LOCK TABLE outbox_events IN SHARE MODE")
        yield
        # A statement that waits outlives its client.
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'outbox-relay%'"
        )
        conn.rollback()


def killed_between_publish_and_mark(outbox: Outbox, streams: Streams, relay: Relay, others: int = 0) -> int:
    """Leave events in the stream that nobody has marked, longer ago than the window; return how many.

    Args:
        others: How many events for other streams are pending beside them.
    """
    before = streams.messages("ORDERS")
    outbox.fill("orders.placed", EVENTS, keys=40)
    with no_marks(outbox):
        relay.start()
        wait_until("events in the stream", lambda: streams.messages("ORDERS") > before)
        wait_until("no more to come", lambda: settled_down(streams))
        relay.kill()
    assert outbox.count("delivered_at IS NULL") == EVENTS + others
    time.sleep(WINDOW_S * 2)
    outbox.leases_run_out()
    return streams.messages("ORDERS") - before


def settled_down(streams: Streams) -> bool:
    """Report whether the stream has stopped growing for a while."""
    before = streams.messages("ORDERS")
    time.sleep(0.3)
    return streams.messages("ORDERS") == before


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
@pytest.mark.parametrize("allow_direct", [True, False], ids=["batches", "messages"])
def test_a_kill_between_publish_and_mark_stores_nothing_twice_after_the_window(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str, allow_direct: bool
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=allow_direct, duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy)
    unmarked = killed_between_publish_and_mark(outbox, streams, relay)
    relay.start()
    outbox.drained()
    assert relay.said("tail.read")["found"] == unmarked
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, 40)
    places = {message.headers["Nats-Msg-Id"]: message.seq for message in streams.read("ORDERS")}
    for event_id, stream, stream_seq in outbox.conn.execute("SELECT id::text, stream, stream_seq FROM outbox_events"):
        assert (stream, stream_seq) == ("ORDERS", places[event_id])


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_the_first_events_of_a_stream_are_found_there_although_another_one_has_their_subjects_now(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy)
    unmarked = killed_between_publish_and_mark(outbox, streams, relay)
    streams.change("ORDERS", subjects=["orders-before.>"])
    streams.make("LATER", "orders.>", allow_atomic=True, duplicate_window=WINDOW_NS)
    relay.start()
    outbox.drained()
    stored = Counter(message.headers["Nats-Msg-Id"] for name in ("ORDERS", "LATER") for message in streams.read(name))
    assert len(stored) == EVENTS
    assert set(stored.values()) == {1}
    assert outbox.count("stream = 'ORDERS'") == unmarked == streams.messages("ORDERS")


def test_events_are_found_in_a_stream_made_again_although_no_row_says_any_more_that_it_is_ours(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """What is still to go there proves it: the rows of all that the previous stream had acknowledged are deleted."""
    streams.make("ORDERS", "orders.>", duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 3, keys=1)
    outbox.drained()
    known = "SELECT 1 FROM outbox_streams WHERE created IS NOT NULL AND mark_seq = 3"
    wait_until("it is known", lambda: outbox.conn.execute(known.encode()).fetchone())
    assert relay.stop() == 0
    outbox.conn.execute("TRUNCATE outbox_events")
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>", duplicate_window=WINDOW_NS)
    unmarked = killed_between_publish_and_mark(outbox, streams, relay)
    relay.start()
    outbox.drained()
    assert relay.said("tail.read")["found"] == unmarked
    assert relay.lines("streams.unreadable") == []
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, 40)


def test_a_term_in_which_no_tail_could_be_read_hides_nothing_from_the_next_look(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    """Of two owners before it one has marked its last event, and the other has not: what lies below is looked for."""
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, own_nats.url).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    wait_until("it is written down", lambda: outbox.conn.execute("SELECT 1 FROM outbox_streams").fetchone())
    assert relay.stop() == 0
    unmarked = killed_between_publish_and_mark(outbox, streams, relay)
    last = streams.read("ORDERS")[-1]
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = now(), stream = 'ORDERS', stream_seq = %s WHERE id = %s",
        (last.seq, last.headers["Nats-Msg-Id"]),
    )
    own_nats.stop()
    relay.start()
    relay.said("nats.unreachable")
    time.sleep(3)  # it writes down what it knows once a second
    assert relay.stop() == 0
    own_nats.start()
    relay.start()
    outbox.drained()
    assert relay.said("tail.read")["found"] == unmarked - 1
    assert_once_and_in_order(streams.read("ORDERS")[1:], EVENTS, 40)


@pytest.mark.denials
def test_without_the_look_up_events_would_be_stored_twice(
    outbox: Outbox, make_relay: MakeRelay, own_nats: NatsServer
) -> None:
    # It may publish and learn which stream takes a subject, and may not read what a stream holds.
    streams = restrict(own_nats, "orders.>", *LOOK_UP)
    streams.make("ORDERS", "orders.>", duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, own_nats.url)
    unmarked = killed_between_publish_and_mark(outbox, streams, relay)
    relay.start()
    outbox.drained()
    relay.said("streams.unreadable")
    times = Counter(Counter(message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")).values())
    assert times == {2: unmarked, 1: EVENTS - unmarked} or times == {2: unmarked}


@pytest.mark.denials
def test_a_stream_that_may_not_be_read_hides_no_tail_of_another_after_a_crash(
    outbox: Outbox, make_relay: MakeRelay, own_nats: NatsServer
) -> None:
    orders = ("NAMES", "INFO.ORDERS", "MSG.GET.ORDERS")
    streams = restrict(own_nats, "a.>", "orders.>", *[f"$JS.API.STREAM.{question}" for question in orders])
    streams.make("AAA", "a.>", duplicate_window=WINDOW_NS)
    streams.make("ORDERS", "orders.>", duplicate_window=WINDOW_NS)
    # Nothing is saved of either stream, and the first event goes to the one that may not be read.
    outbox.insert("a.x", "first", {"i": 0})
    unmarked = killed_between_publish_and_mark(outbox, streams, make_relay(outbox.dsn, own_nats.url), others=1)
    relay = make_relay(outbox.dsn, own_nats.url).start()
    outbox.drained()
    assert relay.said("tail.read")["found"] == unmarked
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS, 40)


def test_an_outage_longer_than_the_window_stores_nothing_twice(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=WINDOW_NS)
    relay = make_relay(outbox.dsn, own_nats.url, nats__ping_interval_s="1").start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    # What was sent is stored when the server wakes, and its acknowledgements go nowhere.
    own_nats.pause()
    outbox.fill("orders.placed", EVENTS, keys=EVENTS)
    wait_until("events in flight", lambda: in_flight(relay) > 0)
    relay.said("nats.lost")
    own_nats.resume()
    relay.said("nats.connected", 2)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS")[1:], EVENTS, EVENTS)


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_what_was_in_flight_at_an_outage_longer_than_the_window_is_looked_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy], strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True, duplicate_window=WINDOW_NS)
    between = proxy(int(streams.url.rsplit(":", 1)[1]))
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}", delivery__strategy=strategy).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    between.deafen()
    outbox.fill("orders.placed", EVENTS, keys=EVENTS)
    wait_until("events stored without an answer", lambda: streams.messages("ORDERS") == EVENTS + 1)
    between.refuse(True)
    between.cut()
    relay.said("nats.lost")
    time.sleep(WINDOW_S * 2)
    assert outbox.count("delivered_at IS NULL") == EVENTS
    between.flow()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS")[1:], EVENTS, EVENTS)
    counted = f"outbox_relay_found_events_total {EVENTS}.0"
    wait_until("they are counted", lambda: counted in relay.get("/metrics")[1])
    assert outbox.count("attempts > 0 OR last_error IS NOT NULL") == 0


def in_flight(relay: Relay) -> float:
    """Read from the metrics what was sent and not yet acknowledged."""
    for line in relay.get("/metrics")[1].splitlines():
        if line.startswith("outbox_relay_in_flight_events "):
            return float(line.split()[1])
    return 0.0
