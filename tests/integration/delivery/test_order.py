"""The order of each key in the stream, whatever happens on the way."""

import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Stored, Streams, assert_once_and_in_order, ids

STRATEGIES = ["singles", "atomic"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_holds_through_kills_of_the_relay(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 20_000, keys=37)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy, lease__ttl_s="2").start()
    for kill in range(3):
        outbox.delivered_at_least(2000 * (kill + 1))
        relay.kill()
        outbox.leases_run_out()
        relay.start()
    outbox.drained()
    assert relay.stop() == 0
    assert_once_and_in_order(streams.read("ORDERS"), 20_000, 37)
    wrong = outbox.count("stream IS DISTINCT FROM 'ORDERS' OR stream_seq IS NULL")
    assert wrong == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_holds_through_kills_of_nats(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, strategy: str
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 20_000, keys=37)
    relay = make_relay(outbox.dsn, own_nats.url, delivery__strategy=strategy).start()
    for kill in range(3):
        outbox.delivered_at_least(2000 * (kill + 1))
        own_nats.kill()
        time.sleep(0.2)
        own_nats.start()
    outbox.drained()
    assert relay.stop() == 0
    assert_once_and_in_order(streams.read("ORDERS"), 20_000, 37)
    assert outbox.count("attempts > 0") == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_marks_name_the_very_message(outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 3000, keys=11)
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert outbox.marks() == ids(streams.read("ORDERS"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_key_alone_keeps_its_order(outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 3000, keys=1)
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert [message.i for message in streams.read("ORDERS")] == list(range(1, 3001))


def test_atomic_batches_are_used_where_the_stream_allows_them(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ATOMIC", "a.>", allow_atomic=True)
    streams.make("PLAIN", "p.>")
    outbox.fill("a.x", 3000, keys=100)
    outbox.fill("p.x", 3000, keys=100)
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    for name in ("ATOMIC", "PLAIN"):
        assert_once_and_in_order(streams.read(name), 3000, 100)
    in_batches = [message for message in streams.read("ATOMIC") if "Nats-Batch-Id" in message.headers]
    assert len(in_batches) > 1500 if streams.take_batches else not in_batches
    assert not [message for message in streams.read("PLAIN") if "Nats-Batch-Id" in message.headers]


@pytest.mark.parametrize(
    ("storage", "strategy", "batches"), [("file", "auto", 0), ("memory", "auto", 1), ("file", "atomic", 1)]
)
def test_few_events_of_a_transaction_go_in_a_batch_if_it_needs_no_files(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, storage: str, strategy: str, batches: int
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, storage=storage)
    make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.fill("orders.first", 1, keys=1)  # the stream is known then, and so how it takes batches
    outbox.drained()
    outbox.fill("orders.placed", 20, keys=20)
    outbox.drained()
    ids_of_batches = {message.headers.get("Nats-Batch-Id") for message in streams.read("ORDERS")[1:]}
    assert len(ids_of_batches - {None}) == (batches if streams.take_batches else 0)


def test_a_batch_with_an_event_that_is_stored_already_still_ends_well(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 3000, keys=100)
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    assert relay.stop() == 0
    # As after a crash between acknowledgement and mark: some of each batch are in the stream.
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL WHERE mod(seq, 3) = 0"
    )
    outbox.fill("orders.other", 1000, keys=100)
    outbox.conn.execute("UPDATE outbox_shards SET watermark = 0")
    relay.start()
    outbox.drained()
    stored = streams.read("ORDERS")
    assert len(stored) == 4000
    assert outbox.marks() == ids(stored)
    assert bool(relay.lines("batch.refused")) is streams.take_batches


@pytest.mark.parametrize("keys", [1, 10])
def test_many_events_that_are_stored_already_spoil_few_batches(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, keys: int
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 2000, keys=keys)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy="atomic").start()
    outbox.drained()
    assert relay.stop() == 0
    # As after a crash before the marks, or an outage in which the acknowledgements were lost.
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL, stream = NULL, stream_seq = NULL")
    outbox.conn.execute("UPDATE outbox_shards SET watermark = 0")
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'orders.placed', 'k' || mod(i, %s), jsonb_build_object('i', i) FROM generate_series(2001, 8000) i",
        (keys,),
    )
    relay.start()
    outbox.drained(timeout_s=15)
    assert_once_and_in_order(streams.read("ORDERS"), 8000, keys)
    assert len(relay.lines("batch.refused")) <= 10


