"""Capacity and configuration, made on real servers: what concerns them waits, and nothing else does."""

import os
import signal

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_rights import LOOK_UP, restricted
from tests.support.fix_stream import RELOADS, Streams, assert_once_and_in_order, ids, restrict

STRATEGIES = ["singles", "atomic"]
QUICK = {"failures__hold_base_s": "0.1", "failures__hold_max_s": "0.3"}

UNTOUCHED = "attempts > 0 OR dead_at IS NOT NULL OR retry_at IS NOT NULL"


def known_stream(outbox: Outbox, streams: Streams, name: str, topic: str) -> None:
    """Send events until they go in batches, if the server takes any: by then the relay knows the stream."""

    def in_batches() -> bool:
        outbox.fill(topic, 2, keys=2)
        outbox.drained()
        return not streams.take_batches or any(message.batched for message in streams.read(name))

    wait_until("atomic batches", in_batches)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("limit", [{"max_msgs": 10}, {"max_bytes": 2000}])
def test_a_full_stream_is_waited_for_and_the_other_stream_flows(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str, limit: dict[str, int]
) -> None:
    if "max_bytes" in limit:
        streams.needs(2, 10, why="2.9 drops the oldest messages where it should refuse new ones")
    streams.make("FULL", "full.>", discard="new", allow_atomic=True, **limit)
    streams.make("OTHER", "other.>", allow_atomic=True)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy, **QUICK).start()
    outbox.fill("full.x", 200, keys=7)
    opened = relay.said("hold.opened")
    assert (opened["failure_class"], opened["subject"]) == ("capacity", "full.x")
    assert "10077" in opened["reason"]
    for seq in [outbox.insert("other.x", f"o{i}", {"i": i}) for i in range(50)]:
        outbox.delivered(seq)
    wait_until("a hold in the metrics", lambda: 'outbox_relay_holds{class="capacity"} 1.0' in relay.get("/metrics")[1])
    assert relay.get("/readyz")[0] == 200, "it can relay: a full stream is no outage"
    kept = streams.messages("FULL")
    assert 0 < kept < 50
    assert outbox.count("delivered_at IS NULL") == 200 - kept
    streams.change("FULL", **dict.fromkeys(limit, -1))
    outbox.drained()
    relay.said("hold.ended")
    assert outbox.count(UNTOUCHED) == 0
    assert_once_and_in_order(streams.read("FULL"), 200, 7)


def test_a_full_stream_that_is_replaced_by_another_keeps_nothing_back(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("SMALL", "orders.>", max_msgs=50, discard="new", allow_atomic=True)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy="atomic", **QUICK).start()
    known_stream(outbox, streams, "SMALL", "orders.first")
    outbox.fill("orders.placed", 200, keys=7)
    assert relay.said("hold.opened")["scope"] == "stream SMALL"
    streams.api("STREAM.DELETE.SMALL")
    streams.make("LARGE", "orders.>")
    outbox.drained()
    numbers = [message.i for message in streams.read("LARGE")]
    assert numbers
    for key in range(7):
        of_key = [i for i in numbers if i % 7 == key]
        assert of_key == sorted(of_key)
    assert outbox.count(UNTOUCHED) == 0


