"""PostgreSQL comes back without its newest marks: what they marked is in the stream, and is not stored twice."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer, PostgresServer
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
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
