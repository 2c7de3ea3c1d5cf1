"""PostgreSQL freezes with its ports open; the freezing of NATS and of the relay stands in tests/integration."""

import time

from relay.demo.servers import PostgresServer
from tests.faults.relay_midway import ALERT, ends_well
from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox
from tests.support.fix_stream import Streams


def test_a_database_that_freezes_is_noticed_and_waited_for(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay
) -> None:
    outbox = Outbox(own_postgres.dsn())
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 6000, keys=50)
    relay = make_relay(outbox.dsn, streams.url, **ALERT, **SLOWLY).start()
    outbox.delivered_at_least(500)
    own_postgres.pause()
    frozen = time.monotonic()
    relay.said("postgres.lost")
    # After a statement_timeout_s of 1 s, and not only when the driver has waited for its cancellation.
    assert time.monotonic() - frozen < 6
    own_postgres.resume()
    ends_well(outbox, streams, relay, 6000, 50)
    outbox.conn.close()
