"""Starting, stopping, standing by and taking over: nothing is lost, sent twice, or sent out of order."""

import signal
import socket
import time
from collections.abc import Callable

import pytest

from relay.demo.servers import NatsServer, PostgresServer
from relay.errors import Exit
from relay.stop_signals import SAME_WISH_S
from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order, ids

ThroughUs = Callable[[str], str]
STRATEGIES = ["singles", "atomic"]
# The shortest that is permitted, and how often a standby asks.
LEASE_S = 2.0
ASKS_EVERY_S = 1.0
# For a machine that does other things meanwhile.
SLACK_S = 5.0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sigterm_in_the_middle_settles_what_is_in_flight_and_a_restart_finishes(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: ThroughUs, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 8000, keys=100)
    relay = make_relay(outbox.dsn, through_us(streams.url), delivery__strategy=strategy, **SLOWLY)
    for turn in range(3):
        relay.start()
        # What was delivered before says nothing about this one: it must be there before it can be asked to stop.
        relay.said("relay.active", turn + 1)
        outbox.delivered_at_least(1 + 1500 * turn)
        assert relay.stop() == Exit.DONE
        delivered = outbox.count("delivered_at IS NOT NULL")
        assert delivered < 8000, "it was stopped in the middle"
        assert streams.messages("ORDERS") == delivered
        # The lease is given back, and the next one need not wait for it.
        assert outbox.conn.execute("SELECT DISTINCT owner FROM outbox_shards").fetchall() == [(None,)]
    relay.start()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 8000, 100)


def test_sigterm_ends_an_idle_relay_and_sigint_does_the_same(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    relay = make_relay(outbox.dsn, streams.url)
    for number in (signal.SIGTERM, signal.SIGINT):
        before = len(relay.lines("relay.active"))
        relay.start()
        relay.said("relay.active", before + 1)
        relay.said("nats.connected", before + 1)
        asked = time.monotonic()
        relay.signal(number)
        assert relay.wait() == Exit.DONE
        assert time.monotonic() - asked < SLACK_S


def test_sigterm_ends_a_relay_that_waits_for_its_servers(
    own_postgres: PostgresServer, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    own_nats.stop()
    relay = make_relay(own_postgres.dsn(), own_nats.url).start()
    relay.said("nats.unreachable")
    wait_until("it says why", lambda: relay.get("/readyz")[0] == 503 and "nats down: " in relay.get("/readyz")[1])
    assert relay.stop() == Exit.DONE
    own_postgres.stop()
    relay.start()
    relay.said("postgres.lost")
    wait_until("it says why", lambda: relay.get("/readyz") == (503, "starting\n"))
    assert relay.stop() == Exit.DONE


def test_a_relay_that_started_before_its_servers_begins_when_they_are_there(
    own_postgres: PostgresServer, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    outbox = Outbox(own_postgres.dsn())
    Streams(own_nats.url).make("ORDERS", "orders.>")
    seq = outbox.insert("orders.placed", "k", {"i": 0})
    own_postgres.stop()
    own_nats.stop()
    relay = make_relay(own_postgres.dsn(), own_nats.url).start()
    relay.said("postgres.lost")
    own_postgres.start()
    relay.said("nats.unreachable")
    own_nats.start()
    outbox.reconnect()
    outbox.delivered(seq)
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))
    outbox.conn.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_later_signal_leaves_at_once_and_nothing_is_lost(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, number: signal.Signals
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    relay = _stuck_in_flight(outbox, own_nats, make_relay)
    relay.signal(number)
    relay.said("relay.stopping")
    stopping = time.monotonic()
    wait_until("it says that it stops", lambda: relay.get("/readyz") == (503, "stopping\n"))
    wait_until("a signal is another wish", lambda: time.monotonic() - stopping > SAME_WISH_S)
    relay.signal(number)
    asked = time.monotonic()
    assert relay.wait() == 128 + number
    assert time.monotonic() - asked < SLACK_S
    own_nats.resume()
    outbox.leases_run_out()
    relay.start()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 3000, 100)


def test_the_deadline_of_a_shutdown_says_4_and_nothing_is_lost(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    relay = _stuck_in_flight(outbox, own_nats, make_relay, delivery__shutdown_timeout_s="0.5")
    assert relay.stop() == Exit.DRAIN_INCOMPLETE
    assert "they stay pending and are sent again" in relay.lines("relay.drained_partly")[0]["message"]
    own_nats.resume()
    relay.start()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 3000, 100)


def _stuck_in_flight(outbox: Outbox, nats: NatsServer, make_relay: MakeRelay, **settings: str) -> Relay:
    """Return a relay with events in flight to a server that is frozen."""
    relay = make_relay(
        outbox.dsn, nats.url, nats__ping_interval_s="30", delivery__ack_timeout_s="30", lease__ttl_s="2", **settings
    ).start()
    relay.said("nats.connected")
    nats.pause()
    outbox.fill("orders.placed", 3000, keys=100)
    wait_until("events in flight", lambda: "outbox_relay_in_flight_events 100.0" in relay.get("/metrics")[1])
    return relay


def test_a_second_relay_stands_by_and_takes_over_at_once_when_the_first_is_stopped(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: ThroughUs
) -> None:
    streams.make("ORDERS", "orders.>")
    first, second = _pair(outbox, through_us(streams.url), make_relay, lease__ttl_s="60")
    outbox.fill("orders.placed", 8000, keys=100)
    outbox.delivered_at_least(1000)
    assert first.stop() == Exit.DONE
    assert streams.messages("ORDERS") < 8000, "it was stopped in the middle"
    stopped = time.monotonic()
    second.said("relay.active")
    assert time.monotonic() - stopped < ASKS_EVERY_S + SLACK_S
    wait_until("it says that it is active", lambda: second.get("/readyz") == (200, "ready: active\n"))
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 8000, 100)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_relay_of_another_machine_takes_over_within_the_lease_when_the_first_is_killed(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: ThroughUs, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    first, second = _pair(outbox, through_us(streams.url), make_relay, delivery__strategy=strategy, test_elsewhere="1")
    outbox.fill("orders.placed", 8000, keys=100)
    outbox.delivered_at_least(1000)
    first.kill()
    killed = time.monotonic()
    assert outbox.count("delivered_at IS NOT NULL") < 8000, "it was killed in the middle"
    second.said("relay.active")
    assert time.monotonic() - killed < LEASE_S + ASKS_EVERY_S + SLACK_S
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 8000, 100)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_owner_that_was_frozen_past_its_lease_writes_nothing_more(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: ThroughUs, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    first, second = _pair(outbox, through_us(streams.url), make_relay, delivery__strategy=strategy)
    outbox.fill("orders.placed", 10_000, keys=100)
    outbox.delivered_at_least(500)
    first.signal(signal.SIGSTOP)
    assert outbox.count("delivered_at IS NOT NULL") < 10_000, "it was frozen in the middle"
    second.said("relay.active")
    outbox.delivered_at_least(3000)
    # It wakes while the other one is at work, with events in its hands and in flight.
    first.signal(signal.SIGCONT)
    first.said("lease.lost")
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 10_000, 100)
    _marks_are_right(outbox, streams)
    # It has become the standby, and is of use as such.
    wait_until("it says so", lambda: first.get("/readyz") == (200, "ready: standby\n"))
    wait_until("the other one is active", lambda: second.get("/readyz") == (200, "ready: active\n"))
    assert second.stop() == Exit.DONE
    first.said("relay.active", 2)
    outbox.delivered(outbox.insert("orders.placed", "k1", {"i": 10_001}))
    assert first.stop() == Exit.DONE


