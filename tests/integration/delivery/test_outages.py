"""The broker or the database is gone for a while: nothing is lost, nothing dies, nothing comes twice."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from relay.demo.servers import NatsServer, PostgresServer, free_port
from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_rights import LOGIN
from tests.support.fix_stream import Streams, assert_once_and_in_order


@pytest.fixture
def own_outbox(own_postgres: PostgresServer) -> Iterator[Outbox]:
    """The outbox in a PostgreSQL of the test's own."""
    one = Outbox(own_postgres.dsn())
    yield one
    one.conn.close()


def terminate(outbox: Outbox, connection: str) -> None:
    """End one of the relay's connections from the server."""
    outbox.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        (f"outbox-relay {connection}",),
    )


def test_an_outage_longer_than_all_attempts_kills_no_event_and_is_told_once(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(
        outbox.dsn,
        own_nats.url,
        failures__max_attempts="2",
        failures__backoff_base_s="0.1",
        failures__backoff_max_s="0.1",
    ).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    own_nats.kill()
    relay.said("nats.lost")
    outbox.fill("orders.placed", 500, keys=9)
    wait_until("readiness to name NATS", lambda: relay.get("/readyz")[0] == 503 and "nats" in relay.get("/readyz")[1])
    assert relay.get("/healthz")[0] == 200
    # Far longer than two attempts a tenth of a second apart.
    time.sleep(3)
    assert outbox.count("attempts > 0 OR dead_at IS NOT NULL OR retry_at IS NOT NULL") == 0
    own_nats.start()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS")[1:], 500, 9)
    told = [line["action"] for line in relay.lines() if line["action"].startswith("nats.")]
    assert told == ["nats.connected", "nats.lost", "nats.connected"]
    wait_until("readiness", lambda: relay.get("/readyz")[0] == 200)


def test_a_frozen_server_is_noticed_and_nothing_comes_twice(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, nats__ping_interval_s="1").start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    own_nats.pause()
    outbox.fill("orders.placed", 500, keys=9)
    relay.said("nats.lost")
    own_nats.resume()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS")[1:], 500, 9)
    assert outbox.count("attempts > 0") == 0


def test_a_second_server_is_found_where_the_first_is_dead(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, f"nats://127.0.0.1:{free_port()},{streams.url}").start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))


def test_a_relay_that_starts_before_nats_waits_for_it(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    own_nats.stop()
    seq = outbox.insert("orders.placed", "k", {"i": 0})
    relay = make_relay(
        outbox.dsn, own_nats.url, stream__manage="true", stream__name="ORDERS", stream__duplicate_window_s="60"
    ).start()
    relay.said("nats.unreachable")
    own_nats.start()
    outbox.delivered(seq)
    config = Streams(own_nats.url).config("ORDERS")
    assert (config["storage"], config["duplicate_window"], config["allow_direct"]) == ("file", 60 * 10**9, True)
    assert config.get("allow_atomic", False) is Streams(own_nats.url).take_batches
    relay.stop()
    changed = make_relay(
        outbox.dsn, own_nats.url, stream__manage="true", stream__name="ORDERS", stream__duplicate_window_s="90"
    ).start()
    changed.said("stream.managed")
    assert Streams(own_nats.url).config("ORDERS")["duplicate_window"] == 90 * 10**9


@pytest.mark.parametrize("mode", ["immediate", "kill"])
def test_a_crash_of_postgres_loses_no_event_and_no_mark(
    own_postgres: PostgresServer, own_outbox: Outbox, streams: Streams, make_relay: MakeRelay, mode: str
) -> None:
    streams.make("ORDERS", "orders.>")
    own_outbox.fill("orders.placed", 20_000, keys=37)
    relay = make_relay(own_outbox.dsn, streams.url).start()
    wait_until("some delivered", lambda: own_outbox.count("delivered_at IS NOT NULL") > 2000)
    own_outbox.conn.close()
    if mode == "kill":
        own_postgres.kill()
    else:
        own_postgres.stop("immediate")
    relay.said("postgres.lost")
    wait_until("readiness to name it", lambda: "postgres" in relay.get("/readyz")[1])
    assert relay.get("/healthz")[0] == 200
    own_postgres.start()
    own_outbox.reconnect()
    own_outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 20_000, 37)
    own_outbox.delivered(own_outbox.insert("orders.placed", "after", {"i": 0}))
    assert relay.stop() == 0
    assert len(relay.lines("postgres.lost")) <= 3, "one line for each connection"


