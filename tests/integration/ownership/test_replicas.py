"""Several relays share the work: fairly, in order, through joins, leaves, kills and freezes."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

import psycopg

from relay.errors import Exit
from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order, ids

# The shortest that is permitted.
LEASE = {"lease__ttl_s": "2"}


def shares(outbox: Outbox) -> list[int]:
    """Return how many shards each living owner has, ascending."""
    rows = outbox.conn.execute(
        "SELECT count(*) FROM outbox_shards WHERE lease_until > clock_timestamp() GROUP BY owner ORDER BY 1"
    ).fetchall()
    return [count for (count,) in rows]


def shared(outbox: Outbox, *counts: int) -> None:
    wait_until(f"the shards are shared {counts}", lambda: shares(outbox) == sorted(counts))


def owns(relay: Relay, shards: int) -> bool:
    """Report whether the metrics of a relay say that it owns so many shards."""
    return f"outbox_relay_shards_owned {shards}.0" in relay.get("/metrics")[1]


class Producer:
    """Commits events of many keys for as long as a test does other things; payload ``{"i": 1}`` and on."""

    def __init__(self, outbox: Outbox, keys: int) -> None:
        self._dsn = outbox.dsn
        self._keys = keys
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.events = 0

    def __enter__(self) -> "Producer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            while not self._stop.is_set():
                conn.execute(
                    "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.placed', 'k' || mod(i, %s),"
                    " jsonb_build_object('i', i) FROM generate_series(%s::int, %s::int) i",
                    (self._keys, self.events + 1, self.events + 20),
                )
                self.events += 20
                time.sleep(0.01)


def test_replicas_that_come_and_go_share_fairly_and_keep_the_order(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relays: list[Relay] = []
    with Producer(outbox, keys=50) as producer:
        for counts in ((64,), (32, 32), (22, 21, 21)):
            relays.append(make_relay(outbox.dsn, streams.url, **LEASE).start())
            shared(outbox, *counts)
        assert relays[0].stop() == Exit.DONE
        shared(outbox, 32, 32)
        relays[1].kill()
        shared(outbox, 64)
        delivered = outbox.count("delivered_at IS NOT NULL")
        wait_until("events flow on", lambda: outbox.count("delivered_at IS NOT NULL") > delivered + 100)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), producer.events, 50)
    assert relays[2].stop() == Exit.DONE
    assert outbox.conn.execute("SELECT count(*) FROM outbox_members").fetchone() == (0,), "nor is a dead one kept"
    assert shares(outbox) == []


def test_both_work_on_a_backlog(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    pair = [make_relay(outbox.dsn, streams.url, **LEASE, **SLOWLY).start() for _ in range(2)]
    shared(outbox, 32, 32)
    outbox.fill("orders.placed", 8000, keys=100)
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, payload) SELECT 'orders.keyless', '{}' FROM generate_series(1, 1000)"
    )
    outbox.drained()
    assert_once_and_in_order([m for m in streams.read("ORDERS") if m.subject == "orders.placed"], 8000, 100)
    assert streams.messages("ORDERS") == 9000
    for relay in pair:
        published = relay.get("/metrics")[1].split("\noutbox_relay_published_events_total ")[1].split()[0]
        assert 2000 < float(published) < 7000, "each took its share"
        wait_until("it owns half", partial(owns, relay, 32))


def test_one_that_was_frozen_past_its_lease_marks_nothing_and_reorders_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: Callable[[str], str]
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    url = through_us(streams.url)
    first, second = (make_relay(outbox.dsn, url, **LEASE, **SLOWLY).start() for _ in range(2))
    shared(outbox, 32, 32)
    outbox.fill("orders.placed", 10_000, keys=100)
    wait_until("they are at work", lambda: outbox.count("delivered_at IS NOT NULL") > 500)
    first.signal(signal.SIGSTOP)
    assert outbox.count("delivered_at IS NOT NULL") < 10_000, "it was frozen in the middle"
    shared(outbox, 64)
    second.said("relay.active", len(second.lines("relay.active")))
    first.signal(signal.SIGCONT)
    first.said("lease.lost")
    shared(outbox, 32, 32)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 10_000, 100)
    assert outbox.marks() == ids(streams.read("ORDERS"))


def test_one_whose_machine_was_suspended_sends_nothing_when_it_wakes(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: Callable[[str], str]
) -> None:
    streams.make("ORDERS", "orders.>", duplicate_window=10**9)
    first = make_relay(outbox.dsn, through_us(streams.url), **LEASE, **SLOWLY)
    first.patch(suspended="1")
    first.start()
    shared(outbox, 64)
    outbox.fill("orders.placed", 3_000, keys=100)
    wait_until("it is at work", lambda: outbox.count("delivered_at IS NOT NULL") > 500)
    first.signal(signal.SIGSTOP)
    assert outbox.count("delivered_at IS NOT NULL") < 3_000, "it was frozen in the middle"
    make_relay(outbox.dsn, streams.url, **LEASE).start()
    outbox.drained()
    stored = streams.messages("ORDERS")
    time.sleep(1.5)  # so that the stream has forgotten every id
    first.signal(signal.SIGCONT)
    first.said("lease.lost")
    assert streams.messages("ORDERS") == stored == 3_000


def connected(relay: Relay) -> None:
    """Wait until the relay's term has its connection to NATS."""
    wait_until("connected", lambda: 0 < len(relay.lines("relay.active")) <= len(relay.lines("nats.connected")))


