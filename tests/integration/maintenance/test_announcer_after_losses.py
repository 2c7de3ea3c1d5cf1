"""After a stream has lost its newest messages no watermark goes before what it says is settled."""

import json
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.integration.integrity.test_stream_loss import checked, insert, rolled_back
from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Stored, Streams
from tests.support.relay_cli import done

SUBJECT = "orders.watermark"
SETTINGS = {"watermark__subject": SUBJECT, "watermark__every_s": "0.1", "lease__ttl_s": "2"}
KEPT, LOST, LATER = 500, 5_000, 100


def watermarks(streams: Streams) -> list[Stored]:
    return [message for message in streams.read("ORDERS") if message.subject == SUBJECT]


def said(watermark: Stored) -> int:
    return int(json.loads(watermark.data)["seq"])


def told_up_to(streams: Streams) -> int:
    return max(map(said, watermarks(streams)), default=0)


def too_early(outbox: Outbox, streams: Streams) -> list[tuple[int, int]]:
    """Return sequence and seq of each watermark that stands before an event of which it says that it is settled."""
    stored = {message.headers.get("Nats-Msg-Id"): message.seq for message in streams.read("ORDERS")}
    rows = outbox.conn.execute("SELECT seq, id::text FROM outbox_events").fetchall()
    places = [(seq, stored[event_id]) for seq, event_id in rows]
    return [
        (watermark.seq, said(watermark))
        for watermark in watermarks(streams)
        if any(seq <= said(watermark) and place > watermark.seq for seq, place in places)
    ]


def lose(outbox: Outbox, nats: NatsServer, tmp_path: Path) -> None:
    """Have the stream lose its newest events, and the watermarks behind them; the server is down afterwards."""

    def meanwhile() -> None:
        insert(outbox, KEPT + 1, KEPT + LOST)
        outbox.drained()
        checked(outbox)
        streams = Streams(nats.url)
        wait_until("the watermark tells of them", lambda: told_up_to(streams) >= KEPT + LOST)

    rolled_back(nats, tmp_path / "copy", meanwhile)


@pytest.mark.parametrize("relays", [1, 2])
def test_no_watermark_is_published_before_what_was_lost_is_stored_again(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path, relays: int
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, allow_atomic=True)
    running = [make_relay(outbox.dsn, own_nats.url, **SETTINGS).start() for _ in range(relays)]
    share = f"outbox_relay_shards_owned {64 / relays}"
    wait_until("they share", lambda: all(share in relay.get("/metrics")[1] for relay in running))
    insert(outbox, 1, KEPT)
    outbox.drained()
    lose(outbox, own_nats, tmp_path)
    own_nats.start()
    insert(outbox, KEPT + LOST + 1, KEPT + LOST + LATER)
    outbox.drained()
    wait_until("it is published again", lambda: told_up_to(streams) >= KEPT + LOST + LATER)
    assert sum(relay.lines("stream.lost")[0]["events"] for relay in running) == LOST
    assert too_early(outbox, streams) == []


def test_none_is_published_over_a_loss_that_waits_for_the_operator(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, allow_atomic=True)
    relay = make_relay(outbox.dsn, own_nats.url, **SETTINGS, healing__on_loss="alert").start()
    insert(outbox, 1, KEPT)
    outbox.drained()
    lose(outbox, own_nats, tmp_path)
    own_nats.start()
    relay.said("stream.lost")
    before = len(watermarks(streams))
    insert(outbox, KEPT + LOST + 1, KEPT + LOST + LATER)
    outbox.drained()
    assert relay.said("watermark.unpublished")["reason"] == "lost by ORDERS"
    holds_for(2, "none is published", lambda: len(watermarks(streams)) == before)
    done(outbox.dsn, "verify", "--redeliver", "--yes", RELAY_NATS__SERVERS=own_nats.url)
    relay.said("watermark.published")
    wait_until("it is published again", lambda: told_up_to(streams) >= KEPT + LOST + LATER)
    assert too_early(outbox, streams) == []
