"""A stream is known by more than its name: what another one of that name holds proves nothing."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer, free_port
from relay.errors import Exit
from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order, in_another_account
from tests.support.relay_cli import relay as command

EVENTS = 20
KEYS = 5
OFTEN = {"healing__check_every_s": "1"}
# Nobody is kept from anything on these servers.
OPEN = {"nats__user": "", "nats__password": ""}


@dataclass
class Sites:
    """A hub, and a leaf node on which the relay sits; each has a stream ORDERS."""

    hub: NatsServer
    leaf: NatsServer

    @property
    def ours(self) -> Streams:
        """The streams at the hub, where the events go."""
        return Streams(self.hub.url)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[[str, str], Sites]]:
    """Make two sites with the JetStream domains of these names, empty for none."""
    started: list[NatsServer] = []

    def make(hub_domain: str, leaf_domain: str) -> Sites:
        port = free_port()

        def site(name: str, domain: str, leafnodes: str) -> NatsServer:
            of_domain = f"domain: {domain}" if domain else ""
            config = f'server_name: {name}\njetstream {{ store_dir: "{tmp_path / name / "js"}"\n{of_domain} }}\n'
            started.append(NatsServer(tmp_path / name, jetstream=False, config=config + leafnodes).start())
            return started[-1]

        hub = site("hub", hub_domain, f"leafnodes {{ host: 127.0.0.1, port: {port} }}")
        Streams(hub.url).make("ORDERS", "orders.>")
        leaf = site("leaf", leaf_domain, f'leafnodes {{ remotes: [ {{ url: "nats://127.0.0.1:{port}" }} ] }}')
        Streams(leaf.url).make("ORDERS", "local.>")
        linked = "Leafnode connection created"
        wait_until("the leaf is linked", lambda: linked in hub.log.read_text("utf-8"))
        return Sites(hub, leaf)

    yield make
    for server in reversed(started):
        server.stop()


@pytest.mark.parametrize("domains", [("hub", "edge"), ("", "edge")], ids=["both in domains", "the hub in none"])
def test_a_namesake_in_another_domain_has_nothing_sent_again(
    outbox: Outbox, sites: Callable[[str, str], Sites], make_relay: MakeRelay, domains: tuple[str, str]
) -> None:
    site = sites(*domains)
    relay = make_relay(outbox.dsn, site.leaf.url, **OFTEN, **OPEN).start()
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    outbox.drained()
    assert_once_and_in_order(site.ours.read("ORDERS"), EVENTS, KEYS)
    holds_for(4, "no loss is seen", lambda: relay.lines("stream.lost") == [])
    assert len(relay.lines("streams.unreadable")) <= 1
    relay.stop()
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert relay.lines("stream.lost") == []
    assert outbox.count("last_error IS NOT NULL") == 0
    assert site.ours.messages("ORDERS") == EVENTS + 1


def test_what_a_stream_of_another_domain_has_lost_is_sent_to_it_again(
    outbox: Outbox, sites: Callable[[str, str], Sites], make_relay: MakeRelay
) -> None:
    site = sites("hub", "edge")
    relay = make_relay(outbox.dsn, site.leaf.url, **OFTEN, **OPEN).start()
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    outbox.drained()
    created = "SELECT 1 FROM outbox_streams WHERE created IS NOT NULL"
    wait_until("the stream is known", lambda: outbox.conn.execute(created).fetchone())
    site.ours.api("STREAM.DELETE.ORDERS")
    site.ours.make("ORDERS", "orders.>")
    assert relay.said("stream.lost")["stream"] == "hub/ORDERS"
    wait_until("all events in the stream", lambda: site.ours.messages("ORDERS") == EVENTS)
    outbox.drained()
    assert_once_and_in_order(site.ours.read("ORDERS"), EVENTS, KEYS)


def move_into_domain(server: NatsServer, directory: Path) -> None:
    """Start a server again with its store, in a JetStream domain."""
    server.stop()
    server.config = f'jetstream {{ store_dir: "{directory}", domain: hub }}\n'
    server.start()


@pytest.mark.parametrize("lost", ["later", "at once", "while no relay runs"])
def test_what_was_marked_before_a_stream_had_a_domain_is_healed_too_and_goes_first(
    outbox: Outbox, make_relay: MakeRelay, tmp_path: Path, lost: str
) -> None:
    store = tmp_path / "js"
    config = f'jetstream {{ store_dir: "{store}" }}\n'
    with NatsServer(tmp_path / "nats", jetstream=False, config=config) as server:
        streams = Streams(server.url)
        streams.make("ORDERS", "orders.>")
        relay = make_relay(outbox.dsn, server.url, **OFTEN, **OPEN, retention__delivered_age_s="3").start()
        outbox.fill("orders.placed", EVENTS, keys=KEYS)
        outbox.drained()
        created = "SELECT 1 FROM outbox_streams WHERE created IS NOT NULL AND mark_seq > 0"
        wait_until("the stream is known", lambda: outbox.conn.execute(created.encode()).fetchone())
        if lost == "while no relay runs":
            relay.stop()
        move_into_domain(server, store)
        if lost == "later":
            outbox.fill("orders.packed", EVENTS, keys=KEYS)
            outbox.drained()
            assert outbox.count("stream = 'hub/ORDERS'") == EVENTS
        streams.api("STREAM.DELETE.ORDERS")
        streams.make("ORDERS", "orders.>")
        if lost == "while no relay runs":
            relay.start()
        events = 2 * EVENTS if lost == "later" else EVENTS
        wait_until("all events are in the stream", lambda: streams.messages("ORDERS") == events)
        outbox.drained()
        assert outbox.count("stream = 'ORDERS'") == 0
        stored = streams.read("ORDERS")
        placed = [message for message in stored if message.subject == "orders.placed"]
        assert_once_and_in_order(placed, EVENTS, KEYS)
        for packed in (message for message in stored if message.subject == "orders.packed"):
            earlier = [message.seq for message in placed if message.i % KEYS == packed.i % KEYS]
            assert max(earlier) < packed.seq


def beside_a_namesake(server: NatsServer) -> Streams:
    """Start a server whose events go to a stream of another account, beside a namesake; return that one's streams."""
    ours = in_another_account(server)
    Streams(server.url).make("ORDERS", "local.>")
    ours.make("ORDERS", "orders.>")
    return ours


def test_a_namesake_in_our_own_account_has_nothing_sent_again(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    ours = beside_a_namesake(own_nats)
    relay = make_relay(outbox.dsn, own_nats.url, **OFTEN, **OPEN).start()
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    outbox.drained()
    assert "another one" in relay.said("streams.unreadable")["reason"]
    holds_for(3, "no loss is seen", lambda: relay.lines("stream.lost") == [])
    assert len(relay.lines("streams.unreadable")) == 1
    assert_once_and_in_order(ours.read("ORDERS"), EVENTS, KEYS)


def test_verify_takes_no_event_for_lost_that_a_namesake_does_not_hold(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    ours = beside_a_namesake(own_nats)
    relay = make_relay(outbox.dsn, own_nats.url, **OPEN).start()
    outbox.fill("orders.placed", EVENTS, keys=KEYS)
    outbox.drained()
    relay.stop()
    result = command(outbox.dsn, "verify", "--redeliver", "--yes", "--output", "json", RELAY_NATS__SERVERS=own_nats.url)
    found = json.loads(result.stdout)
    assert (found["unknown"], found["lost"], result.exit_code) == (EVENTS, 0, Exit.UNREACHABLE)
    assert outbox.count("delivered_at IS NULL") == 0
    assert ours.messages("ORDERS") == EVENTS
