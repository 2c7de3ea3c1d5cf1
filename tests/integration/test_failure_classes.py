"""Each class of failure, made on a real server: what it does to the event, and that the others flow on."""

import pytest

from relay.servers import NatsServer
from tests.fix_relay import MakeRelay, Outbox, wait_until
from tests.fix_stream import Streams

STRATEGIES = ["singles", "atomic"]

_ODD_HEADER = "Nats-Expected-Last-Subject-Sequence-Subject"

POISON_TOPICS = [
    "orders.a b",
    "orders.*",
    "orders.>",
    "orders..x",
    ".orders",
    "",
    "$JS.API.STREAM.DELETE.ORDERS",
    "_INBOX.somebody",
    "orders.\x01",
    "orders.é",
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_bad_subject_is_a_dead_letter_and_the_others_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    bad = [outbox.insert(topic, "k", {}) for topic in POISON_TOPICS]
    good = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(20)]
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert all("subject" in outbox.dead(seq) for seq in bad)
    assert outbox.count("delivered_at IS NOT NULL") == len(good)
    assert [message.i for message in streams.read("ORDERS")] == list(range(20))
    assert {line["failure_class"] for line in relay.lines("event.dead")} == {"poison"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_bad_header_is_a_dead_letter_and_the_others_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_rollup_hdrs=True)
    first = outbox.insert("orders.placed", None, {"i": 0}, {"Trace": "a\tb", "n": 1})
    bad = [
        outbox.insert("orders.placed", None, {}, headers)
        for headers in (
            {"Nats-Rollup": "all"},
            {"nats-rollup": "sub"},
            {"Nats-Msg-Id": "mine"},
            {"X": "a\r\nNats-Rollup: all"},
            {"a b": "x"},
            {"": "x"},
            {"X": ["a"]},
        )
    ]
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert all("header" in outbox.dead(seq) for seq in bad)
    stored = streams.read("ORDERS")
    assert [(message.i, message.headers["Trace"], message.headers["n"]) for message in stored] == [(0, "a\tb", "1")]
    assert outbox.row(first)["stream_seq"] == 1


