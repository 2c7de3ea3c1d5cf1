"""What is wrong with one event keeps the others of its stream from nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams

RIGHTS = """{ publish: {
    allow: [
        "orders.>", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*", "$JS.API.DIRECT.GET.>",
        "$JS.API.CONSUMER.LIST.*"
    ]
    deny: ["orders.secret.>"]
}, subscribe: ["_INBOX_relay.>"] }"""
ACCOUNTS = f"""
accounts {{ S {{ jetstream: enabled, users: [
    {{ user: admin, password: admin }}
    {{ user: r, password: r, permissions: {RIGHTS} }}
] }} }}
no_auth_user: admin
"""


@pytest.mark.denials
@pytest.mark.parametrize("topic", ['orders.secret."x"', "orders.secret.a\\b", 'orders.secret.""', "orders.secret.It's"])
def test_a_right_is_refused_on_a_subject_that_the_server_has_to_quote(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay, topic: str
) -> None:
    with NatsServer(tmp_path / "server", config=ACCOUNTS) as server:
        Streams(server.url).make("ORDERS", "orders.>")
        relay = make_relay(outbox.dsn, server.url, nats__user="r", nats__password="r").start()
        outbox.delivered(outbox.insert("orders.a", "k", {}))
        outbox.insert(topic, "secret", {})
        hold = relay.said("hold.opened")
        assert (hold["scope"], hold["failure_class"]) == (f"subject {topic}", "configuration")
        for _ in range(5):
            outbox.delivered(outbox.insert("orders.a", "k", {}), 3)
        assert {line["scope"] for line in relay.lines("hold.opened")} == {f"subject {topic}"}


def test_an_event_that_alone_is_not_answered_is_retried_alone(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    if not streams.take_batches:
        pytest.skip("servers before 2.11 do not know the header by which they store nothing and answer nothing")
    streams.make("ORDERS", "orders.>")
    relay = make_relay(
        outbox.dsn,
        streams.url,
        delivery__ack_timeout_s="1",
        headers__allow_nats="Nats-Trace-Dest,Nats-Trace-Only",
    ).start()
    outbox.delivered(outbox.insert("orders.a", "k", {}))
    mute = outbox.insert("orders.mute", "m", {}, headers={"Nats-Trace-Dest": "orders.trace", "Nats-Trace-Only": "true"})

    def flows() -> bool:
        outbox.delivered(outbox.insert("orders.a", "k", {}), 2)
        return True

    wait_until("it is retried", lambda: flows() and outbox.row(mute)["attempts"] > 0)
    holds_for(5, "the others flow", flows)
    assert relay.lines("hold.opened") == []
    assert outbox.row(mute)["last_error"].startswith("the stream acknowledged what was sent later")


def test_messages_that_a_server_drops_while_it_stores_later_ones_cost_their_events_no_attempt(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, proxy: Callable[[int], Proxy]
) -> None:
    """So does a stream whose leader changes, seldom: here each message is led astray twice on its way."""
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.a", "orders.lost")
    link = proxy(own_nats.port)
    with streams.subscriber("orders.gone", None):
        relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{link.port}", delivery__ack_timeout_s="1").start()
        outbox.delivered(outbox.insert("orders.a", "k", {}))
        link.strays = (b" orders.lost ", b" orders.gone ", 2)
        lost = [outbox.insert("orders.lost", "m", {"i": i}) for i in range(2)]

        def flows_until_all_is_there() -> bool:
            outbox.delivered(outbox.insert("orders.a", "k", {}), 2)
            return outbox.count("delivered_at IS NULL") == 0

        wait_until("all is delivered", flows_until_all_is_there)
    assert link.strays[2] == 0
    assert [outbox.row(seq)["attempts"] for seq in lost] == [0, 0]
    assert relay.lines("hold.opened") == []
    assert relay.lines("event.postponed") == []
