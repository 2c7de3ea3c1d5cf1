"""Events that can never be sent: a dead letter at once, with the reason, while the others flow on."""

import os
import re
import signal

import psycopg
import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_relay import ROOT, MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import RELOADS, Streams

STRATEGIES = ["singles", "atomic"]
MAX_PAYLOAD = 1024 * 1024
# "NATS/1.0", "Nats-Msg-Id: " with a UUID, the empty line, and a line end after each.
MESSAGE_ID_BYTES = 10 + 13 + 36 + 2 + 2

POISON_TOPICS = [
    "orders.a b",
    "orders.*",
    "orders.>",
    "orders..x",
    ".orders",
    "orders.",
    "",
    "$JS.API.STREAM.DELETE.ORDERS",
    "$SYS.REQ.SERVER.PING",
    "_INBOX.somebody",
    "_INBOX_relay.1",
    "orders.\x01",
    "orders.a\r\nPUB orders.b 0\r\n",
    "orders.é",
    "orders." + "x" * 5000,
]

POISON_HEADERS: list[dict[str, object]] = [
    {"Nats-Rollup": "all"},
    {"nats-rollup": "sub"},
    {"Nats-Msg-Id": "mine"},
    {"Nats-Expected-Stream": "OTHER"},
    {"Nats-Batch-Id": "mine", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    {"X": "a\r\nNats-Rollup: all"},
    {"X": "a\nb"},
    {"a b": "x"},
    {"a:b": "x"},
    {"a\r\nNats-Rollup": "all"},
    {"": "x"},
    {"X": ["a"]},
    {"X": [None]},
]


def start(outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str, **settings: str) -> Relay:
    """Start a relay that sends to the stream ORDERS; by then in batches, if strategy and server allow it."""
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy, **settings).start()

    def sends_batches() -> bool:
        outbox.fill("orders.first", 2, keys=2)
        outbox.drained()
        return not streams.take_batches or any(message.batched for message in streams.read("ORDERS"))

    if strategy == "atomic":
        wait_until("atomic batches", sends_batches)
    return relay


