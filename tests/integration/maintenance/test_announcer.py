"""The watermark as consumers see it: in a stream, or in a bucket."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import psycopg

from relay.errors import Exit
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

SUBJECT = "outbox.watermark"
QUICK = {"watermark__every_s": "0.1"}


def told(streams: Streams, stream: str = "MARKS") -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in streams.read(stream)]


def test_a_consumer_can_tell_up_to_when_it_is_complete(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("MARKS", SUBJECT)
    pair = [make_relay(outbox.dsn, streams.url, watermark__subject=SUBJECT, **QUICK).start() for _ in range(2)]
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    with psycopg.connect(outbox.dsn) as late:
        insert = "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.late', 'k', '{}') RETURNING seq"
        row = late.execute(insert).fetchone()
        assert row is not None
        for number in range(100):
            last = outbox.insert("orders.placed", f"k{number}", {"i": number})
        outbox.delivered(last)
        wait_until("the mark stands below what is not committed", lambda: _seqs(streams)[-1:] == [row[0] - 1])
        (before,) = outbox.conn.execute("SELECT clock_timestamp()").fetchone() or (None,)
        late.commit()
    wait_until("it has passed it", lambda: _seqs(streams)[-1:] == [last])
    wait_until("it has passed that time", lambda: _at(told(streams)[-1]) > before)
    for relay in pair:
        assert relay.stop() == Exit.DONE
    marks = told(streams)
    assert {mark["outbox"] for mark in marks} == {"outbox_events"}
    for earlier, later in pairwise(marks):
        assert earlier["seq"] <= later["seq"], "it never moves back"
        assert _at(earlier) <= _at(later)
    # While the late one was open, no mark claimed to be complete beyond its seq, nor up to a time after it was there.
    for mark in marks:
        if mark["seq"] < row[0]:
            assert _at(mark) < before


def _seqs(streams: Streams, stream: str = "MARKS") -> list[int]:
    return [mark["seq"] for mark in told(streams, stream)]


def _at(mark: dict[str, Any]) -> datetime:
    """Return the time that a mark tells, or the first of all if it knows none."""
    at = mark["complete_up_to"]
    return datetime.min.replace(tzinfo=UTC) if at is None else datetime.fromisoformat(at)


def test_a_bucket_holds_the_newest_mark(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    place = "$KV.READ_MODELS.orders"
    streams.make("ORDERS", "orders.>")
    running = make_relay(outbox.dsn, streams.url, watermark__subject=place, **QUICK).start()
    last = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.delivered(last)
    running.said("watermark.unpublished")
    streams.make("KV_READ_MODELS", "$KV.READ_MODELS.>", max_msgs_per_subject=1)
    running.said("watermark.published")
    wait_until("the bucket holds it", lambda: _seqs(streams, "KV_READ_MODELS") == [last])
