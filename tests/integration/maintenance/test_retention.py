"""Old rows are deleted in short steps, by the owner or by hand, and nothing that is still needed."""

import json
import signal
import time

import psycopg
import pytest

from relay.demo.servers import NatsServer
from relay.errors import Exit
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import Streams, restrict
from tests.support.relay_cli import done, once_begun, relay

DAY_S = 86_400
KEEP_A_DAY = {"retention__delivered_age_s": str(DAY_S)}


def old_rows(outbox: Outbox, events: int, age_s: float = 2 * DAY_S) -> None:
    """Insert events that were delivered long ago, below the watermark."""
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload, delivered_at, stream, stream_seq)"
        " SELECT 'orders.placed', 'k' || i %% 7, '{}', now() - make_interval(secs => %s), 'ORDERS', i"
        " FROM generate_series(1, %s::int) i",
        (age_s, events),
    )
    outbox.conn.execute("UPDATE outbox_shards SET watermark = (SELECT max(seq) FROM outbox_events)")


# What was delivered long ago has left the stream by its limits.
BEYOND = 20_001


def metric(running: Relay, name: str) -> float:
    for line in running.get("/metrics")[1].splitlines():
        if line.startswith(f"{name} "):
            return float(line.rsplit(" ", 1)[1])
    return -1.0


def test_the_owner_deletes_what_is_old_and_nothing_else(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 12_345)
    late = 4321
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE seq = %s", (late,))
    dead = 5000
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, dead_at = now() - interval '9 days' WHERE seq = %s", (dead,)
    )
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    newest = outbox.insert("orders.placed", "k", {"i": 0})
    outbox.delivered(newest)
    wait_until("the old ones gone", lambda: outbox.count("true") == 3)
    assert {seq for (seq,) in outbox.conn.execute("SELECT seq FROM outbox_events")} == {late, dead, newest}
    wait_until("it is told", lambda: metric(running, "outbox_relay_retention_behind_seconds") == 0)
    pruned = 'outbox_relay_pruned_events_total{kind="delivered"}'
    wait_until("they are counted", lambda: metric(running, pruned) == 12_343)


def test_by_default_everything_is_kept(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 100, age_s=1000 * DAY_S)
    make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed"))
    time.sleep(1)
    assert outbox.count("true") == 101


def test_what_is_above_the_watermark_stays(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 3000)
    # No stream takes it: it waits, and keeps the watermark below itself.
    outbox.conn.execute(
        "UPDATE outbox_events SET topic = 'nowhere.x', delivered_at = NULL, stream = NULL, stream_seq = NULL"
        " WHERE seq = 1500"
    )
    outbox.conn.execute("UPDATE outbox_shards SET watermark = 1499")
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    wait_until("those below are gone", lambda: outbox.count("seq < 1499") == 0)
    time.sleep(1)
    assert outbox.count("seq >= 1499") == 1502
    wait_until("it is told", lambda: metric(running, "outbox_relay_watermark_seq") == 1499)


def test_nothing_is_deleted_while_a_loss_is_open(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 500)
    outbox.conn.execute("INSERT INTO outbox_streams (shard, stream, lost_at) VALUES (0, 'OTHER', now())")
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    wait_until("it is told", lambda: metric(running, "outbox_relay_retention_behind_seconds") > DAY_S / 2)
    assert outbox.count("true") == 500
    result = relay(outbox.dsn, "prune", "--older-than", "1d", "--yes")
    assert result.exit_code == Exit.LOST and "relay verify" in result.stderr
    outbox.conn.execute("UPDATE outbox_streams SET lost_at = NULL")
    prune = ("prune", "--older-than", "1d", "--yes", "--server", streams.url)
    assert "499 delivered events deleted" in done(outbox.dsn, *prune).stdout