def test_an_event_too_large_with_its_headers_is_found_before_it_is_sent(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    half = "x" * 60_000
    # Quotes included the payload alone fits into the 1 MiB of the server; with the header it does not.
    large = outbox.insert("orders.placed", None, "y" * (1024 * 1024 - 30_000), {"X": half})
    header = outbox.insert("orders.placed", None, {}, {"X": half, "Y": half})
    small = outbox.insert("orders.placed", None, {"i": 1})
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(small)
    assert "the server takes 1048576" in outbox.dead(large)
    assert "the server takes 65535" in outbox.dead(header)
    assert len(relay.lines("nats.connected")) == 1
    assert not relay.lines("nats.lost")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_the_stream_refuses_for_its_size_is_a_dead_letter(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=500, allow_atomic=True)
    before = outbox.insert("orders.placed", "k", {"i": 0})
    large = outbox.insert("orders.placed", "k", "x" * 1000)
    after = outbox.insert("orders.placed", "k", {"i": 2})
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert "10054" in outbox.dead(large)
    assert [outbox.row(seq)["stream_seq"] for seq in (before, after)] == [1, 2]


def test_a_full_stream_is_waited_for_and_the_other_stream_flows(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("FULL", "full.>", max_msgs=10, discard="new")
    streams.make("OTHER", "other.>")
    outbox.fill("full.x", 200, keys=7)
    relay = make_relay(outbox.dsn, streams.url, failures__hold_max_s="0.5", failures__hold_base_s="0.1").start()
    relay.said("hold.opened")
    other = [outbox.insert("other.x", f"o{i}", {"i": i}) for i in range(50)]
    for seq in other:
        outbox.delivered(seq)
    wait_until("a hold in the metrics", lambda: 'outbox_relay_holds{class="capacity"} 1.0' in relay.get("/metrics")[1])
    assert outbox.count("delivered_at IS NULL") == 190
    streams.change("FULL", max_msgs=-1)
    outbox.drained()
    assert outbox.count("attempts > 0 OR dead_at IS NOT NULL") == 0
    numbers = [message.i for message in streams.read("FULL")]
    assert sorted(numbers) == list(range(1, 201))
    for key in range(7):
        of_key = [i for i in numbers if i % 7 == key]
        assert of_key == sorted(of_key)


def test_a_subject_at_its_own_limit_holds_only_itself(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("S", "s.>", max_msgs_per_subject=1, discard="new", discard_new_per_subject=True)
    outbox.insert("s.a", "a", {"i": 1})
    held = outbox.insert("s.a", "a", {"i": 2})
    make_relay(outbox.dsn, streams.url, failures__hold_base_s="0.1", failures__hold_max_s="0.2").start()
    others = [outbox.insert(f"s.{i}", f"k{i}", {"i": i}) for i in range(20)]
    for seq in others:
        outbox.delivered(seq)
    row = outbox.row(held)
    assert (row["delivered_at"], row["dead_at"], row["attempts"]) == (None, None, 0)
    assert "10077" in row["last_error"]


def test_without_a_stream_events_wait_until_it_is_made(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("OTHER", "other.>")
    waiting = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(5)]
    relay = make_relay(outbox.dsn, streams.url, failures__hold_base_s="0.1", failures__hold_max_s="0.5").start()
    outbox.delivered(outbox.insert("other.x", "k2", {"i": 0}))
    relay.said("hold.opened")
    opened = relay.lines("hold.opened")
    assert [line["failure_class"] for line in opened] == ["configuration"]
    assert opened[0]["subject"] == "orders.placed"
    assert opened[0]["event_id"]
    wait_until("the reason to be noted", lambda: outbox.row(waiting[0])["last_error"])
    assert "no stream takes this subject" in outbox.row(waiting[0])["last_error"]
    assert outbox.count("attempts > 0 OR dead_at IS NOT NULL") == 0
    streams.make("ORDERS", "orders.>")
    outbox.drained()
    assert [message.i for message in streams.read("ORDERS")] == list(range(5))


def test_a_missing_stream_kills_only_where_that_is_configured(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    lost = outbox.insert("nowhere.x", "k", {})
    make_relay(outbox.dsn, streams.url, failures__on_misconfigured="dead").start()
    assert "no stream takes this subject" in outbox.dead(lost)


def test_a_sealed_stream_is_waited_for(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("SEALED", "sealed.x")
    streams.change("SEALED", sealed=True)
    seq = outbox.insert("sealed.x", None, {"i": 1})
    relay = make_relay(outbox.dsn, streams.url, failures__hold_max_s="0.5").start()
    relay.said("hold.opened")
    assert relay.lines("hold.opened")[0]["failure_class"] == "configuration"
    assert outbox.row(seq)["attempts"] == 0


def test_a_stream_that_acknowledges_nothing_is_named(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("SILENT", "silent.x", no_ack=True)
    outbox.insert("silent.x", None, {"i": 1})
    relay = make_relay(outbox.dsn, streams.url, delivery__ack_timeout_s="0.5").start()
    relay.said("hold.opened")
    assert "no_ack" in relay.lines("hold.opened")[0]["reason"]


def test_a_subject_without_the_right_to_publish_waits_and_the_others_flow(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    own_nats.stop()
    own_nats.config = """
        accounts { A { jetstream: enabled, users: [
            {user: admin, password: admin}
            {user: relay, password: secret-word, permissions: {
                publish: ["Allowed.>", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*"], subscribe: ["_INBOX_relay.>"]}}
        ]}}
    """
    own_nats.start()
    streams = Streams(own_nats.url.replace("//", "//admin:admin@"))
    streams.make("ALL", "Allowed.>", "Forbidden.>")
    forbidden = outbox.insert("Forbidden.x", "f", {"i": 0})
    relay = make_relay(outbox.dsn, own_nats.url, nats__user="relay", nats__password="secret-word").start()  # noqa: S106  # made up here
    relay.said("hold.opened")
    allowed = [outbox.insert("Allowed.x", "a", {"i": i}) for i in range(5)]
    for seq in allowed:
        outbox.delivered(seq)
    hold = relay.lines("hold.opened")[0]
    assert (hold["failure_class"], hold["scope"]) == ("configuration", "subject Forbidden.x")
    assert "not permitted" in outbox.row(forbidden)["last_error"]
    assert outbox.row(forbidden)["attempts"] == 0
    assert "secret-word" not in relay.text()


def test_an_unknown_refusal_is_tried_again_and_dies_after_its_attempts(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    # The server answers 10193, which stands in no class.
    streams.make("ORDERS", "orders.>")
    odd = outbox.insert("orders.placed", "k", {"i": 0}, {_ODD_HEADER: "orders.>"})
    behind = outbox.insert("orders.placed", "k", {"i": 1})
    other = outbox.insert("orders.placed", "k2", {"i": 2})
    relay = make_relay(
        outbox.dsn,
        streams.url,
        headers__allow_nats=_ODD_HEADER,
        failures__max_attempts="3",
        failures__backoff_base_s="0.2",
    ).start()
    outbox.delivered(other)
    reason = outbox.dead(odd)
    outbox.delivered(behind)
    assert outbox.row(odd)["attempts"] == 3, reason
    postponed = relay.lines("event.postponed")
    assert [line["attempts"] for line in postponed] == [1, 2]
    assert outbox.row(behind)["delivered_at"] > outbox.row(odd)["dead_at"]


def test_a_key_waits_behind_its_dead_letter_until_a_person_gives_it_back(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=500)
    dead = outbox.insert("orders.placed", "k", "x" * 1000)
    behind = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(3)]
    relay = make_relay(outbox.dsn, streams.url, failures__on_dead="block").start()
    outbox.dead(dead)
    outbox.delivered(outbox.insert("orders.placed", "other", {"i": 9}))
    assert outbox.count("key = 'k' AND delivered_at IS NOT NULL") == 0
    # The block outlives the relay.
    assert relay.stop() == 0
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "other", {"i": 10}))
    assert outbox.count("key = 'k' AND delivered_at IS NOT NULL") == 0
    streams.change("ORDERS", max_msg_size=-1)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL, retry_at = now() WHERE seq = %s", (dead,))
    for seq in [dead, *behind]:
        outbox.delivered(seq)
    of_key = [outbox.row(seq)["stream_seq"] for seq in [dead, *behind]]
    assert of_key == sorted(of_key)


def test_more_waiting_events_than_fit_into_memory_are_read_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    outbox.fill("late.x", 3000, keys=50)
    relay = make_relay(
        outbox.dsn, streams.url, delivery__held_events="100", failures__hold_base_s="0.1", failures__hold_max_s="0.3"
    ).start()
    relay.said("hold.opened")
    streams.make("OTHER", "other.>")
    outbox.delivered(outbox.insert("other.x", "free", {"i": 0}))
    streams.make("LATE", "late.>")
    outbox.drained()
    numbers = [message.i for message in streams.read("LATE")]
    assert sorted(numbers) == list(range(1, 3001))
    for key in range(50):
        of_key = [i for i in numbers if i % 50 == key]
        assert of_key == sorted(of_key)