@pytest.mark.denials
@pytest.mark.parametrize(
    ("refuse", "allow", "told"),
    [
        (
            f"ALTER ROLE {LOGIN} SET default_transaction_read_only = on",
            f"ALTER ROLE {LOGIN} RESET default_transaction_read_only",
            "read-only",
        ),
        (
            "REVOKE UPDATE (delivered_at) ON outbox_events FROM outbox_relay",
            "GRANT UPDATE (delivered_at) ON outbox_events TO outbox_relay",
            "permission denied",
        ),
    ],
    ids=["read-only", "no right"],
)
def test_a_server_that_lets_us_in_and_refuses_to_write_counts_as_lost_and_is_told_once(
    own_outbox: Outbox, streams: Streams, make_relay: MakeRelay, refuse: str, allow: str, told: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(own_outbox.dsn, streams.url, delivery__bell="false").start()
    own_outbox.delivered(own_outbox.insert("orders.placed", "k", {"i": 0}))

    def of(connection: str) -> list[str]:
        return [
            f"{line['action']} {line.get('error', '')}"
            for line in relay.lines()
            if line.get("connection") == connection
        ]

    def away_s() -> float:
        found = [
            line for line in relay.get("/metrics")[1].splitlines() if 'outage_seconds_total{class="database"}' in line
        ]
        return float(found[0].split()[1])

    def down() -> bool:
        up = 'outbox_relay_connection_up{component="postgres"} 1.0'
        status, body = relay.get("/readyz")
        is_told = body.startswith("PostgreSQL answers, and refuses") and told in body
        return (status, is_told) == (503, True) and up not in relay.get("/metrics")[1]

    own_outbox.conn.execute(refuse.encode())
    terminate(own_outbox, "settle")
    seq = own_outbox.insert("orders.placed", "k", {"i": 1})
    wait_until("it says why", lambda: any(told in line for line in of("settle")))
    wait_until("it is not ready", down)
    before, away = of("settle"), away_s()
    # The one that reads comes back, and does not speak for the other.
    terminate(own_outbox, "fetch")
    holds_for(5, "PostgreSQL is down", down)
    assert away_s() > away + 3
    assert of("settle") == before
    assert [line.split()[0] for line in of("fetch")] == ["postgres.lost", "postgres.connected"]
    own_outbox.conn.execute(allow.encode())
    own_outbox.delivered(seq)
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))
    assert of("settle") == [*before, "postgres.connected "]
    assert [message.i for message in streams.read("ORDERS")] == [0, 1]


def refused(relay: Relay) -> bool:
    """Report whether it says that PostgreSQL answers, and lets it not read."""
    status, body = relay.get("/readyz")
    return status == 503 and body.startswith("PostgreSQL answers, and refuses") and "permission denied" in body