def test_owners_that_freeze_in_turn_lose_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: ThroughUs
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    pair = _pair(outbox, through_us(streams.url), make_relay)
    outbox.fill("orders.placed", 10_000, keys=7)
    for turn in range(3):
        owner, other = pair if turn % 2 == 0 else reversed(pair)
        before = len(other.lines("relay.active"))
        outbox.delivered_at_least(500 + 2000 * turn)
        owner.signal(signal.SIGSTOP)
        other.said("relay.active", before + 1)
        owner.signal(signal.SIGCONT)
        owner.said("lease.lost", turn // 2 + 1)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 10_000, 7)
    _marks_are_right(outbox, streams)


def _pair(outbox: Outbox, url: str, make_relay: MakeRelay, **settings: str) -> tuple[Relay, Relay]:
    """Start a relay at work and one that stands by, since there is but one shard."""
    outbox.conn.execute("DELETE FROM outbox_shards WHERE shard > 0")
    settings = {"lease__ttl_s": f"{LEASE_S:g}", **SLOWLY, **settings}
    first = make_relay(outbox.dsn, url, **settings).start()
    first.said("relay.active")
    second = make_relay(outbox.dsn, url, **settings).start()
    second.said("relay.standby")
    wait_until("the standby is ready", lambda: second.get("/readyz") == (200, "ready: standby\n"))
    wait_until("the first is at work", lambda: first.get("/readyz") == (200, "ready: active\n"))
    return first, second


def _marks_are_right(outbox: Outbox, streams: Streams) -> None:
    """Hold the marks against the stream: each event names the very message."""
    assert outbox.marks() == ids(streams.read("ORDERS"))


def test_a_relay_whose_lease_runs_out_while_the_database_is_away_goes_on(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay
) -> None:
    outbox = Outbox(own_postgres.dsn())
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 6000, keys=50)
    relay = make_relay(outbox.dsn, streams.url, lease__ttl_s=f"{LEASE_S:g}", **SLOWLY).start()
    outbox.delivered_at_least(500)
    own_postgres.stop("immediate")
    down = time.monotonic()
    relay.said("postgres.lost")
    wait_until("the lease has run out", lambda: time.monotonic() - down > LEASE_S + 0.5)
    own_postgres.start()
    outbox.reconnect()
    outbox.drained()
    outbox.conn.close()
    assert_once_and_in_order(streams.read("ORDERS"), 6000, 50)
    assert relay.stop() == Exit.DONE


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("lease__ttl_s", "0", "environment RELAY_LEASE__TTL_S"),
        ("delivery__strategy", "fastest", "environment RELAY_DELIVERY__STRATEGY"),
        ("postgres__table", 'x"; DROP TABLE y', "environment RELAY_POSTGRES__TABLE"),
        ("delivery__fetch_bunch", "7", "environment RELAY_DELIVERY__FETCH_BUNCH"),
    ],
)
def test_a_bad_setting_ends_with_2_and_is_named(
    outbox: Outbox, nats: str, make_relay: MakeRelay, setting: str, value: str, named: str
) -> None:
    relay = make_relay(outbox.dsn, nats, **{setting: value}).start()
    assert relay.wait() == Exit.CONFIG
    assert [line for line in relay.text().splitlines() if named in line]


def test_a_port_that_is_taken_ends_with_2(outbox: Outbox, nats: str, make_relay: MakeRelay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        relay = make_relay(outbox.dsn, nats, http__port=str(taken.getsockname()[1])).start()
        assert relay.wait() == Exit.CONFIG
    assert "cannot listen on 127.0.0.1" in relay.text()


def test_without_the_outbox_the_relay_ends_with_3(empty_database: str, nats: str, make_relay: MakeRelay) -> None:
    relay = make_relay(empty_database, nats).start()
    assert relay.wait() == Exit.SCHEMA
    assert "run `relay migrate`" in relay.text()