def test_nothing_is_deleted_while_the_stream_cannot_be_looked_at(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    own_nats.stop()
    old_rows(outbox, 500)
    running = make_relay(outbox.dsn, own_nats.url, **KEEP_A_DAY).start()
    running.said("nats.unreachable")
    time.sleep(1)
    assert outbox.count("true") == 500
    own_nats.start()
    assert running.said("retention.kept")["stream"] == "ORDERS"
    assert outbox.count("true") == 500, "the stream is not there"
    Streams(own_nats.url).make("ORDERS", "orders.>", first_seq=BEYOND)
    assert running.said("retention.resumed")["stream"] == "ORDERS"
    wait_until("gone but for the newest", lambda: outbox.count("true") == 1)


def test_a_stream_that_nobody_can_look_at_keeps_its_own_rows_alone(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """More of its rows than are looked over in a turn lie before those of the other one, and come first."""
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 15_000)
    outbox.conn.execute("UPDATE outbox_events SET stream = 'GONE' WHERE seq <= 12000")
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert running.said("retention.kept")["stream"] == "GONE"
    wait_until("those of the other are gone", lambda: outbox.count("stream = 'ORDERS'") == 1)
    assert outbox.count("stream = 'GONE'") == 12_000
    behind = "outbox_relay_retention_behind_seconds"
    wait_until("it is told", lambda: metric(running, behind) > DAY_S / 2)
    assert len(running.lines("retention.kept")) == 1
    streams.make("GONE", "gone.>", first_seq=BEYOND)
    wait_until("those of the one that is back are gone", lambda: outbox.count("stream = 'GONE'") == 0)
    wait_until("that is told", lambda: metric(running, behind) == 0)


@pytest.mark.denials
def test_a_stream_that_may_not_be_looked_at_keeps_its_rows(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    restrict(own_nats, "orders.>").make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 500)
    running = make_relay(outbox.dsn, own_nats.url, **KEEP_A_DAY).start()
    assert "not permitted" in running.said("retention.kept")["reason"]
    assert outbox.count("true") == 500


@pytest.mark.parametrize("on_dead", ["skip", "block"])
def test_dead_letters_have_their_own_age(outbox: Outbox, streams: Streams, make_relay: MakeRelay, on_dead: str) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 100)
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, dead_at = now() - make_interval(days => seq::int)"
        " WHERE seq BETWEEN 1 AND 20"
    )
    outbox.conn.execute("UPDATE outbox_events SET discarded_at = now() WHERE seq = 15")
    make_relay(outbox.dsn, streams.url, retention__dead_age_s=str(10 * DAY_S + 60), failures__on_dead=on_dead).start()
    left = 10 if on_dead == "skip" else 19
    wait_until("the old dead letters gone", lambda: outbox.count("dead_at IS NOT NULL") == left)
    assert outbox.count("dead_at IS NULL") == 80


def test_deleting_holds_nobody_up(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    """A step takes locks on old rows alone: with all of them held by a transaction, producers and the relay go on."""
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 5000)
    running = make_relay(outbox.dsn, streams.url, **KEEP_A_DAY).start()
    with psycopg.connect(outbox.dsn) as conn:
        conn.execute("DELETE FROM outbox_events WHERE delivered_at < now() - interval '1 day'")
        outbox.conn.execute("SET lock_timeout = '2s'")
        for _ in range(3):
            outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
        conn.rollback()
    wait_until("gone", lambda: outbox.count("true") <= 4)
    assert running.lines("lease.lost") == []


def test_by_hand_it_says_what_it_would_do_asks_and_does_it(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 2500)
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE seq > 2000")
    result = relay(outbox.dsn, "prune")
    assert result.exit_code == Exit.CONFIG and "--older-than" in result.stderr
    assert relay(outbox.dsn, "prune", "--older-than", "1d").exit_code == Exit.CONFIG, "there is no terminal"
    dry = done(outbox.dsn, "prune", "--older-than", "1d", "--dry-run")
    assert "would delete 2,000 delivered events" in dry.stderr
    assert dry.stdout == ""
    assert outbox.count("true") == 2500
    found = json.loads(
        done(
            outbox.dsn,
            "prune",
            "--yes",
            "--output",
            "json",
            "--server",
            streams.url,
            RELAY_RETENTION__DELIVERED_AGE_S="86400",
        ).stdout
    )
    assert found == {"what": "delivered events", "planned": 2000, "pruned": 2000}
    assert outbox.count("true") == 500
    assert "prune" in done(outbox.dsn, "audit").stdout
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, dead_at = now() - interval '2 days' WHERE seq < 2011"
    )
    assert "10 dead letters deleted" in done(outbox.dsn, "prune", "--dead", "--older-than", "1d", "--yes").stdout
    assert outbox.count("true") == 490


def test_a_large_backlog_fills_no_memory(outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay) -> None:
    own_nats.stop()
    running = make_relay(outbox.dsn, own_nats.url, delivery__buffer_bytes=str(4 * 1024 * 1024)).start()
    running.said("nats.unreachable")
    wait_until("metrics", lambda: metric(running, "process_resident_memory_bytes") > 0)
    before = metric(running, "process_resident_memory_bytes")
    rows, payload = 60_000, 2000
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'orders.placed', 'k' || i %% 100, jsonb_build_object('pad', repeat('x', %s))"
        " FROM generate_series(1, %s::int) i",
        (payload, rows),
    )
    wait_until("the backlog is seen", lambda: metric(running, "outbox_relay_backlog_events") == rows)
    wait_until("the buffer is full", lambda: running.get("/metrics")[1].count("fetched_events_total") > 0)
    time.sleep(1)
    grown = metric(running, "process_resident_memory_bytes") - before
    assert grown < rows * payload / 3