@pytest.mark.denials
def test_a_standby_is_ready_whatever_it_has_lost_in_its_last_term(
    own_outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(own_outbox.dsn, streams.url).start()
    own_outbox.delivered(own_outbox.insert("orders.placed", "k", {"i": 0}))
    columns = "seq, id, topic, key, headers, created_at, delivered_at, attempts, retry_at, dead_at, stream, stream_seq"
    own_outbox.conn.execute(
        "REVOKE SELECT ON outbox_events FROM outbox_relay;"
        f" GRANT SELECT ({columns}) ON outbox_events TO outbox_relay".encode()
    )
    seq = own_outbox.insert("orders.placed", "k", {"i": 1})
    assert relay.said("postgres.lost")["connection"] == "fetch"
    wait_until("it is not ready", lambda: refused(relay))
    own_outbox.conn.execute(
        "UPDATE outbox_shards SET owner = 'another', epoch = epoch + 1, lease_until = now() + interval '1 hour'"
    )
    relay.said("relay.standby")
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: standby\n"))
    # In its next term it finds out again.
    own_outbox.leases_run_out()
    wait_until("it is not ready again", lambda: refused(relay))
    own_outbox.conn.execute("GRANT SELECT ON outbox_events TO outbox_relay")
    own_outbox.delivered(seq)
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))


def test_metrics_tell_the_story_of_an_outage(outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay) -> None:
    Streams(own_nats.url).make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    own_nats.kill()
    relay.said("nats.lost")
    outbox.fill("orders.placed", 100, keys=5)

    def metrics() -> dict[str, float]:
        lines = [line.rsplit(" ", 1) for line in relay.get("/metrics")[1].splitlines() if line[:1] != "#"]
        return {name: float(value) for name, value in lines}

    wait_until("the backlog in the metrics", lambda: metrics()["outbox_relay_backlog_events"] == 100)
    assert metrics()['outbox_relay_connection_up{component="nats"}'] == 0
    own_nats.start()
    outbox.drained()
    wait_until("an empty backlog", lambda: metrics()["outbox_relay_backlog_events"] == 0)
    assert metrics()['outbox_relay_connection_up{component="nats"}'] == 1
    assert metrics()["outbox_relay_delivery_latency_seconds_count"] == 101


def test_a_server_over_which_jetstream_does_not_answer_is_left_for_the_next_one(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay
) -> None:
    silent, other = NatsServer(tmp_path / "silent", jetstream=False), NatsServer(tmp_path / "other")
    with silent:
        relay = make_relay(outbox.dsn, f"{silent.url},{other.url}").start()
        # The only one that is there. As one that is cut off from its cluster it answers, and JetStream does not.
        relay.said("nats.connected")
        with other:
            streams = Streams(other.url)
            streams.make("ORDERS", "orders.>")
            outbox.fill("orders.placed", 20, keys=5)
            outbox.drained(60)
            assert "has answered nothing over this server" in str(relay.lines("nats.lost"))
            assert_once_and_in_order(streams.read("ORDERS"), 20, 5)
        assert relay.stop() == 0


def test_the_only_server_is_not_left_while_jetstream_does_not_answer(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay
) -> None:
    with NatsServer(tmp_path / "silent", jetstream=False) as silent:
        relay = make_relay(outbox.dsn, silent.url).start()
        outbox.insert("orders.placed", "k", {"i": 0})
        relay.said("nats.connected")
        holds_for(20, "it stays", lambda: not relay.lines("nats.lost"))


def test_of_two_databases_the_first_may_be_silent(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    """Connecting has a limit for each address; that of a statement, which is shorter, says nothing of it."""
    streams.make("ORDERS", "orders.>")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = f"{silent.getsockname()[1]},{outbox.conn.info.port}"
        dsn = make_conninfo(outbox.dsn, host="127.0.0.1,127.0.0.1", port=ports)
        make_relay(dsn, streams.url, postgres__connect_timeout_s="2", postgres__statement_timeout_s="1").start()
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))


def test_a_managed_stream_that_could_not_be_made_is_made_over_the_same_connection(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("OTHER", "orders.>")
    managing = {"stream__manage": "true", "stream__name": "ORDERS", "stream__subjects": "orders.>"}
    relay = make_relay(outbox.dsn, streams.url, **managing).start()
    relay.said("stream.unmanaged")
    streams.api("STREAM.DELETE.OTHER")
    relay.said("stream.managed")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert len(streams.read("ORDERS")) == 1
    assert len(relay.lines("stream.unmanaged")) == len(relay.lines("nats.connected")) == 1