def test_a_ring_wakes_every_sleeper(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>")
    relays = [make_relay(outbox.dsn, streams.url, delivery__poll_max_s="30").start() for _ in range(3)]
    shared(outbox, 22, 21, 21)
    for relay in relays:
        connected(relay)
    for turn in range(5):
        time.sleep(0.5)  # long enough to fall asleep, by far not long enough for a poll
        seqs = [outbox.insert("orders.placed", f"k{turn}.{n}", {}) for n in range(10)]
        for seq in seqs:
            outbox.delivered(seq, timeout_s=10)


def test_a_late_commit_is_found_by_its_owner_while_others_pass_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    for _ in range(3):
        make_relay(outbox.dsn, streams.url, **LEASE).start()
    shared(outbox, 22, 21, 21)
    with psycopg.connect(outbox.dsn) as late, psycopg.connect(outbox.dsn) as never:
        insert = "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.late', 'k' || %s, '{}') RETURNING seq"
        seqs = []
        for n in range(20):
            found = late.execute(insert, (n,)).fetchone()
            assert found is not None
            seqs.append(found[0])
            never.execute(insert, (n,))
            outbox.delivered(outbox.insert("orders.placed", f"k{n}", {}))
        watermark = outbox.conn.execute("SELECT min(watermark), min(watermark_at) FROM outbox_shards").fetchone()
        assert watermark is not None
        assert watermark[0] < seqs[0], "it does not pass what may still commit"
        late.commit()
        for seq in seqs:
            outbox.delivered(seq, timeout_s=10)
        never.rollback()
    newest = outbox.conn.execute("SELECT max(seq) FROM outbox_events").fetchone()
    assert newest is not None
    wait_until(
        "the watermark reaches the end",
        lambda: outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone() == newest,
    )


def test_the_watermark_in_time_covers_every_commit_and_never_moves_back(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relays = [make_relay(outbox.dsn, streams.url, **LEASE).start() for _ in range(2)]
    shared(outbox, 32, 32)
    last: tuple[int, float] = (0, 0.0)
    with Producer(outbox, keys=20):
        for turn in range(40):
            time.sleep(0.1)
            if turn == 15:
                relays[0].kill()
            found = outbox.conn.execute(
                "SELECT min(watermark), coalesce(date_part('epoch', min(watermark_at)), 0),"
                # Every row here is visible, so it was committed; its transaction began before that.
                " (SELECT count(*) FROM outbox_events e WHERE e.delivered_at IS NULL AND e.seq <="
                "  (SELECT min(watermark) FROM outbox_shards))"
                " FROM outbox_shards"
            ).fetchone()
            assert found is not None
            seq, at, pending_below = found
            assert pending_below == 0
            assert seq >= last[0]
            assert at >= last[1]
            last = (seq, at)
    outbox.drained()
    committed = time.time()
    wait_until(
        "it is complete up to a time after the last commit",
        lambda: (
            outbox.conn.execute(
                "SELECT min(watermark_at) > to_timestamp(%s) FROM outbox_shards", (committed,)
            ).fetchone()
            == (True,)
        ),
    )


def test_one_that_is_owed_shards_asks_for_them_several_times_a_second(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """What is handed over has no owner until it asks."""
    streams.make("ORDERS", "orders.>")
    owner = make_relay(outbox.dsn, streams.url).start()
    shared(outbox, 64)
    owner.signal(signal.SIGSTOP)
    make_relay(outbox.dsn, streams.url).start()
    wait_until("another one waits for its share", lambda: len(members(outbox)) == 2)
    asked = {max(members(outbox))}
    until = time.monotonic() + 5
    while len(asked) < 9 and time.monotonic() < until:
        asked.add(max(members(outbox)))
        time.sleep(0.02)
    owner.signal(signal.SIGCONT)
    assert len(asked) == 9
    shared(outbox, 32, 32)


def members(outbox: Outbox) -> list[datetime]:
    """Return up to when each relay has reported that it lives."""
    return [until for (until,) in outbox.conn.execute("SELECT lease_until FROM outbox_members")]