def test_an_account_without_storage_left_is_waited_for(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    config = "accounts {{ A {{ jetstream: {{max_file: {}}}, users: [{{user: a, password: a}}] }} }}"
    own_nats.stop()
    own_nats.config = config.format("20KB")
    own_nats.start()
    url = own_nats.url.replace("//", "//a:a@")
    streams = Streams(url)
    streams.needs(2, 10, why=RELOADS)
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 1000, keys=7)
    relay = make_relay(outbox.dsn, url, **QUICK).start()
    opened = relay.said("hold.opened")
    assert opened["failure_class"] == "capacity"
    assert "10002" in opened["reason"]
    assert outbox.count(UNTOUCHED) == 0
    (own_nats.directory / "nats.conf").write_text(config.format("20MB"), "utf-8")
    os.kill(own_nats.pid, signal.SIGHUP)
    outbox.drained()
    assert outbox.count(UNTOUCHED) == 0
    assert_once_and_in_order(streams.read("ORDERS"), 1000, 7)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "header",
    [
        {"Nats-TTL": "5s"},
        {"Nats-Expected-Last-Sequence": "99999999"},
        {"Nats-Expected-Stream": "ANOTHER"},
        {"Nats-Expected-Last-Msg-Id": "none"},
    ],
)
def test_a_header_that_the_stream_refuses_ends_in_a_dead_letter_and_its_subject_flows(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str, header: dict[str, str]
) -> None:
    if "Nats-TTL" in header:
        streams.needs(2, 11, why="no older one knows the header")
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    bad = [outbox.insert("orders.placed", f"bad{i}", {"i": i}, header) for i in range(5)]
    good = [outbox.insert("orders.placed", f"k{i % 20}", {"i": i}) for i in range(200)]
    make_relay(
        outbox.dsn,
        streams.url,
        delivery__strategy=strategy,
        headers__allow_nats=",".join(header),
        failures__backoff_base_s="0.1",
        failures__backoff_max_s="0.3",
        failures__max_attempts="4",
        **QUICK,
    ).start()
    for seq in bad:
        assert "refused by the stream" in outbox.dead(seq)
        assert outbox.row(seq)["attempts"] == 4
    for seq in good:
        outbox.delivered(seq)
    assert outbox.count("attempts > 0 AND dead_at IS NULL") == 0
    of_keys = [message.i for message in streams.read("ORDERS")]
    assert sorted(of_keys) == list(range(200))
    for key in range(20):
        assert [i for i in of_keys if i % 20 == key] == list(range(key, 200, 20))


def test_a_subject_at_its_own_limit_holds_only_itself(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("S", "s.>", max_msgs_per_subject=1, discard="new", discard_new_per_subject=True, allow_atomic=True)
    outbox.insert("s.a", "a", {"i": 1})
    held = outbox.insert("s.a", "a", {"i": 2})
    relay = make_relay(outbox.dsn, streams.url, **QUICK).start()
    assert relay.said("hold.opened")["scope"] == "subject s.a"
    others = [outbox.insert(f"s.{i}", f"k{i}", {"i": i}) for i in range(20)]
    for seq in others:
        outbox.delivered(seq)
    wait_until("the reason to be noted", lambda: outbox.row(held)["last_error"])
    assert "10077" in outbox.row(held)["last_error"]
    assert outbox.count(UNTOUCHED) == 0
    assert outbox.row(held)["delivered_at"] is None
    streams.api("STREAM.PURGE.S", {"filter": "s.a"})
    outbox.delivered(held)


def test_without_a_stream_events_wait_until_it_is_made(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("OTHER", "other.>")
    waiting = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(5)]
    relay = make_relay(outbox.dsn, streams.url, **QUICK).start()
    outbox.delivered(outbox.insert("other.x", "k2", {"i": 0}))
    opened = relay.said("hold.opened")
    assert (opened["failure_class"], opened["subject"]) == ("configuration", "orders.placed")
    assert opened["event_id"] == str(outbox.row(waiting[0])["id"])
    wait_until("the reason to be noted", lambda: outbox.row(waiting[0])["last_error"])
    assert "no stream takes this subject" in outbox.row(waiting[0])["last_error"]
    # Long enough for several probes: one line tells it all.
    holds_for(1, "one line, and nothing counted", lambda: len(relay.lines("hold.opened")) == 1)
    assert outbox.count(UNTOUCHED) == 0
    streams.make("ORDERS", "orders.>")
    outbox.drained()
    assert [message.i for message in streams.read("ORDERS")] == list(range(5))
    assert [line["action"] for line in relay.lines() if line["action"].startswith("hold.")] == [
        "hold.opened",
        "hold.ended",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"OK",
        b'{"stream":"ORDERS","seq":"0007"}',
        b'{"stream":"ORDERS","seq":99999999999999999999}',
        b'{"stream":"ORDERS","seq":0}',
        b'{"stream":5,"seq":5}',
        b'{"stream":"a\\ud800","seq":5}',
        b'{"error":{"code":400,"message":"unknown order"}}',
    ],
)
def test_a_subscriber_that_answers_is_taken_for_no_stream_and_for_no_acknowledgement(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, answer: bytes
) -> None:
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    with streams.subscriber("orders.>", answer):
        relay = make_relay(outbox.dsn, streams.url, delivery__ack_timeout_s="0.3", **QUICK).start()
        opened = relay.said("hold.opened")
        assert opened["failure_class"] == "configuration"
        assert "no stream takes this subject" in opened["reason"]
        assert outbox.row(seq)["delivered_at"] is None
        streams.make("ORDERS", "orders.>", allow_atomic=True)
        outbox.delivered(seq)
        outbox.fill("orders.placed", 500, keys=7)
        outbox.drained()
    stored = streams.read("ORDERS")
    assert len(stored) == 501
    assert outbox.marks() == ids(stored)
    assert outbox.count("attempts > 0") == 0