def test_only_the_relay_that_deletes_says_how_far_it_is(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    outbox.fill("orders.placed", 10, keys=10)
    first = make_relay(outbox.dsn, streams.url, lease__ttl_s="2", **KEEP_A_DAY).start()
    outbox.drained()
    oldest, owned = "outbox_relay_retention_oldest_timestamp_seconds", "outbox_relay_shards_owned"
    wait_until("the first one says it", lambda: metric(first, oldest) > 0)
    second = make_relay(outbox.dsn, streams.url, lease__ttl_s="2", **KEEP_A_DAY).start()
    wait_until("it has a share", lambda: metric(second, owned) == 32)
    first.signal(signal.SIGSTOP)
    wait_until("it has everything", lambda: metric(second, owned) == 64)
    first.signal(signal.SIGCONT)
    wait_until("the first one is back", lambda: metric(first, owned) == 32)
    wait_until("the second one says it", lambda: metric(second, oldest) > 0)
    assert metric(first, oldest) == 0


# No regular look comes in between.
ALONE = {"healing__check_every_s": "600"}


def lost_and_filled_up(outbox: Outbox, streams: Streams, events: int) -> None:
    """Lose what a stream has acknowledged, while the relay has nothing to send; others store more than that at once."""
    streams.make("ORDERS", "orders.>")
    outbox.fill("orders.placed", events, keys=5)
    outbox.drained()
    wait_until("the relay has looked at it", lambda: looked_seq(outbox) is not None)
    streams.api("STREAM.DELETE.ORDERS")
    streams.make("ORDERS", "orders.>")
    streams.publish("orders.other", *({"i": -number} for number in range(10 * events)))


def looked_seq(outbox: Outbox) -> object:
    row = outbox.conn.execute("SELECT min(looked_seq) FROM outbox_streams WHERE stream = 'ORDERS'").fetchone()
    return None if row is None else row[0]


def test_what_was_lost_and_filled_up_by_others_is_healed_and_not_deleted(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    running = make_relay(outbox.dsn, streams.url, retention__delivered_age_s="6", **ALONE).start()
    lost_and_filled_up(outbox, streams, 20)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert running.said("retention.kept")["stream"] == "ORDERS"
    assert running.said("stream.lost")["events"] == 20
    wait_until("all in the stream", lambda: len(own(streams)) == 21)
    assert sorted(own(streams)) == list(range(21))


def own(streams: Streams) -> list[int]:
    return [message.i for message in streams.read("ORDERS") if message.subject == "orders.placed"]


def test_what_was_lost_and_filled_up_by_others_is_not_deleted_by_hand(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    make_relay(outbox.dsn, streams.url, **ALONE).start()
    lost_and_filled_up(outbox, streams, 20)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    newest = "SELECT FROM outbox_streams WHERE stream = 'ORDERS' AND mark_seq > 200"
    wait_until("the mark of now is saved", lambda: outbox.conn.execute(newest).fetchone() is not None)
    prune = ("prune", "--older-than", "0s", "--yes", "--server", streams.url)
    result = relay(outbox.dsn, *prune)
    # By the mark of the last look, if one had found it good before it was lost; else by when the stream was made.
    assert (result.exit_code, "no relay has" in result.stderr) == (Exit.LOST, True), result.stderr
    outbox.conn.execute("DELETE FROM outbox_streams")
    result = relay(outbox.dsn, *prune)
    assert (result.exit_code, "does not hold events" in result.stderr) == (Exit.LOST, True), (
        "the rows themselves say so"
    )
    assert outbox.count("true") == 21


@pytest.mark.parametrize("kind", ["delivered_at", "dead_at"])
def test_by_hand_nothing_is_deleted_that_is_only_old_enough_since_it_was_counted(
    outbox: Outbox, streams: Streams, kind: str
) -> None:
    streams.make("ORDERS", "orders.>", first_seq=BEYOND)
    old_rows(outbox, 500, age_s=0)
    if kind == "dead_at":
        outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL, dead_at = now()")
    outbox.conn.execute(f"UPDATE outbox_events SET {kind} = now() - interval '2 days' WHERE seq <= 5")
    day_old = f"UPDATE outbox_events SET {kind} = clock_timestamp() - interval '1 day' WHERE seq BETWEEN 6 AND 9"
    once_begun(outbox.conn, day_old)
    dead = ("--dead",) if kind == "dead_at" else ("--server", streams.url)
    done(outbox.dsn, "prune", "--older-than", "1d", "--yes", *dead)
    assert outbox.count("true") == 495
    assert "5 of 5" in done(outbox.dsn, "audit").stdout
