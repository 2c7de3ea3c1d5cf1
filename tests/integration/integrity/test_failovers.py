"""PostgreSQL comes back without its newest marks: what they marked is in the stream, and is not stored twice."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import NatsServer, PostgresServer
from tests.support.backends import SETTINGS
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_standby import base_backup
from tests.support.fix_stream import Streams, assert_once_and_in_order

WINDOW_S = 1.0
KEYS = 5


@pytest.fixture
def own_outbox(own_postgres: PostgresServer) -> Iterator[Outbox]:
    """The outbox in a PostgreSQL of the test's own."""
    one = Outbox(own_postgres.dsn())
    yield one
    one.conn.close()


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_events_whose_marks_a_failover_has_lost_are_found_in_the_stream_after_the_window(
    own_postgres: PostgresServer,
    own_outbox: Outbox,
    own_nats: NatsServer,
    make_relay: MakeRelay,
    tmp_path: Path,
    strategy: str,
) -> None:
    outbox, streams = own_outbox, Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, allow_atomic=True, duplicate_window=int(WINDOW_S * 1e9))
    relay = make_relay(outbox.dsn, own_nats.url, delivery__strategy=strategy).start()
    outbox.fill("orders.placed", 10, keys=KEYS)
    outbox.drained()
    # The replica has the events and not their marks: NATS takes nothing while the copy is made.
    own_nats.stop()
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
        " jsonb_build_object('i', i) FROM generate_series(11, 60) i",
        (KEYS,),
    )
    own_postgres.stop()
    shutil.copytree(own_postgres.data, tmp_path / "replica")
    own_postgres.start()
    outbox.reconnect()
    own_nats.start()
    outbox.drained()
    saved = "SELECT 1 FROM outbox_streams WHERE floor = 60"
    wait_until("the floor is saved", lambda: outbox.conn.execute(saved).fetchone())
    # Promoted, longer after the delivery than the stream remembers ids.
    own_postgres.kill()
    shutil.rmtree(own_postgres.data)
    shutil.move(tmp_path / "replica", own_postgres.data)
    time.sleep(WINDOW_S * 2)
    own_postgres.start()
    outbox.reconnect()
    outbox.drained()
    assert relay.running
    assert_once_and_in_order(streams.read("ORDERS"), 60, KEYS)
    # More often than once if a further connection was made meanwhile.
    assert sum(line["found"] for line in relay.lines("tail.read")) >= 50
    # And what comes after it flows.
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))


def test_each_connection_goes_to_the_primary_though_a_standby_is_named_first(
    own_postgres: PostgresServer, own_outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    standby = PostgresServer(tmp_path / "standby", settings=SETTINGS)
    standby.directory.mkdir()
    base_backup(own_postgres, standby.data)
    with standby:
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{own_postgres.port}"
        make_relay(f"postgresql://postgres@{hosts}/postgres", own_nats.url).start()
        own_outbox.fill("orders.placed", 20, keys=KEYS)
        own_outbox.drained()
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%'"
        assert len(own_outbox.conn.execute(ours).fetchall()) >= 3
        own_outbox.fill("orders.placed", 20, keys=KEYS)
        own_outbox.drained()
        with psycopg.connect(standby.dsn(), autocommit=True) as conn:
            there = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%'"
            # Each new one looks there first.
            wait_until("none has stayed at the standby", lambda: conn.execute(there).fetchall() == [])
    assert streams.messages("ORDERS") == 40
