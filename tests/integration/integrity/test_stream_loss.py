"""A stream gets again exactly what it has lost, and not what it let go by a rule or a command."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order, ids

KEYS = 20
# Looks at the streams often, so that a test need not wait.
OFTEN = {"healing__check_every_s": "1"}


def numbers(streams: Streams) -> list[int]:
    return [message.i for message in streams.read("ORDERS")]


def assert_marks_are_true(outbox: Outbox, streams: Streams) -> None:
    """Every delivered event is where its mark says."""
    assert outbox.marks().items() <= ids(streams.read("ORDERS")).items()


def insert(outbox: Outbox, first: int, last: int) -> None:
    """Insert events with the payloads `first` to `last`, of twenty keys."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
        " jsonb_build_object('i', i) FROM generate_series(%s::int, %s::int) i",
        (KEYS, first, last),
    )


def checked(outbox: Outbox) -> None:
    """Wait until the relay has written down what it sees of the stream, up to the last mark."""
    query = "SELECT 1 FROM outbox_streams o WHERE mark_seq = (SELECT max(stream_seq) FROM outbox_events)"
    wait_until("the mark is written down", lambda: outbox.conn.execute(query).fetchone())


def rolled_back(nats: NatsServer, copy: Path, meanwhile: Callable[[], None]) -> None:
    """Do something, then kill the server and give it back the earlier data."""
    nats.stop()
    shutil.copytree(nats.directory / "jetstream", copy)
    nats.start()
    meanwhile()
    nats.kill()
    shutil.rmtree(nats.directory / "jetstream")
    shutil.copytree(copy, nats.directory / "jetstream")


@pytest.mark.parametrize(
    ("running", "reused"),
    [(True, False), (False, False), (False, True)],
    ids=["while it runs", "while it is down", "sequences used again meanwhile"],
)
def test_a_rolled_back_stream_gets_what_it_lost_in_order(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path, running: bool, reused: bool
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, allow_atomic=True)
    relay = make_relay(outbox.dsn, own_nats.url).start()
    insert(outbox, 1, 500)
    outbox.drained()

    def meanwhile() -> None:
        insert(outbox, 501, 800)
        outbox.drained()
        checked(outbox)

    rolled_back(own_nats, tmp_path / "copy", meanwhile)
    assert outbox.count("delivered_at IS NOT NULL") == 800
    if not running:
        assert relay.stop() == 0
    # What waits behind the lost events of its key goes after them.
    insert(outbox, 801, 900)
    own_nats.start()
    if reused:
        streams.publish("orders.else", *({"i": -number} for number in range(400)))
    if not running:
        relay.start()
    assert relay.said("stream.lost")["events"] == 300
    outbox.drained()
    ours = [message for message in streams.read("ORDERS") if message.subject == "orders.placed"]
    assert_once_and_in_order(ours, 900, KEYS)
    held = {message.seq: message.headers.get("Nats-Msg-Id") for message in streams.read("ORDERS")}
    for event_id, stream_seq in outbox.conn.execute("SELECT id::text, stream_seq FROM outbox_events"):
        assert held[stream_seq] == event_id
    counted = "outbox_relay_redelivered_events_total 300.0"
    wait_until("they are counted", lambda: counted in relay.get("/metrics")[1])
    assert relay.said("stream.healed")["up_to_seq"] == 900
    checked(outbox)
    assert len(relay.lines("stream.lost")) == len(relay.lines("stream.healed")) == 1


def test_relays_that_share_the_work_each_send_again_what_their_shards_have_lost(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, tmp_path: Path
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_direct=True, allow_atomic=True)
    relays = [make_relay(outbox.dsn, own_nats.url, lease__ttl_s="2", **OFTEN).start() for _ in range(2)]
    wait_until("they share", lambda: all("outbox_relay_shards_owned 32.0" in r.get("/metrics")[1] for r in relays))
    insert(outbox, 1, 500)
    outbox.drained()

    def meanwhile() -> None:
        insert(outbox, 501, 800)
        outbox.drained()
        checked(outbox)

    rolled_back(own_nats, tmp_path / "copy", meanwhile)
    insert(outbox, 801, 900)
    own_nats.start()
    for relay in relays:
        relay.said("stream.lost")
    outbox.drained()
    wait_until("all events in the stream", lambda: streams.messages("ORDERS") == 900)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 900, KEYS)
    assert_marks_are_true(outbox, streams)
    assert sum(line["events"] for relay in relays for line in relay.lines("stream.lost")) == 300


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is down"])
def test_a_stream_made_anew_gets_everything_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, running: bool
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 300)
    outbox.drained()
    checked(outbox)
    if not running:
        relay.stop()
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    if not running:
        insert(outbox, 301, 400)
        relay.start()
    assert relay.said("stream.lost")["recreated"]
    outbox.drained()
    events = 300 if running else 400
    wait_until("all events in the stream", lambda: streams.messages("ORDERS") == events)
    assert_once_and_in_order(streams.read("ORDERS"), events, KEYS)
    outbox.drained()
    assert_marks_are_true(outbox, streams)
    assert relay.lines("streams.unreadable") == [], "it was empty for a moment, and no fault"


