"""What is in doubt is found in the stream that has stored it, although its subjects are another stream's by now."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

WINDOW_S = 1.0
WINDOW_NS = int(WINDOW_S * 1e9)
EVENTS = 400


def moved(streams: Streams, old: str, new: str, window_ns: int) -> None:
    """Move the subjects of a stream to another one."""
    streams.change(old, subjects=[f"once-{old.lower()}.>"])
    streams.make(new, "orders.>", allow_atomic=True, allow_direct=True, duplicate_window=window_ns)


def stored_once(outbox: Outbox, streams: Streams, *names: str) -> None:
    """Each event is in one of some streams, once, and its mark names that place."""
    stored = [(one.headers["Nats-Msg-Id"], name, one.seq) for name in names for one in streams.read(name)]
    marks = outbox.conn.execute("SELECT id::text, stream, stream_seq FROM outbox_events").fetchall()
    assert Counter(event_id for event_id, _, _ in stored) == Counter(event_id for event_id, _, _ in marks)
    assert sorted(stored) == sorted(marks)


@pytest.mark.parametrize("window_ns", [WINDOW_NS, 120 * 10**9], ids=["after the window", "within it"])
@pytest.mark.parametrize("strategy", ["singles", "atomic"])
@pytest.mark.parametrize("moves", [1, 2])
def test_what_is_in_doubt_is_found_although_its_subjects_are_another_streams_on_the_new_connection(
    outbox: Outbox,
    streams: Streams,
    make_relay: MakeRelay,
    proxy: Callable[[int], Proxy],
    strategy: str,
    window_ns: int,
    moves: int,
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True, duplicate_window=window_ns)
    between = proxy(int(streams.url.rsplit(":", 1)[1]))
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}", delivery__strategy=strategy).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    names = ["ORDERS"]
    for move in range(moves):
        between.deafen()
        outbox.fill("orders.placed", EVENTS, keys=EVENTS)
        wait_until("events stored without an answer", lambda: streams.messages(names[-1]) >= EVENTS)
        between.refuse(True)
        between.cut()
        relay.said("nats.lost", move + 1)
        names.append(f"LATER{move}")
        moved(streams, names[-2], names[-1], window_ns)
        if window_ns == WINDOW_NS:
            time.sleep(WINDOW_S * 2)
        between.flow()
        outbox.drained()
        outbox.delivered(outbox.insert("orders.placed", "later", {"i": 0}))
    stored_once(outbox, streams, *names)
    assert streams.messages(names[0]) == EVENTS + 1


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_what_is_not_answered_is_found_although_its_subjects_move_while_the_connection_lives(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy], strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True)
    between = proxy(int(streams.url.rsplit(":", 1)[1]))
    make_relay(
        outbox.dsn, f"nats://127.0.0.1:{between.port}", delivery__strategy=strategy, delivery__ack_timeout_s="2"
    ).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    # Of the same length, and no acknowledgement.
    between.strays = (b'"stream":"ORDERS"', b'"streem":"ORDERS"', 10)
    for number in range(10):
        outbox.insert("orders.placed", f"k{number}", {"i": number})
    wait_until("events stored without an answer", lambda: streams.messages("ORDERS") == 11)
    moved(streams, "ORDERS", "LATER", 120 * 10**9)
    outbox.drained()
    stored_once(outbox, streams, "ORDERS", "LATER")


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_what_is_in_doubt_is_found_although_no_stream_takes_its_subject_for_a_while(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy], strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True)
    between = proxy(int(streams.url.rsplit(":", 1)[1]))
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}", delivery__strategy=strategy).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    between.deafen()
    outbox.fill("orders.placed", EVENTS, keys=EVENTS)
    wait_until("events stored without an answer", lambda: streams.messages("ORDERS") == EVENTS + 1)
    between.refuse(True)
    between.cut()
    relay.said("nats.lost")
    streams.change("ORDERS", subjects=["once-orders.>"])
    between.flow()
    outbox.drained()
    last = outbox.insert("orders.placed", "last", {"i": 1})
    relay.said("hold.opened")
    streams.make("LATER", "orders.>")
    outbox.delivered(last)
    stored_once(outbox, streams, "ORDERS", "LATER")
