"""Whether adopted tables are copied as agreed, in the metrics and in the log."""

import psycopg
import pytest

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done

TABLE = """
CREATE TABLE theirs (id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL,
                     payload jsonb, tracingspancontext text)
"""


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("ALTER TABLE theirs DISABLE TRIGGER USER", "nothing is copied"),
        ("ALTER TABLE theirs RENAME COLUMN type TO kind", "each insert fails"),
    ],
)
def test_an_adoption_that_breaks_is_shown_and_logged(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, fault: str, state: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url)

    def shown() -> list[str]:
        return [line for line in relay.get("/metrics")[1].splitlines() if line.startswith("outbox_relay_adoption_ok{")]

    with psycopg.connect(outbox.dsn, autocommit=True) as conn:
        conn.execute(TABLE)
        done(outbox.dsn, "adopt", "install", "--preset", "debezium", "--source", "theirs", "--yes")
        relay.start()
        wait_until("it is sound", lambda: shown() == ['outbox_relay_adoption_ok{table="public.theirs"} 1.0'])
        relay.stop()
        assert "adoption." not in relay.text()
        conn.execute(fault.encode())
        relay.start()
        wait_until("it is broken", lambda: shown() == ['outbox_relay_adoption_ok{table="public.theirs"} 0.0'])
        relay.stop()
    told = relay.said("adoption.broken")
    assert state in told["state"] and told["table"] == "public.theirs"
