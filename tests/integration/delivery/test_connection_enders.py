"""An event that ends the connection to NATS: found, given up with the server's words, and no trouble for the others."""

import os
import signal
from collections.abc import Callable

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import RELOADS, Streams, own_server_needs

SMALL_ACCOUNT = """
max_payload: 1MB
accounts { A { jetstream: enabled, limits { max_payload: 10KB }, users: [ { user: a, password: a } ] } }
no_auth_user: a
"""


def test_an_account_takes_less_than_the_server(
    outbox: Outbox, tmp_path_factory: pytest.TempPathFactory, make_relay: MakeRelay
) -> None:
    with NatsServer(tmp_path_factory.mktemp("nats"), config=SMALL_ACCOUNT) as server:
        Streams(server.url).make("ORDERS", "orders.>")
        relay = make_relay(outbox.dsn, server.url, nats__user="a", nats__password="a").start()
        outbox.delivered(outbox.insert("orders.a", "k", {"i": 1}))
        large = outbox.insert("orders.large", "b", {"x": "a" * 50_000})
        outbox.delivered(outbox.insert("orders.a", "h", {"i": 2}))
        wait_until("it is a dead letter", lambda: outbox.row(large)["dead_at"] is not None)
        outbox.delivered(outbox.insert("orders.a", "b", {"i": 3}))
        assert len(relay.lines("nats.connected")) < 12
        wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_what_ends_the_connection_is_found_among_others_and_given_up(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy], strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=streams.take_batches)
    between = proxy(int(streams.url.rpartition(":")[2]))
    between.deadly = b"the word that kills"
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}", delivery__strategy=strategy).start()
    relay.said("nats.connected")
    outbox.fill("orders.a", 500, 50)
    deadly = outbox.insert("orders.deadly", "d", {"x": "the word that kills"})
    behind = outbox.insert("orders.a", "d", {"i": 1})
    outbox.fill("orders.a", 500, 50)
    wait_until("it says why it is not ready", lambda: "connections end soon" in relay.get("/readyz")[1])
    aside = relay.said("event.aside")
    assert aside["event_id"] == str(outbox.row(deadly)["id"])

    def found() -> bool:
        outbox.insert("orders.b", None, {})  # others flow between the trials
        return outbox.row(deadly)["dead_at"] is not None

    wait_until("it is a dead letter", found, 60)
    outbox.delivered(behind)
    row = outbox.row(deadly)
    assert row["last_error"].startswith("NATS ended the connection each time this event alone was sent: ")
    relay.said("event.dead")
    assert [line["event_id"] for line in relay.lines("event.dead")] == [str(row["id"])], "no other one is blamed"
    counted = 'dead_letters_total{reason="connection"} 1.0'
    wait_until("it is counted", lambda: counted in relay.get("/metrics")[1])
    wait_until("all others are delivered", lambda: outbox.count("delivered_at IS NULL AND dead_at IS NULL") == 0)
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
    assert len(relay.lines("nats.connected")) < 20, "not again and again at once"


@pytest.mark.parametrize(("before", "after", "size"), [(10_000, 1_000_000, 50_000), (1_000_000, 5_000, 7_000)])
def test_the_limit_of_now_counts(
    outbox: Outbox,
    tmp_path_factory: pytest.TempPathFactory,
    make_relay: MakeRelay,
    before: int,
    after: int,
    size: int,
) -> None:
    own_server_needs(2, 10, why=RELOADS)
    with NatsServer(tmp_path_factory.mktemp("nats"), config=f"max_payload: {before}\n") as server:
        Streams(server.url).make("ORDERS", "orders.>")
        make_relay(outbox.dsn, server.url).start()
        outbox.delivered(outbox.insert("orders.a", "k", {"i": 1}))
        config = server.directory / "nats.conf"
        config.write_text(config.read_text("utf-8").replace(f"max_payload: {before}", f"max_payload: {after}"), "utf-8")
        os.kill(server.pid, signal.SIGHUP)
        wait_until("it is reloaded", lambda: "Reloaded server configuration" in server.log.read_text("utf-8"))
        seq = outbox.insert("orders.a", "b", {"x": "a" * size})
        if size < after:
            outbox.delivered(seq)
        else:
            wait_until("it is a dead letter", lambda: outbox.row(seq)["dead_at"] is not None)
        outbox.delivered(outbox.insert("orders.a", "b", {"i": 2}))


def test_a_connection_over_which_an_event_was_stored_is_not_called_down(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, proxy: Callable[[int], Proxy]
) -> None:
    """Connections that end soon are made again with pauses; an acknowledgement proves more than 10 s of life."""
    streams.make("ORDERS", "orders.>")
    between = proxy(int(streams.url.rpartition(":")[2]))
    relay = make_relay(outbox.dsn, f"nats://127.0.0.1:{between.port}").start()
    for times in range(1, 5):
        relay.said("nats.connected", times)
        between.cut()
        relay.said("nats.lost", times)
    relay.said("nats.connected", 5)
    wait_until("it says why", lambda: "connections end soon" in relay.get("/readyz")[1])
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200, 5)
