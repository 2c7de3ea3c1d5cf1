"""What comes back from the outbox: no pile of it hides what lies behind, and what is gone is forgotten."""

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams


def test_given_back_events_that_cannot_go_hide_none_that_can(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, payload, retry_at, attempts)"
        " SELECT 'nowhere.x', '{}', now(), 3 FROM generate_series(1, 3000)"
    )
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.delivered(seq)
    dead = outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload, dead_at) VALUES ('orders.placed', 'k', '{\"i\": 2}', now())"
        " RETURNING seq"
    ).fetchone()
    assert dead is not None
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 3}))
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL, retry_at = now() WHERE seq = %s", (dead[0],))
    outbox.delivered(dead[0])


@pytest.mark.parametrize("way", ["DELETE FROM outbox_events", "UPDATE outbox_events SET delivered_at = now()"])
def test_a_postponed_event_that_somebody_removes_or_marks_keeps_neither_its_key_nor_the_watermark(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, way: str
) -> None:
    streams.make("ORDERS", "orders.>")
    slowly = {"failures__backoff_base_s": "120", "failures__backoff_max_s": "120"}
    relay = make_relay(outbox.dsn, streams.url, **slowly).start()
    refusal = b'{"error":{"code":400,"err_code":19999,"description":"for no known reason"}}'
    with streams.subscriber("silent.>", refusal):
        postponed = outbox.insert("silent.x", "k", {"i": 0})
        relay.said("event.postponed")
    behind = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.conn.execute(f"{way} WHERE seq = %s".encode(), (postponed,))
    outbox.delivered(behind)

    def watermark() -> object:
        row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
        return row and row[0]

    wait_until("the watermark past it", lambda: watermark() == behind)
