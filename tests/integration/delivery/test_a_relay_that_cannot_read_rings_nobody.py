"""A relay that holds the bell and does not read makes no producer ring for long: stopped, cut off, or full."""

import signal
import time

import psycopg
import pytest

from relay.demo.servers import NatsServer
from tests.support.bell import asleep, bell_holder, kept_awake, listening, stands_in_line
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

# PostgreSQL ends the session of a holder that asks nothing for 8 s.
_NOTICED_S = 20.0


def rings_nobody(outbox: Outbox) -> None:
    with listening(outbox.dsn) as heard:
        outbox.insert("orders.placed", "k", {"i": 1})
    assert heard == []


def test_a_stopped_relay_loses_the_bell(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    asleep(outbox)
    relay.signal(signal.SIGSTOP)
    try:
        with listening(outbox.dsn) as heard:
            outbox.insert("orders.placed", "k", {"i": 0})
        assert len(heard) == 1
        wait_until("the bell is given up for it", lambda: bell_holder(outbox) is None, _NOTICED_S)
        rings_nobody(outbox)
    finally:
        relay.signal(signal.SIGCONT)
    outbox.drained()
    asleep(outbox)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))


def test_a_stopped_relay_loses_its_place_in_line(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    relay.said("bell.hung")
    with psycopg.connect(outbox.dsn) as producer:
        kept_awake(outbox, producer)
        wait_until("the relay stands in line", lambda: stands_in_line(outbox))
        relay.signal(signal.SIGSTOP)
        try:
            wait_until("it is sent away", lambda: not stands_in_line(outbox), _NOTICED_S)
            rings_nobody(outbox)
        finally:
            relay.signal(signal.SIGCONT)
        wait_until("the relay stands in line again", lambda: stands_in_line(outbox), _NOTICED_S)
        producer.commit()
    outbox.drained()
    asleep(outbox)


@pytest.mark.denials
def test_a_relay_that_sleeps_keeps_the_bell(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    """Longer than PostgreSQL waits for a word of it, with pauses in which nothing is read."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, delivery__poll_max_s="60").start()
    holder = asleep(outbox)
    time.sleep(9)
    assert bell_holder(outbox) == holder
    assert relay.lines("postgres.lost") == []


def test_a_relay_whose_memory_is_full_holds_no_bell(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(
        outbox.dsn,
        own_nats.url,
        delivery__fetch_batch="50",
        delivery__window="50",
        delivery__atomic_batch="20",
        delivery__buffer_events="100",
    ).start()
    asleep(outbox)
    own_nats.kill()
    relay.said("nats.lost")
    for number in range(300):
        outbox.insert("orders.placed", f"k{number}", {"i": number})
        time.sleep(0.002)
    wait_until("it gives the bell back", lambda: bell_holder(outbox) is None)
    rings_nobody(outbox)
    own_nats.start()
    outbox.drained()
    asleep(outbox)
