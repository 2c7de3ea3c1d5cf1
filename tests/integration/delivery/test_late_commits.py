"""Rows that become visible behind the cursor: each is delivered, once, soon after its commit."""

import random
import time
from collections.abc import Iterator

import psycopg
import pytest

from relay.postgres.migrate import migrate
from relay.rules.order.gaps import FEW
from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import Streams

INSERT = "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', %s, %s) RETURNING seq"
# The promise is a second; the rest is for a machine that does other things meanwhile, or stands still for a while.
FOUND_WITHIN_S = 5.0


@pytest.fixture
def reader_stays_open(database: str) -> Iterator[None]:
    """A read-only transaction with a snapshot that stays open for the whole test."""
    with psycopg.connect(database) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute("SELECT count(*) FROM outbox_events")
        yield


@pytest.fixture
def relay(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Relay:
    """A relay at work on the test's database."""
    streams.make("ORDERS", "orders.>")
    one = make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": -1}))
    return one


def insert(conn: psycopg.Connection[tuple[int]], key: str, number: int) -> int:
    row = conn.execute(INSERT, (key, f'{{"i": {number}}}')).fetchone()
    assert row is not None
    return row[0]


def watermark(outbox: Outbox) -> int:
    row = outbox.conn.execute("SELECT min(watermark) FROM outbox_shards").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("reader_stays_open")
def test_rows_that_commit_in_reverse_order_are_each_delivered_once_and_soon(
    outbox: Outbox, streams: Streams, relay: Relay
) -> None:
    late = [psycopg.connect(outbox.dsn) for _ in range(5)]
    seqs = [insert(conn, f"late{at}", at) for at, conn in enumerate(late)]
    for batch in range(3):
        outbox.fill("orders.placed", 2000, keys=50)
        wait_until(
            f"batch {batch} past the open ones", lambda: outbox.count("delivered_at IS NULL AND dead_at IS NULL") == 0
        )
    for seq, conn in reversed(list(zip(seqs, late, strict=True))):
        assert watermark(outbox) < seq
        conn.commit()
        committed = time.monotonic()
        outbox.delivered(seq)
        assert time.monotonic() - committed < FOUND_WITHIN_S
        conn.close()
    ids = [message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")]
    assert len(ids) == len(set(ids)) == 1 + 5 + 6000
    newest = outbox.insert("orders.placed", "end", {"i": 0})
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)
    assert not relay.lines("scrub.found")


@pytest.mark.usefixtures("reader_stays_open", "relay")
def test_a_gap_that_was_rolled_back_is_given_up(outbox: Outbox, streams: Streams) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        insert(conn, "phantom", 666)
        after = outbox.insert("orders.placed", "k", {"i": 1})
        outbox.delivered(after)
        assert watermark(outbox) < after
        conn.rollback()
    wait_until("the watermark past the gap", lambda: watermark(outbox) == after)
    assert 666 not in [message.i for message in streams.read("ORDERS")]


@pytest.mark.usefixtures("reader_stays_open")
def test_a_row_that_commits_across_a_restart_is_delivered(outbox: Outbox, relay: Relay) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        seq = insert(conn, "late", 1)
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 2}))
        assert relay.stop() == 0
        relay.start()
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 3}))
        conn.commit()
        committed = time.monotonic()
        outbox.delivered(seq)
        assert time.monotonic() - committed < FOUND_WITHIN_S


@pytest.mark.parametrize("restart", [False, True])
def test_a_prepared_transaction_is_waited_for_and_delivered(
    empty_database: str, streams: Streams, make_relay: MakeRelay, restart: bool
) -> None:
    with psycopg.connect(empty_database) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=False)
    outbox = Outbox(empty_database)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(empty_database, streams.url, delivery__poll_max_s="0.2").start()
    outbox.delivered(outbox.insert("orders.placed", "first", {"i": 0}))
    gid = f"late-{empty_database[-8:]}"
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("BEGIN")
        committed_later = insert(conn, "late", 1)
        # The gap is seen while its owner is an ordinary transaction, which then becomes a prepared one.
        after = outbox.insert("orders.placed", "k", {"i": 2})
        outbox.delivered(after)
        conn.execute(f"PREPARE TRANSACTION '{gid}'")
    if restart:
        relay.kill()
        outbox.leases_run_out()
        relay.start()
    for number in range(10):
        after = outbox.insert("orders.placed", "k", {"i": 3 + number})
        outbox.delivered(after)
        assert watermark(outbox) < committed_later
    outbox.conn.execute(f"COMMIT PREPARED '{gid}'")
    committed = time.monotonic()
    outbox.delivered(committed_later)
    assert time.monotonic() - committed < FOUND_WITHIN_S
    wait_until("the watermark at the end", lambda: watermark(outbox) == after)
    assert not relay.lines("scrub.found")
    outbox.conn.close()