def test_without_ordering_everything_is_delivered_once(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", 5000, keys=1)
    make_relay(outbox.dsn, streams.url, delivery__ordering="none").start()
    outbox.drained()
    assert sorted(message.i for message in streams.read("ORDERS")) == list(range(1, 5001))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_ordering_kills_lose_and_repeat_nothing(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, strategy: str
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 10_000, keys=10)
    relay = make_relay(
        outbox.dsn, own_nats.url, delivery__ordering="none", delivery__strategy=strategy, delivery__window="50"
    ).start()
    for kill in range(3):
        outbox.delivered_at_least(1000 * (kill + 1))
        own_nats.kill()
        relay.kill()
        own_nats.start()
        outbox.leases_run_out()
        relay.start()
    outbox.drained()
    assert sorted(message.i for message in streams.read("ORDERS")) == list(range(1, 10_001))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("fetch_batch", "window", "atomic_batch", "keys"), [(1, 1, 2, 3), (7, 5, 3, 4), (100, 3, 99, 1), (64, 64, 64, 64)]
)
def test_no_size_of_batch_or_window_breaks_the_order(
    outbox: Outbox,
    streams: Streams,
    make_relay: MakeRelay,
    strategy: str,
    fetch_batch: int,
    window: int,
    atomic_batch: int,
    keys: int,
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 400, keys=keys)
    make_relay(
        outbox.dsn,
        streams.url,
        delivery__strategy=strategy,
        delivery__fetch_batch=str(fetch_batch),
        delivery__window=str(window),
        delivery__atomic_batch=str(atomic_batch),
        delivery__atomic_in_flight="2",
        delivery__buffer_events=str(max(fetch_batch, window, atomic_batch * 2)),
    ).start()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 400, keys)


# The server answers 10193, which stands in no class: it is tried again, and dies after its attempts.
ODD_HEADER = "Nats-Expected-Last-Subject-Sequence-Subject"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_holds_behind_heads_that_are_tried_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.needs(2, 12, why="no older one refuses the odd header")
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    keys = 6
    outbox.fill("orders.placed", 600, keys=keys)
    odd = [outbox.insert("orders.placed", f"k{key}", {"i": 0}, {ODD_HEADER: "orders.>"}) for key in range(0, keys, 2)]
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'orders.placed', 'k' || mod(i, %s), jsonb_build_object('i', i) FROM generate_series(601, 1200) i",
        (keys,),
    )
    # An earlier run has postponed some heads.
    outbox.conn.execute(
        "UPDATE outbox_events SET retry_at = now() + interval '1 s', attempts = 1 WHERE seq IN (3, 302, 301)"
    )
    settings = {
        "delivery__strategy": strategy,
        "headers__allow_nats": ODD_HEADER,
        "failures__max_attempts": "3",
        "failures__backoff_base_s": "0.3",
        "failures__backoff_max_s": "0.5",
        "lease__ttl_s": "2",
    }
    relay = make_relay(outbox.dsn, streams.url, **settings).start()
    relay.said("event.postponed")
    # And this run ends in between as well.
    relay.kill()
    outbox.leases_run_out()
    relay.start()
    outbox.drained()
    assert outbox.count("dead_at IS NOT NULL") == len(odd)
    assert_once_and_in_order(streams.read("ORDERS"), 1200, keys)
    for seq in odd:
        row = outbox.row(seq)
        behind = f"key = '{row['key']}' AND seq > {seq} AND delivered_at < '{row['dead_at']}'"
        assert outbox.count(behind) == 0, "its key waited behind it"


