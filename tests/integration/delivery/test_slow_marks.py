"""Marks that take longer than a statement may are made smaller until they are done, as reads are."""

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON outbox_events FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION slow()
"""


def slow(outbox: Outbox, seconds: float, condition: str = "true") -> None:
    outbox.conn.execute(SLOW.format(seconds=seconds, condition=condition).encode())


def test_marks_that_are_too_slow_together_are_made_in_parts(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """1,500 marks take some 5 s, and a statement may take 1 s."""
    streams.make("ORDERS", "orders.>")
    slow(outbox, 0.002)
    outbox.fill("orders.placed", 1500, keys=20)
    relay = make_relay(outbox.dsn, streams.url, postgres__statement_timeout_s="1", lease__ttl_s="10").start()
    outbox.drained()
    assert streams.messages("ORDERS") == 1500
    outbox.conn.execute("DROP TRIGGER slow ON outbox_events")
    outbox.fill("orders.placed", 3000, keys=20)
    outbox.drained()
    assert streams.messages("ORDERS") == 4500
    assert relay.running


def test_a_row_that_alone_is_too_slow_to_mark_holds_up_no_other(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    slow(outbox, 20, "NEW.topic = 'orders.slow'")
    slow_one = outbox.insert("orders.slow", "s", {"i": 0})
    outbox.fill("orders.placed", 40, keys=20)
    relay = make_relay(outbox.dsn, streams.url, postgres__statement_timeout_s="1", lease__ttl_s="10").start()
    wait_until("all others are marked", lambda: outbox.count("delivered_at IS NULL") == 1, 60)
    assert "not done within 1 s" in relay.said("settle.refused")["reason"]
    outbox.conn.execute("DROP TRIGGER slow ON outbox_events")
    outbox.delivered(slow_one)
    assert streams.messages("ORDERS") == 41