def commit_late(outbox: Outbox, conn: psycopg.Connection[tuple[int]], seq: int) -> float:
    """Commit, and give the seconds until the event was marked, by the database's clock."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    conn.commit()
    outbox.delivered(seq)
    assert row is not None
    return float((outbox.row(seq)["delivered_at"] - row[0]).total_seconds())


def test_transactions_held_for_twenty_seconds_end_well_whatever_happens_to_the_relay(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    with psycopg.connect(outbox.dsn, autocommit=True) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=False)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    gid = f"held-{outbox.dsn[-8:]}"
    committed, rolled_back, prepared, revoked, reader = (psycopg.connect(outbox.dsn, autocommit=True) for _ in range(5))
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    reader.execute("SELECT count(*) FROM outbox_events")
    for conn in (committed, rolled_back, prepared, revoked):
        conn.execute("BEGIN")
    held = insert(committed, "held", 1)
    insert(rolled_back, "phantom", 666)
    held_prepared = insert(prepared, "prepared", 2)
    insert(revoked, "phantom", 667)
    later = 0
    turn = 0
    until = time.monotonic() + 20
    while time.monotonic() < until:
        # Each turn passes the open seqs again: batches, and events one by one.
        turn += 1
        outbox.fill("orders.placed", 300, keys=20)
        later += 301
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": turn}))
        if turn == 3:
            prepared.execute(f"PREPARE TRANSACTION '{gid}'")
            revoked.execute(f"PREPARE TRANSACTION '{gid}-revoked'")
        elif turn % 20 == 5:
            assert relay.stop() == 0
            relay.start()
        elif turn % 20 == 15:
            relay.kill()
            outbox.leases_run_out()
            relay.start()
        assert watermark(outbox) < held
    relay.said("nats.connected", len(relay.lines("relay.active")))
    assert commit_late(outbox, committed, held) < FOUND_WITHIN_S
    outbox.conn.execute(f"COMMIT PREPARED '{gid}'")
    at = time.monotonic()
    outbox.delivered(held_prepared)
    assert time.monotonic() - at < FOUND_WITHIN_S
    rolled_back.execute("ROLLBACK")
    outbox.conn.execute(f"ROLLBACK PREPARED '{gid}-revoked'")
    newest = outbox.insert("orders.placed", "end", {"i": 0})
    outbox.drained()
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)
    stored = streams.read("ORDERS")
    assert len({message.headers["Nats-Msg-Id"] for message in stored}) == len(stored) == later + 3
    assert not {message.i for message in stored} & {666, 667}
    assert not relay.lines("scrub.found")
    assert len(relay.lines("relay.active")) > 3
    for conn in (committed, rolled_back, prepared, revoked, reader):
        conn.close()


@pytest.mark.usefixtures("reader_stays_open")
@pytest.mark.parametrize("kill", [False, True])
def test_a_row_that_commits_while_no_relay_runs_is_delivered_by_the_next(
    outbox: Outbox, streams: Streams, relay: Relay, kill: bool
) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        seq = insert(conn, "late", 1)
        newest = outbox.insert("orders.placed", "k", {"i": 2})
        outbox.delivered(newest)
        if kill:
            relay.kill()
            outbox.leases_run_out()
        else:
            assert relay.stop() == 0
        conn.commit()
        relay.start()
        outbox.delivered(seq)
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)
    assert [message.i for message in streams.read("ORDERS")] == [-1, 2, 1]


@pytest.mark.usefixtures("relay")
def test_nothing_of_a_key_overtakes_a_late_row_of_it(outbox: Outbox, streams: Streams) -> None:
    wanted = []
    for turn in range(10):
        first = 10 * turn
        with psycopg.connect(outbox.dsn) as conn:
            insert(conn, "k", first)
            # The cursor passes the first of the transaction's events, and then its second is the newest of all.
            outbox.delivered(outbox.insert("orders.placed", "other", {"i": first + 9}))
            insert(conn, "k", first + 1)
            conn.commit()
        # What follows the commit is as visible as what it has made visible.
        insert(outbox.conn, "k", first + 2)
        outbox.drained()
        wanted += [first, first + 1, first + 2]
    numbers = [message.i for message in streams.read("ORDERS")]
    assert [i for i in numbers if i >= 0 and i % 10 < 9] == wanted


@pytest.mark.usefixtures("reader_stays_open")
@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_a_large_transaction_that_commits_late_is_taken_in_before_what_follows_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy, delivery__fetch_batch="500").start()
    fill = (
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'orders.placed', 'k' || mod(i, 10), jsonb_build_object('i', i) FROM generate_series(%s::int, %s) i"
    )
    with psycopg.connect(outbox.dsn) as conn:
        conn.execute(fill, (1, 5000))
        for _ in range(10):
            outbox.delivered(outbox.insert("orders.other", "other", {"i": 0}))
            conn.execute(fill, (5001, 5010))
            conn.execute("DELETE FROM outbox_events WHERE (payload->>'i')::int > 5000")
        conn.execute(fill, (5011, 10_000))
        conn.commit()
    outbox.conn.execute(fill, (10_001, 10_500))
    outbox.drained()
    by_key: dict[int, list[int]] = {}
    for message in streams.read("ORDERS"):
        if message.subject == "orders.placed":
            by_key.setdefault(message.i % 10, []).append(message.i)
    for key, numbers in by_key.items():
        assert numbers == sorted(set(numbers)), f"key {key}"
    assert sum(map(len, by_key.values())) == 5000 + 4990 + 500
    row = outbox.conn.execute("SELECT max(delivered_at) - max(created_at) FROM outbox_events").fetchone()
    assert row is not None
    assert row[0].total_seconds() < 5
    assert relay.stop() == 0


@pytest.mark.parametrize("late", [1, 4, 5, 9, 10, 11])
def test_as_many_late_rows_as_one_read_takes_leave_nothing_behind(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, late: int
) -> None:
    streams.make("ORDERS", "orders.>")
    make_relay(outbox.dsn, streams.url, delivery__fetch_batch="5").start()
    with psycopg.connect(outbox.dsn) as conn:
        for number in range(late):
            insert(conn, "k", number)
        outbox.delivered(outbox.insert("orders.placed", "other", {"i": -1}))
        conn.commit()
    newest = outbox.insert("orders.placed", "k", {"i": late})
    outbox.drained()
    assert [message.i for message in streams.read("ORDERS")] == [-1, *range(late + 1)]
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)


@pytest.mark.usefixtures("reader_stays_open")
def test_many_transactions_that_end_in_any_order_and_way_lose_and_invent_nothing(
    outbox: Outbox, streams: Streams, relay: Relay
) -> None:
    rng = random.Random(20260101)
    wanted: set[int] = set()
    number = 0
    open_ones: list[tuple[psycopg.Connection[tuple[int]], list[int]]] = []
    slowest = 0.0
    for turn in range(300):
        if len(open_ones) < 30 and rng.random() < 0.6:
            conn = psycopg.connect(outbox.dsn)
            conn.execute("SELECT")
            mine = []
            for _ in range(rng.randint(1, 4)):
                number += 1
                if rng.random() < 0.3:
                    with conn.transaction(force_rollback=rng.random() < 0.7) as nested:
                        insert(conn, f"k{number % 5}", number)
                    if not nested.force_rollback:
                        mine.append(number)
                else:
                    insert(conn, f"k{number % 5}", number)
                    mine.append(number)
            open_ones.append((conn, mine))
        elif open_ones:
            conn, mine = open_ones.pop(rng.randrange(len(open_ones)))
            if rng.random() < 0.3:
                conn.rollback()
            elif turn % 10 == 0:
                seq = insert(conn, "measured", -2 - turn)
                mine.append(-2 - turn)
                slowest = max(slowest, commit_late(outbox, conn, seq))
                wanted.update(mine)
            else:
                conn.commit()
                wanted.update(mine)
            conn.close()
    for conn, mine in open_ones:
        conn.commit()
        wanted.update(mine)
        conn.close()
    newest = outbox.insert("orders.placed", "end", {"i": 0})
    outbox.drained()
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)
    assert sorted(message.i for message in streams.read("ORDERS")) == sorted(wanted | {-1, 0})
    assert slowest < FOUND_WITHIN_S
    assert not relay.lines("scrub.found")


@pytest.mark.usefixtures("reader_stays_open", "relay")
def test_thousands_of_gaps_are_given_up_and_a_late_row_among_them_is_found(outbox: Outbox) -> None:
    burn = (
        "DO $$ BEGIN FOR i IN 1..2500 LOOP PERFORM nextval('outbox_events_seq_seq');"
        " INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', 'k' || i % 9, '{}');"
        " END LOOP; END $$"
    )
    outbox.conn.execute(burn)
    newest = outbox.insert("orders.placed", "middle", {"i": 0})
    wait_until("the watermark in the middle", lambda: watermark(outbox) == newest)
    with psycopg.connect(outbox.dsn) as conn:
        late = insert(conn, "late", 1)
        outbox.conn.execute(burn)
        newest = outbox.insert("orders.placed", "end", {"i": 0})
        outbox.drained()
        assert watermark(outbox) == late - 1
        assert commit_late(outbox, conn, late) < FOUND_WITHIN_S
    wait_until("the watermark at the end", lambda: watermark(outbox) == newest)


@pytest.mark.usefixtures("reader_stays_open", "relay")
def test_nothing_overtakes_a_late_row_among_more_gaps_than_are_read_each_time(outbox: Outbox, streams: Streams) -> None:
    wanted = []
    for turn in range(6):
        first = 10 * turn
        with psycopg.connect(outbox.dsn) as conn:
            insert(conn, "k", first)
            # Between two rows a number is drawn that no row has.
            outbox.conn.execute(
                "INSERT INTO outbox_events (topic, key, payload) SELECT 'orders.other', 'other', '{\"i\": -1}'"
                " FROM generate_series(1, %s) i WHERE nextval('outbox_events_seq_seq') > 0",
                (2 * FEW,),
            )
            for _ in range(3):
                outbox.delivered(outbox.insert("orders.other", "other", {"i": -1}))
            insert(conn, "k", first + 1)
            conn.commit()
        insert(outbox.conn, "k", first + 2)
        outbox.drained()
        wanted += [first, first + 1, first + 2]
    assert [message.i for message in streams.read("ORDERS") if message.i >= 0] == wanted


def test_a_prepared_transaction_that_is_rolled_back_is_given_up(outbox: Outbox, streams: Streams, relay: Relay) -> None:
    with psycopg.connect(outbox.dsn, autocommit=True) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=False)
        conn.execute("BEGIN")
        seq = insert(conn, "phantom", 666)
        conn.execute(f"PREPARE TRANSACTION 'revoked-{outbox.dsn[-8:]}'")
        newest = outbox.insert("orders.placed", "k", {"i": 1})
        outbox.delivered(newest)
        wait_until("the watermark before the gap", lambda: watermark(outbox) == seq - 1)
        conn.execute(f"ROLLBACK PREPARED 'revoked-{outbox.dsn[-8:]}'")
    wait_until("the watermark past the gap", lambda: watermark(outbox) == newest)
    assert [message.i for message in streams.read("ORDERS")] == [-1, 1]
    assert not relay.lines("scrub.found")


def test_a_row_behind_the_cursor_that_no_gap_explains_is_found_by_the_scrub(
    outbox: Outbox, streams: Streams, relay: Relay
) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        missing = insert(conn, "rolled back", 1)
        conn.rollback()
    last = outbox.insert("orders.placed", "k", {"i": 2})
    wait_until("the watermark past the gap", lambda: watermark(outbox) == last)
    # As from a cached sequence or a restored dump: a seq that was drawn, given up, and used after all.
    outbox.conn.execute(
        "INSERT INTO outbox_events (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (%s, 'orders.placed', '{}')",
        (missing,),
    )
    outbox.delivered(missing)
    relay.said("scrub.found")


@pytest.mark.usefixtures("relay")
def test_a_lock_that_cannot_insert_holds_no_gap(outbox: Outbox) -> None:
    """VACUUM takes this lock, and may work for hours."""
    with psycopg.connect(outbox.dsn) as vacuuming, psycopg.connect(outbox.dsn) as inserting:
        vacuuming.execute("LOCK TABLE outbox_events IN SHARE UPDATE EXCLUSIVE MODE")
        insert(inserting, "phantom", 666)
        after = outbox.insert("orders.placed", "k", {"i": 1})
        outbox.delivered(after)
        inserting.rollback()
        wait_until("the watermark past the gap", lambda: watermark(outbox) == after)


@pytest.mark.usefixtures("relay")
def test_an_insert_under_a_stronger_lock_holds_its_gap(outbox: Outbox) -> None:
    with psycopg.connect(outbox.dsn) as conn:
        conn.execute("LOCK TABLE outbox_events IN SHARE ROW EXCLUSIVE MODE")
        seq = insert(conn, "late", 1)
        modes = {
            row[0]
            for row in outbox.conn.execute(
                "SELECT mode FROM pg_locks WHERE relation = 'outbox_events'::regclass AND pid = %s",
                (conn.info.backend_pid,),
            )
        }
        conn.commit()
    assert "RowExclusiveLock" in modes
    outbox.delivered(seq)


def test_the_watermark_waits_for_rows_of_a_table_that_inherits(outbox: Outbox, relay: Relay) -> None:
    outbox.conn.execute("CREATE TABLE outbox_child () INHERITS (outbox_events)")
    with psycopg.connect(outbox.dsn) as conn:
        row = conn.execute(
            "INSERT INTO outbox_child (seq, topic, key, payload)"
            " VALUES (nextval(pg_get_serial_sequence('outbox_events', 'seq')), 'orders.placed', 'k', '{}')"
            " RETURNING seq"
        ).fetchone()
        assert row is not None
        outbox.delivered(outbox.insert("orders.placed", "later", {"i": 1}))
        holds_for(2.5, "the watermark waits for it", lambda: watermark(outbox) < row[0])
    outbox.delivered(row[0])
    wait_until("the watermark has passed it", lambda: watermark(outbox) >= row[0])