def in_order_of_seq(stored: list[Stored]) -> dict[str, list[int]]:
    """Return the seqs of each key as they stand in the stream, having found them ascending and each there once."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for message in stored:
        by_key[message.headers.get("Outbox-Key", "")].append(int(message.headers["Outbox-Seq"]))
    for key, seqs in by_key.items():
        assert len(seqs) == len(set(seqs)), f"key {key}"
        assert key == "" or seqs == sorted(seqs), f"key {key}"
    return by_key


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_holds_while_producers_write_and_everything_is_killed(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay, strategy: str
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = make_relay(
        outbox.dsn, own_nats.url, delivery__strategy=strategy, headers__seq="true", headers__key="true"
    ).start()
    done = threading.Event()
    insert = "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', %s, '{}')"

    def produce(producer: int) -> None:
        """Write keys of its own, some without, in transactions of several events, of which some are rolled back."""
        with psycopg.connect(outbox.dsn) as conn:
            turn = 0
            while not done.wait(0.005):
                turn += 1
                for at in range(turn % 5 + 1):
                    conn.execute(insert, (None if at == 3 else f"p{producer}-{at % 3}",))
                if turn % 7 == 0:
                    conn.rollback()
                else:
                    conn.commit()

    with ThreadPoolExecutor(4) as pool:
        producing = [pool.submit(produce, producer) for producer in range(4)]
        try:
            for turn in range(4):
                outbox.delivered_at_least(outbox.count("delivered_at IS NOT NULL") + 500)
                if turn % 2:
                    own_nats.kill()
                    own_nats.start()
                else:
                    relay.kill()
                    outbox.leases_run_out()
                    relay.start()
        finally:
            done.set()
        for future in producing:
            future.result()
    outbox.drained()
    by_key = in_order_of_seq(streams.read("ORDERS"))
    assert sum(map(len, by_key.values())) == outbox.count("true")
    assert len(by_key) == 4 * 3 + 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_kill_before_a_dead_letter_is_written_sends_it_behind_no_later_event_of_its_key(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    """What is decided and not written is decided again; by then the stream may take what it refused."""
    streams.make("ORDERS", "orders.>", max_msg_size=500, allow_atomic=True)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy)
    seq = outbox.insert("orders.placed", "k", {"i": 0, "pad": "x" * 1000})
    with psycopg.connect(outbox.dsn) as other:
        other.execute("SELECT FROM outbox_events WHERE seq = %s FOR UPDATE", (seq,))
        relay.start()
        relay.said("event.dead")
        for i in (1, 2, 3):
            outbox.insert("orders.placed", "k", {"i": i})
            outbox.delivered(outbox.insert("orders.other", f"another {i}", {"i": -1}))
        relay.kill()
        outbox.killed_relays_are_gone()
    outbox.leases_run_out()
    streams.change("ORDERS", max_msg_size=5000)
    relay.start()
    outbox.drained()
    assert [message.i for message in streams.read("ORDERS") if message.subject == "orders.placed"] == [0, 1, 2, 3]


@pytest.mark.parametrize("on_dead", ["skip", "block"])
def test_a_key_goes_on_once_its_dead_letter_is_written(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, on_dead: str
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=500)
    relay = make_relay(outbox.dsn, streams.url, failures__on_dead=on_dead)
    seq = outbox.insert("orders.placed", "k", {"i": 0, "pad": "x" * 1000})
    later = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(1, 40)]
    with psycopg.connect(outbox.dsn) as other:
        other.execute("SELECT FROM outbox_events WHERE seq = %s FOR UPDATE", (seq,))
        relay.start()
        relay.said("event.dead")
        outbox.delivered(outbox.insert("orders.other", "another", {"i": -1}))
        assert outbox.count("delivered_at IS NOT NULL") == 1
    outbox.dead(seq)
    if on_dead == "block":
        outbox.delivered(outbox.insert("orders.other", "another", {"i": -1}))
        assert outbox.count("delivered_at IS NOT NULL") == 2
        outbox.conn.execute("UPDATE outbox_events SET discarded_at = now() WHERE seq = %s", (seq,))
    outbox.delivered(later[-1])
    assert [message.i for message in streams.read("ORDERS") if message.subject == "orders.placed"] == list(range(1, 40))
