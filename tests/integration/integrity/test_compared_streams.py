"""A stream that was compared with the outbox and found whole is known by the highest event that it holds."""

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

EVENTS = 5


def test_what_a_stream_loses_right_after_a_comparison_is_seen_although_nothing_is_sent_to_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, healing__check_every_s="1").start()
    outbox.fill("orders.placed", EVENTS, keys=2)
    outbox.drained()
    marked = f"SELECT created FROM outbox_streams WHERE mark_seq = {EVENTS}"
    wait_until("the stream is written down", lambda: outbox.conn.execute(marked).fetchone())
    made = outbox.conn.execute(marked).fetchone()
    assert relay.stop() == 0
    # As if it had been made again since: only a comparison shows that it holds everything.
    outbox.conn.execute("UPDATE outbox_streams SET created = '2020-01-01T00:00:00Z'")
    relay.start()
    compared = "SELECT created FROM outbox_streams"
    wait_until("it was compared", lambda: outbox.conn.execute(compared).fetchone() == made)
    highest = "SELECT 1 FROM outbox_streams o JOIN outbox_events e ON (e.id, e.stream_seq) = (o.mark_id, o.mark_seq)"
    assert outbox.conn.execute(f"{highest} WHERE e.stream_seq = {EVENTS}").fetchone() is not None
    assert relay.lines("stream.lost") == [], "it holds everything"
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    assert relay.said("stream.lost")["events"] == EVENTS
    wait_until("all events in the stream", lambda: streams.messages("ORDERS") == EVENTS)
