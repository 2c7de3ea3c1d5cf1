"""Each link of the relay is cut, refused, silent, slow and crumbled: it costs time, and nothing else."""

from collections.abc import Callable

import pytest

from tests.faults.relay_midway import ALERT, ends_well
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams, ids

KEYS = 100
LINKS = ["postgres", "nats"]
STRATEGIES = ["singles", "atomic"]
# Holds are tried again soon.
QUICKLY = {"failures__hold_max_s": "1"}
MakeProxy = Callable[[int], Proxy]


def through(
    link: str, outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy, **settings: str
) -> tuple[Proxy, Relay]:
    """Return a relay one of whose links leads through a proxy, and that proxy."""
    dsn, url = outbox.dsn, streams.url
    if link == "postgres":
        address, _, database = dsn.rpartition("/")
        between = proxy(int(address.rsplit(":", 1)[1]))
        dsn = f"{address.rsplit(':', 1)[0]}:{between.port}/{database}"
    else:
        between = proxy(int(url.rsplit(":", 1)[1]))
        url = f"nats://127.0.0.1:{between.port}"
    return between, make_relay(dsn, url, **SLOWLY, **settings)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_is_cut_again_and_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy, link: str, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 6000, KEYS)
    between, relay = through(link, outbox, streams, make_relay, proxy, delivery__strategy=strategy, **ALERT)
    relay.start()
    for turn in range(5):
        outbox.delivered_at_least(200 + turn * 800)
        if link == "nats":
            # What was acknowledged before the last cut is marked after it, while there is no connection to cut.
            relay.said("nats.connected", turn + 1)
        between.cut()
        relay.said(f"{link}.lost", turn + 1)
    ends_well(outbox, streams, relay, 6000, KEYS)


@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_is_refused_for_a_while(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy, link: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 4000, KEYS)
    between, relay = through(link, outbox, streams, make_relay, proxy, **ALERT)
    relay.start()
    outbox.delivered_at_least(500)
    between.refuse(True)
    between.cut()
    relay.said(f"{link}.lost")
    wait_until("readiness to name it", lambda: link in relay.get("/readyz")[1])
    assert outbox.count("delivered_at IS NULL") > 0
    between.flow()
    ends_well(outbox, streams, relay, 4000, KEYS)


@pytest.mark.parametrize("late", [True, False], ids=["then all arrives late", "then it is cut"])
@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_is_silent_until_it_is_given_up(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy, link: str, late: bool
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 4000, KEYS)
    between, relay = through(link, outbox, streams, make_relay, proxy, **ALERT)
    relay.start()
    outbox.delivered_at_least(500)
    between.swallow()
    relay.said(f"{link}.lost")
    if not late:
        between.cut()
    between.flow()
    ends_well(outbox, streams, relay, 4000, KEYS)


@pytest.mark.parametrize("link", LINKS)
def test_a_link_of_a_tenth_of_a_second(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy, link: str
) -> None:
    """Slow is not broken: with the patience that it is shipped with, no connection is given up."""
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    between, relay = through(link, outbox, streams, make_relay, proxy)
    relay.start()
    relay.said("nats.connected")
    between.delay_s = 0.1
    outbox.fill("orders.placed", 400, KEYS)
    ends_well(outbox, streams, relay, 400, KEYS)
    assert not relay.lines(f"{link}.lost")


def test_an_acknowledgement_counts_however_late_it_comes(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy
) -> None:
    streams.make("ORDERS", "orders.>")
    between, relay = through(
        "nats", outbox, streams, make_relay, proxy, nats__ping_interval_s="60", delivery__ack_timeout_s="1", **QUICKLY
    )
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    between.delay_s = 1.5
    seqs = [outbox.insert("orders.placed", "k", {"i": number}) for number in (2, 3)]
    outbox.delivered(seqs[-1], timeout_s=60)
    assert relay.lines("hold.opened")
    between.flow()
    assert [message.i for message in streams.read("ORDERS")] == [1, 2, 3]
    assert outbox.marks() == ids(streams.read("ORDERS"))


def test_an_event_that_takes_longer_than_pings_are_waited_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy
) -> None:
    """The answer to a ping stands behind it: a connection that is given up begins with its first byte again."""
    streams.make("ORDERS", "orders.>")
    between, relay = through(
        "nats", outbox, streams, make_relay, proxy, nats__ping_interval_s="1", delivery__ack_timeout_s="60"
    )
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    # The event takes 6.5 s, and an unanswered ping 3 s.
    between.bytes_a_second = 20_000
    large = outbox.insert("orders.placed", "k", {"i": 2, "note": "x" * 130_000})
    outbox.delivered(large, timeout_s=60)
    assert relay.said("nats.lost")["reason"] == "nats: stale connection"
    between.flow()
    assert [message.i for message in streams.read("ORDERS")] == [1, 2]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_passes_everything_in_pieces(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: MakeProxy, link: str
) -> None:
    """No message arrives whole, and some connections end in the middle of one."""
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    between, relay = through(link, outbox, streams, make_relay, proxy, **ALERT)
    between.crumble = True
    outbox.fill("orders.placed", 2000, KEYS)
    relay.start()
    outbox.delivered_at_least(400)
    between.cut()
    relay.said(f"{link}.lost")
    ends_well(outbox, streams, relay, 2000, KEYS)