def test_a_missing_stream_kills_only_where_that_is_configured(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    lost = outbox.insert("nowhere.x", "k", {})
    behind = outbox.insert("orders.placed", "k", {"i": 0})
    make_relay(outbox.dsn, streams.url, failures__on_misconfigured="dead").start()
    assert "no stream takes this subject" in outbox.dead(lost)
    outbox.delivered(behind)


def test_a_sealed_stream_is_waited_for_until_it_is_replaced(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("SEALED", "sealed.x")
    streams.make("OTHER", "other.>")
    streams.change("SEALED", sealed=True)
    seqs = [outbox.insert("sealed.x", "k", {"i": i}) for i in range(3)]
    relay = make_relay(outbox.dsn, streams.url, **QUICK).start()
    opened = relay.said("hold.opened")
    assert opened["failure_class"] == "configuration"
    assert "sealed" in opened["reason"]
    outbox.delivered(outbox.insert("other.x", "k2", {"i": 0}))
    assert outbox.count(UNTOUCHED) == 0
    streams.api("STREAM.DELETE.SEALED")
    streams.make("OPEN", "sealed.x")
    for seq in seqs:
        outbox.delivered(seq)
    assert [message.i for message in streams.read("OPEN")] == [0, 1, 2]


def test_a_stream_that_acknowledges_nothing_is_named_and_filled_no_further(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    # Its window is so short that an event that was sent again would be stored again.
    streams.make("SILENT", "silent.x", no_ack=True, duplicate_window=100_000_000)
    streams.make("OTHER", "other.>")
    seq = outbox.insert("silent.x", None, {"i": 1})
    relay = make_relay(outbox.dsn, streams.url, delivery__ack_timeout_s="0.5", **QUICK).start()
    opened = relay.said("hold.opened")
    assert (opened["failure_class"], opened["scope"]) == ("configuration", "stream SILENT")
    assert "no_ack" in opened["reason"]
    outbox.delivered(outbox.insert("other.x", "k", {"i": 0}))
    holds_for(1, "the stream holds the event once", lambda: streams.messages("SILENT") == 1)
    assert len(relay.lines("hold.opened")) == 1
    assert outbox.count(UNTOUCHED) == 0
    streams.change("SILENT", no_ack=False)
    outbox.delivered(seq)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.denials
def test_a_subject_without_the_right_to_publish_waits_and_the_others_flow(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, strategy: str
) -> None:
    streams = restrict(own_nats, "Allowed.>", *LOOK_UP)
    streams.needs(2, 10, why=RELOADS)
    streams.make("ALL", "Allowed.>", "Forbidden.>", allow_atomic=True)
    relay = make_relay(outbox.dsn, own_nats.url, delivery__strategy=strategy, **QUICK).start()
    if strategy == "atomic":
        known_stream(outbox, streams, "ALL", "Allowed.first")
    with outbox.conn.transaction():
        forbidden = [outbox.insert("Forbidden.x", "f", {"i": i}) for i in range(3)]
        allowed = [outbox.insert("Allowed.x", f"a{i % 5}", {"i": i}) for i in range(50)]
    opened = relay.said("hold.opened")
    for seq in allowed:
        outbox.delivered(seq)
    assert (opened["failure_class"], opened["scope"]) == ("configuration", "subject Forbidden.x")
    wait_until("the reason to be noted", lambda: outbox.row(forbidden[0])["last_error"])
    assert "not permitted" in outbox.row(forbidden[0])["last_error"]
    assert outbox.count(UNTOUCHED) == 0
    (own_nats.directory / "nats.conf").write_text(restricted("Allowed.>", "Forbidden.>", *LOOK_UP), "utf-8")
    os.kill(own_nats.pid, signal.SIGHUP)
    for seq in forbidden:
        outbox.delivered(seq)
    assert [message.i for message in streams.read("ALL") if message.subject == "Forbidden.x"] == [0, 1, 2]
    assert "secret-word" not in relay.text()


@pytest.mark.denials
def test_without_the_right_to_look_streams_up_events_flow_and_none_dies_of_the_missing_answer(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    streams = restrict(own_nats, "orders.>", "nowhere.>")
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = make_relay(outbox.dsn, own_nats.url, failures__on_misconfigured="dead", **QUICK).start()
    outbox.fill("orders.placed", 2000, keys=7)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 2000, 7)
    waits = outbox.insert("nowhere.x", "w", {"i": 0})
    opened = relay.said("hold.opened")
    assert opened["failure_class"] == "outage"
    assert "could not be looked up" in opened["reason"]
    outbox.delivered(outbox.insert("orders.placed", "k0", {"i": 0}))
    assert outbox.count(UNTOUCHED) == 0
    streams.make("NOWHERE", "nowhere.>")
    outbox.delivered(waits)


def test_more_waiting_events_than_fit_into_memory_are_read_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    outbox.fill("late.x", 3000, keys=50)
    relay = make_relay(outbox.dsn, streams.url, delivery__held_events="100", **QUICK).start()
    relay.said("hold.opened")
    streams.make("OTHER", "other.>")
    outbox.delivered(outbox.insert("other.x", "free", {"i": 0}))
    streams.make("LATE", "late.>")
    outbox.drained()
    assert_once_and_in_order(streams.read("LATE"), 3000, 50)


def test_events_that_a_subscriber_swallows_keep_none_of_other_subjects_waiting_for_their_timeout(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    # Four windows of unanswered events would take 80 s.
    settings = {"delivery__window": "100", "delivery__ack_timeout_s": "20", "failures__hold_max_s": "2"}
    with streams.subscriber("nowhere.>", None):
        outbox.conn.execute(
            "INSERT INTO outbox_events (topic, key, payload)"
            " SELECT 'nowhere.x' || i, 'n' || i, '{}' FROM generate_series(1, 400) i"
        )
        outbox.fill("orders.placed", 100, keys=10)
        relay = make_relay(outbox.dsn, streams.url, **settings).start()
        wait_until("the others flow", lambda: outbox.count("topic = 'orders.placed' AND delivered_at IS NULL") == 0)
        held = 'outbox_relay_holds{class="configuration"} 400.0\n'
        wait_until("the rest is held", lambda: held in relay.get("/metrics")[1])
        assert "no stream takes this subject" in relay.said("hold.opened")["reason"]
        assert len(relay.lines("hold.opened")) == 50, "the others are counted"
    assert outbox.count("attempts > 0 OR dead_at IS NOT NULL") == 0
    streams.change("ORDERS", subjects=["orders.>", "nowhere.>"])
    outbox.drained(timeout_s=60)
    assert streams.messages("ORDERS") == 500