@pytest.mark.parametrize("met", ["while it runs", "after it was sent to", "while it is down"])
def test_a_stream_made_again_with_higher_sequences_gets_everything_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, met: str
) -> None:
    """It reaches beyond the highest mark, and what was in the previous one lies below its beginning."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **(OFTEN if met == "while it runs" else {})).start()
    insert(outbox, 1, 300)
    outbox.drained()
    checked(outbox)
    if met == "while it is down":
        relay.stop()
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>", first_seq=1000)
    if met == "after it was sent to":
        insert(outbox, 301, 400)
        outbox.drained()
        checked(outbox)
        relay.stop()
    if met != "while it runs":
        relay.start()
    assert relay.said("stream.lost")["events"] == 300
    events = 400 if met == "after it was sent to" else 300
    wait_until("all events in the stream", lambda: streams.messages("ORDERS") == events)
    outbox.drained()
    assert sorted(numbers(streams)) == list(range(1, events + 1)), "each once"
    assert_marks_are_true(outbox, streams)


@pytest.mark.parametrize(
    "config", [{}, {"max_msgs_per_subject": 1000}], ids=["removes nothing", "removes from its middle"]
)
def test_a_loss_in_a_stream_that_removes_messages_from_its_middle_says_so(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, config: dict[str, int]
) -> None:
    streams.make("ORDERS", "orders.>", **config)
    relay = make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 10)
    outbox.drained()
    checked(outbox)
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>", **config)
    assert ("cannot be told from what was lost" in relay.said("stream.lost")["message"]) is bool(config)


@pytest.mark.parametrize("pruned", [True, False], ids=["rows deleted before", "rows there"])
def test_a_stream_that_was_made_again_and_used_is_healed_when_it_is_lost_once_more(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, pruned: bool
) -> None:
    """Without the row at the highest mark, the rows that the new stream has acknowledged say whose it is."""
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 50)
    outbox.drained()
    checked(outbox)
    if pruned:
        outbox.conn.execute("DELETE FROM outbox_events")
    with outbox.conn.transaction():
        # What is delivered to the new stream before the relay has looked at it belongs to it, too.
        insert(outbox, 51, 60)
        streams.api("STREAM.DELETE.ORDERS")
        streams.make("ORDERS", "orders.>")
    events = 10 if pruned else 60
    wait_until("all is in the new stream", lambda: streams.messages("ORDERS") == events)

    def begun() -> bool:
        # Each of the shards' owners has seen that it is another stream.
        found = outbox.conn.execute("SELECT count(begun_at) FROM outbox_streams WHERE stream = 'ORDERS'").fetchone()
        return found is not None and found[0] > 0

    wait_until("the relay has seen that it is another one", begun)
    outbox.drained()
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    wait_until("all events in the stream", lambda: streams.messages("ORDERS") == events)
    outbox.drained()
    assert sorted(numbers(streams)) == list(range(51 if pruned else 1, 61)), "each once"
    assert_marks_are_true(outbox, streams)


def test_a_stream_that_is_gone_is_reported_while_the_outbox_has_its_events(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 30)
    outbox.drained()
    checked(outbox)
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("HEIR", "orders.>")
    assert relay.said("stream.gone")["stream"] == "ORDERS"
    wait_until("an open loss", lambda: "outbox_relay_open_losses 1.0" in relay.get("/metrics")[1])
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL, retry_at = now()")
    wait_until("the other stream has them", lambda: streams.messages("HEIR") == 30)
    wait_until("nothing open", lambda: "outbox_relay_open_losses 0.0" in relay.get("/metrics")[1])
    assert len(relay.lines("stream.gone")) == 1


def quiet_checks(relay: Relay, outbox: Outbox) -> None:
    """Restart the relay and have it look at the streams some times; it must find nothing wrong."""
    relay.stop()
    relay.start()
    time.sleep(3)
    outbox.delivered(outbox.insert("orders.last", None, {"i": 0}))
    assert relay.lines("stream.lost") == []
    assert outbox.count("delivered_at IS NULL") == 0


def test_a_purged_stream_gets_nothing_again(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 300)
    outbox.drained()
    checked(outbox)
    streams.api("STREAM.PURGE.ORDERS")
    quiet_checks(relay, outbox)
    assert numbers(streams) == [0]


def test_what_aged_out_is_not_sent_again(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", max_age=10**9, duplicate_window=5 * 10**8)
    relay = make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 300)
    outbox.drained()
    wait_until("all gone", lambda: streams.messages("ORDERS") == 0)
    quiet_checks(relay, outbox)
    assert streams.messages("ORDERS") <= 1


def test_what_aged_out_before_is_not_sent_to_a_stream_made_anew(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **OFTEN).start()
    insert(outbox, 1, 200)
    outbox.drained()
    streams.api("STREAM.PURGE.ORDERS", {"seq": 101})
    insert(outbox, 201, 300)
    outbox.drained()
    query = "SELECT 1 FROM outbox_streams WHERE first_seq = 101 AND mark_seq = 300"
    wait_until("the purge is written down", lambda: outbox.conn.execute(query).fetchone())
    relay.stop()
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    relay.start()
    assert relay.said("stream.lost")["events"] == 200
    outbox.drained()
    assert sorted(numbers(streams)) == list(range(101, 301))
    # The rest is not taken for lost at another start either.
    relay.stop()
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", None, {"i": 0}))
    assert streams.messages("ORDERS") == 201
    assert len(relay.lines("stream.lost")) == 1


def test_a_loss_is_only_told_where_that_is_asked_for(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, healing__on_loss="alert", **OFTEN).start()
    insert(outbox, 1, 50)
    outbox.drained()
    checked(outbox)
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    assert relay.said("stream.lost")["events"] == 50
    wait_until("the metric", lambda: "outbox_relay_open_losses 1.0" in relay.get("/metrics")[1])
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    time.sleep(3)
    assert numbers(streams) == [0]
    assert len(relay.lines("stream.lost")) == 1
