"""If streams cannot be looked at, events flow: that is said once, and asked about seldom."""

import shutil
import signal
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.integration.integrity.test_stream_loss import checked, rolled_back
from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_rights import NATS_USER, SUBJECTS, documented_permissions, nats_config
from tests.support.fix_stream import Streams, assert_once_and_in_order, restrict

# Shorter than one question is waited for.
AT_ONCE_S = 1.5
# Each look asks every stream this first.
QUESTION = "$JS.API.STREAM.INFO.ORDERS"
# Asks the same, in its own time.
NOBODY_ELSE = {"consumers__watch": "false"}


def refusals(server: NatsServer) -> int:
    """Count how often a server has refused to say what the stream holds."""
    lines = server.log.read_text("utf-8").splitlines()
    return sum("Violation" in line and QUESTION in line for line in lines)


def more_refusals(server: NatsServer, times: int) -> None:
    """Wait until the server has refused it so often again."""
    before = refusals(server)
    wait_until("more looks", lambda: refusals(server) >= before + times)


def store(server: NatsServer, shop: str) -> Streams:
    """Restart a server so that on it the events go to a stream of another account; return that one's.

    Args:
        server: To be restarted.
        shop: What else is configured for the account of the relay.
    """
    user, password = NATS_USER.values()
    server.stop()
    server.config = f"""
        accounts {{
            SHOP {{
                {shop}
                users: [
                    {{ user: admin, password: admin }}
                    {{ user: {user}, password: {password}, permissions: {documented_permissions("orders.>")} }}
                ]
                imports: [ {{ service: {{ account: STORE, subject: "orders.>" }} }} ]
            }}
            STORE {{
                jetstream: enabled
                users: [ {{ user: store, password: store }} ]
                exports: [ {{ service: "orders.>" }} ]
            }}
        }}
    """
    server.start()
    return Streams(server.url, user="store", password="store")


def lose(server: NatsServer, relay: Relay) -> Streams:
    """Give back to a relay, which is frozen meanwhile, a server with an empty stream that may be read."""
    relay.signal(signal.SIGSTOP)
    server.stop()
    shutil.rmtree(server.directory / "jetstream")
    server.config = nats_config(*SUBJECTS)
    server.start()
    streams = Streams(server.url)
    streams.make("ORDERS", "orders.>")
    return streams


@pytest.mark.denials
def test_a_missing_right_is_told_once_a_term_and_no_connection_waits_for_it(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = restrict(own_nats, "orders.>")
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, healing__check_every_s="1", **NOBODY_ELSE).start()
    # The second term knows the stream from the first one.
    for term in (1, 2):
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": term}))
        wait_until("it is written down", lambda: outbox.conn.execute("SELECT 1 FROM outbox_streams").fetchone())
        more_refusals(own_nats, 3)
        assert len(relay.lines("streams.unreadable")) == term
        if term == 1:
            assert relay.stop() == 0
            relay.start()
    own_nats.stop()
    seq = outbox.insert("orders.placed", "k", {"i": 3})
    own_nats.start()
    connected = datetime.fromisoformat(relay.said("nats.connected", 3)["ts"])
    outbox.delivered(seq)
    assert (outbox.row(seq)["delivered_at"] - connected).total_seconds() < AT_ONCE_S
    more_refusals(own_nats, 2)
    assert len(relay.lines("streams.unreadable")) == 2


@pytest.mark.denials
def test_what_a_new_stream_holds_is_asked_once_and_then_at_the_regular_looks(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = restrict(own_nats, "orders.>")
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, healing__check_every_s="60", **NOBODY_ELSE).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    wait_until("a look", lambda: refusals(own_nats) > 0)
    holds_for(6, "it was asked once", lambda: refusals(own_nats) == 1)
    assert len(relay.lines("streams.unreadable")) == 1


def test_a_stream_of_another_account_is_not_looked_for_all_the_time(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = store(own_nats, "jetstream: enabled")
    streams.make("ORDERS", "orders.>")
    shop = Streams(own_nats.url, user="admin", password="admin")
    relay = make_relay(outbox.dsn, own_nats.url, healing__check_every_s="60", **NOBODY_ELSE).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))

    def not_found() -> int:
        return int(shop.api("INFO")["api"].get("errors", 0))

    wait_until("a look", lambda: not_found() > 0)
    holds_for(4, "it was asked once", lambda: not_found() == 1)
    assert streams.messages("ORDERS") == 1
    assert relay.lines("streams.unreadable") == []


@pytest.mark.denials
def test_a_right_that_is_given_is_used_over_the_next_connection(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    restrict(own_nats, "orders.>").make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, healing__check_every_s="60", **NOBODY_ELSE).start()
    outbox.fill("orders.placed", 100, keys=10)
    outbox.drained()
    wait_until("a look", lambda: refusals(own_nats) > 0)
    time.sleep(3)  # an answer is waited for for two
    assert len(relay.lines("streams.unreadable")) == 1
    # Nothing else than the look over the new connection would find the loss in time.
    streams = lose(own_nats, relay)
    relay.signal(signal.SIGCONT)
    assert relay.said("stream.lost")["events"] == 100
    outbox.drained()
    assert streams.messages("ORDERS") == 100


def test_after_mere_silence_a_new_connection_is_looked_at_before_anything_is_sent(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    store(own_nats, "").make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, healing__check_every_s="60", **NOBODY_ELSE).start()
    outbox.fill("orders.placed", 100, keys=10)
    outbox.drained()
    relay.said("streams.unreadable")
    streams = lose(own_nats, relay)
    for i in range(101, 121):
        outbox.insert("orders.placed", f"k{i % 10}", {"i": i})
    relay.signal(signal.SIGCONT)
    assert relay.said("stream.lost")["events"] == 100
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 120, 10)


@pytest.mark.denials
def test_what_was_lost_while_a_stream_could_not_be_looked_at_is_found_once_it_can(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    """More was sent since than was lost, so that the stream ends above all that it had acknowledged."""
    restrict(own_nats, "orders.>").make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, healing__check_every_s="60", **NOBODY_ELSE).start()
    outbox.fill("orders.placed", 60, keys=10)
    outbox.drained()

    def meanwhile() -> None:
        outbox.fill("orders.lost", 40, keys=10)
        outbox.drained()
        checked(outbox)

    rolled_back(own_nats, tmp_path / "copy", meanwhile)
    outbox.fill("orders.waited", 200, keys=10)
    own_nats.start()
    outbox.drained()
    assert relay.stop() == 0
    streams = restrict(own_nats, "orders.>", "$JS.API.>")
    assert streams.messages("ORDERS") == 260
    relay.start()
    assert relay.said("stream.lost")["events"] == 40
    outbox.drained()
    assert Counter(message.subject for message in streams.read("ORDERS"))["orders.lost"] == 40
