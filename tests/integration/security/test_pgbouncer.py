"""Behind PgBouncer the relay knows what holds and what does not, and loses nothing of it."""

import json
from collections.abc import Iterator

import pytest

from relay.demo.servers import PostgresServer
from tests.support.fix_pgbouncer import MakePooler
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_rights import LOGIN
from tests.support.fix_stream import Streams, assert_once_and_in_order
from tests.support.relay_cli import relay as relay_cli

EVENTS = 5000


@pytest.fixture
def direct(own_postgres: PostgresServer) -> Iterator[Outbox]:
    """The outbox as applications reach it."""
    one = Outbox(own_postgres.dsn())
    yield one
    one.conn.close()


def test_in_transaction_mode_it_says_so_at_start_and_finds_events_by_polling(
    own_postgres: PostgresServer, direct: Outbox, pooler: MakePooler, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = make_relay(pooler(own_postgres, "transaction"), streams.url, delivery__poll_max_s="0.2").start()
    assert "polling alone finds new events" in relay.said("bell.silent")["message"]
    direct.fill("orders.placed", EVENTS, keys=37)
    direct.drained()
    direct.delivered(direct.insert("orders.placed", "k0", {"i": EVENTS + 37}), timeout_s=10)
    assert_once_and_in_order(streams.read("ORDERS"), EVENTS + 1, 37)
    assert direct.conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
    assert 'outbox_relay_connection_up{component="bell"} 0.0' in relay.get("/metrics")[1]
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))
    assert relay.stop() == 0
    assert not relay.lines("postgres.lost")


@pytest.mark.parametrize("way", ["bell_dsn", "session mode"])
def test_with_a_direct_address_for_the_bell_or_in_session_mode_inserts_ring(
    own_postgres: PostgresServer, direct: Outbox, pooler: MakePooler, streams: Streams, make_relay: MakeRelay, way: str
) -> None:
    streams.make("ORDERS", "orders.>")
    through = pooler(own_postgres, "transaction" if way == "bell_dsn" else "session")
    extra = {"postgres__bell_dsn": own_postgres.dsn(user=LOGIN)} if way == "bell_dsn" else {}
    # Polling would take a minute.
    relay = make_relay(through, streams.url, delivery__poll_max_s="60", **extra).start()
    relay.said("bell.hung")
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
    for i in range(3):
        wait_until("it sleeps", lambda: direct.conn.execute(locks).fetchone() == (1,))
        direct.delivered(direct.insert("orders.placed", "k", {"i": i}), timeout_s=10)
    assert not relay.lines("bell.silent")


@pytest.mark.parametrize(
    ("mode", "level", "seen"),
    [("transaction", "warning", "pooler in transaction mode"), ("session", "ok", "pooler that keeps sessions")],
)
def test_the_doctor_knows_the_mode_of_the_pooler(
    own_postgres: PostgresServer, pooler: MakePooler, streams: Streams, mode: str, level: str, seen: str
) -> None:
    through = pooler(own_postgres, "transaction" if mode == "transaction" else "session")
    result = relay_cli(through, "doctor", "--output", "json", RELAY_NATS__SERVERS=streams.url)
    found = {one["check"]: one for one in json.loads(result.stdout)["findings"]}
    assert (found["session"]["level"], seen in found["session"]["seen"]) == (level, True)
    assert (found["notifications"]["level"], mode) in (("warning", "transaction"), ("ok", "session"))