def placed(streams: Streams) -> list[int]:
    """Return the numbers of what came on orders.placed, in the order of the stream."""
    return [message.i for message in streams.read("ORDERS") if message.subject == "orders.placed"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_bad_subject_is_a_dead_letter_and_the_others_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = start(outbox, streams, make_relay, strategy)
    good = []
    with outbox.conn.transaction():
        bad = []
        for i, topic in enumerate(POISON_TOPICS):
            good.append(outbox.insert("orders.placed", "k", {"i": 2 * i}))
            bad.append(outbox.insert(topic, "k", {}))
            good.append(outbox.insert("orders.placed", "k", {"i": 2 * i + 1}))
    outbox.drained()
    assert all("subject" in outbox.dead(seq) for seq in bad)
    assert outbox.count("dead_at IS NOT NULL") == len(bad)
    assert placed(streams) == list(range(len(good)))
    relay.said("event.dead", times=len(bad))
    told = relay.lines("event.dead")
    assert [line["failure_class"] for line in told] == ["poison"] * len(bad)
    assert {line["event_id"] for line in told} == {str(outbox.row(seq)["id"]) for seq in bad}
    assert outbox.count("attempts > 0") == 0
    assert len(relay.lines("nats.connected")) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_bad_header_is_a_dead_letter_and_the_others_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_rollup_hdrs=True)
    relay = start(outbox, streams, make_relay, strategy)
    with outbox.conn.transaction():
        first = outbox.insert("orders.placed", "k", {"i": 0}, {"Trace": "a\tb", "n": 1, "Empty": "", "Name": "Zoë"})
        bad = [outbox.insert("orders.placed", "k", {}, headers) for headers in POISON_HEADERS]
        last = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.drained()
    assert all("header" in outbox.dead(seq) for seq in bad)
    assert placed(streams) == [0, 1], "no rollup has taken anything away"
    kept, after = streams.read("ORDERS")[-2:]
    assert {name: kept.headers[name] for name in ("Trace", "n", "Empty", "Name")} == {
        "Trace": "a\tb",
        "n": "1",
        "Empty": "",
        "Name": "Zoë",
    }
    assert [outbox.row(seq)["stream_seq"] for seq in (first, last)] == [kept.seq, after.seq]
    assert len(relay.lines("nats.connected")) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_event_too_large_with_its_headers_is_found_before_it_is_sent(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = start(outbox, streams, make_relay, strategy)
    half = "x" * 60_000
    with outbox.conn.transaction():
        before = outbox.insert("orders.placed", "k", {"i": 0})
        # Quotes included the payload alone fits into what the server takes; with the header it does not.
        large = outbox.insert("orders.placed", "k", "y" * (MAX_PAYLOAD - 30_000), {"X": half})
        header = outbox.insert("orders.placed", "k", {}, {"X": half, "Y": half})
        payload = outbox.insert("orders.placed", "k", "y" * MAX_PAYLOAD)
        after = outbox.insert("orders.placed", "k", {"i": 1})
    outbox.drained()
    assert f"the server takes {MAX_PAYLOAD}" in outbox.dead(large)
    assert f"the server takes {MAX_PAYLOAD}" in outbox.dead(payload)
    assert "the server takes 65535" in outbox.dead(header)
    assert placed(streams) == [0, 1]
    assert outbox.row(before)["stream_seq"] < outbox.row(after)["stream_seq"]
    assert [line["action"] for line in relay.lines() if line["action"].startswith("nats.")] == ["nats.connected"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_largest_event_that_the_server_takes_is_delivered_and_a_byte_more_is_a_dead_letter(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = start(outbox, streams, make_relay, strategy)
    room = MAX_PAYLOAD - MESSAGE_ID_BYTES - len('""')
    # Headers of a batch would take more than the bytes that are left.
    sizes = [room - 200, room - 100, room - 1, room, room + 1]
    with outbox.conn.transaction():
        seqs = [outbox.insert("orders.placed", None, "y" * size) for size in sizes]
    outbox.drained()
    assert [outbox.row(seq)["dead_at"] is None for seq in seqs] == [True, True, True, True, False]
    assert [line["action"] for line in relay.lines() if line["action"].startswith("nats.")] == ["nats.connected"]


def test_an_event_too_large_for_a_server_that_takes_less_since_is_a_dead_letter_and_the_others_flow(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    own_nats.stop()
    own_nats.config = "max_payload: 500000\n"
    own_nats.start()
    streams = Streams(own_nats.url)
    streams.needs(2, 10, why=RELOADS)
    streams.make("ORDERS", "orders.>")
    relay = start(outbox, streams, make_relay, "singles")
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    (own_nats.directory / "nats.conf").write_text("max_payload: 50000\n", "utf-8")
    os.kill(own_nats.pid, signal.SIGHUP)
    with outbox.conn.transaction():
        large = outbox.insert("orders.placed", "k", "x" * 100_000)
        others = [outbox.insert("orders.placed", f"k{i % 3}", {"i": i}) for i in range(1, 50)]
    for seq in others:
        outbox.delivered(seq)
    assert "the server takes 50000" in outbox.dead(large)
    assert sorted(placed(streams)) == list(range(50))
    assert len(relay.lines("nats.lost")) <= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_the_stream_refuses_for_its_size_is_a_dead_letter(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=500, allow_atomic=True)
    start(outbox, streams, make_relay, strategy)
    with outbox.conn.transaction():
        outbox.insert("orders.placed", "k", {"i": 0})
        large = outbox.insert("orders.placed", "k", "x" * 1000)
        outbox.insert("orders.placed", "k", {"i": 1})
        for i in range(2, 20):
            outbox.insert("orders.placed", f"k{i}", {"i": i})
    outbox.drained()
    reason = outbox.dead(large)
    assert "10054" in reason
    assert outbox.row(large)["attempts"] == 0
    numbers = placed(streams)
    assert sorted(numbers) == list(range(20))
    assert numbers.index(0) < numbers.index(1)
    assert outbox.count("dead_at IS NOT NULL") == 1


def test_a_flood_of_poison_keeps_no_good_event_from_its_mark(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = start(outbox, streams, make_relay, "singles", delivery__fetch_batch="5000")
    outbox.fill("orders.first", 5000, keys=5000)
    outbox.drained()
    with outbox.conn.transaction():
        outbox.fill("orders..bad", 4000, keys=4000)
        good = outbox.insert("orders.placed", "k", {"i": 0})
    outbox.delivered(good)
    delivered_at = outbox.row(good)["delivered_at"]
    outbox.drained()
    after = outbox.conn.execute("SELECT count(*) FROM outbox_events WHERE dead_at > %s", (delivered_at,)).fetchone()
    assert after is not None
    assert after[0] > 1000, "its mark came before the last dead letters"
    relay.said("event.dead", times=4000)
    assert len(relay.lines("event.dead")) == 4000


def test_no_payload_and_no_header_is_in_the_log(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=1000)
    relay = make_relay(outbox.dsn, streams.url, log__level="debug").start()
    private = {"card": "4111-1111", "i": 0}
    outbox.delivered(outbox.insert("orders.placed", "k0", private, {"Card": "4111-1111"}))
    for topic, payload, headers in (
        ("orders.a b", private, {"Card": "4111-1111"}),
        ("orders.placed", private, {"Card": "4111-1111\r\nNats-Rollup: all"}),
        ("orders.placed", private, {"Card": ["4111-1111"]}),
        ("orders.placed", {**private, "large": "x" * 2000}, None),
        ("orders.placed", {**private, "large": "x" * MAX_PAYLOAD}, None),
    ):
        assert "4111" not in outbox.dead(outbox.insert(topic, "k", payload, headers))
    relay.said("event.dead", times=5)
    assert len(relay.lines("event.dead")) == 5
    assert "4111" not in relay.text()


def test_the_longest_subject_is_stored_and_the_check_of_the_guide_refuses_what_cannot_be_sent(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    longest = "orders." + "x" * 1017
    outbox.delivered(outbox.insert(longest, "k", {"i": 0}))
    assert [message.subject for message in streams.read("ORDERS")] == [longest]
    assert "longer than 1024 bytes" in outbox.dead(outbox.insert(f"{longest}x", "k", {"i": 1}))
    (check,) = re.findall(r"ALTER TABLE [^`]+;", (ROOT / "docs/guides/producers.md").read_text("utf-8"))
    outbox.conn.execute(check.encode())
    outbox.insert(longest, "k", {"i": 2})
    for topic in (*POISON_TOPICS, f"{longest}x"):
        with pytest.raises(psycopg.errors.CheckViolation):
            outbox.insert(topic, "k", {"i": 3})


def test_a_key_of_the_template_takes_three_bytes_of_the_subject_for_each_that_a_token_may_not_hold(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url, subject__template="orders.{key}").start()
    fits = (1024 - len("orders.")) // 3
    outbox.delivered(outbox.insert("any", " " * fits, {"i": 0}))
    assert "longer than 1024 bytes" in outbox.dead(outbox.insert("any", " " * (fits + 1), {"i": 1}))


def test_headers_of_null_are_none_and_one_of_null_is_left_out(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """ORMs write a missing value so."""
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url).start()
    for headers in ("null", '{"a": null, "b": "2"}'):
        outbox.conn.execute(
            "INSERT INTO outbox_events (topic, payload, headers) VALUES ('orders.placed', '{\"i\": 1}', %s)", (headers,)
        )
    outbox.drained()
    first, second = streams.read("ORDERS")
    assert "a" not in first.headers and "a" not in second.headers
    assert second.headers["b"] == "2"
