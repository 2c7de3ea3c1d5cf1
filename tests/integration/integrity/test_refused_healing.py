"""A lost event whose row the database refuses to change keeps no other from being sent again, and ends no relay."""

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams

GUARD = (
    "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;"
    "CREATE TRIGGER guard BEFORE UPDATE ON outbox_events FOR EACH ROW"
    " WHEN (OLD.topic = 'orders.guarded') EXECUTE FUNCTION guard()"
)


@pytest.mark.parametrize("guarded", [1, 30])
def test_what_may_not_be_given_back_holds_up_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, guarded: int
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, streams.url, healing__check_every_s="1").start()
    outbox.fill("orders.guarded", guarded, keys=guarded)
    outbox.fill("orders.placed", 200, keys=20)
    outbox.drained()
    query = "SELECT 1 FROM outbox_streams WHERE mark_seq = (SELECT max(stream_seq) FROM outbox_events)"
    wait_until("the mark is written down", lambda: outbox.conn.execute(query.encode()).fetchone())
    outbox.conn.execute(GUARD.encode())
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>", allow_direct=True)
    assert relay.said("stream.lost")["events"] == 200 + guarded
    wait_until("all others are stored again", lambda: streams.messages("ORDERS") == 200)
    refused = relay.said("settle.refused")
    assert "in PL/pgSQL function guard()" in refused["reason"]
    seq = outbox.insert("orders.placed", "k", {"i": 0})
    outbox.delivered(seq)
    holds_for(3.0, "the relay goes on", lambda: relay.running)
