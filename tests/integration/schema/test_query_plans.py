"""The statements of the relay read by index on a large table, whatever the planner knows of it."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from relay.postgres.migrate import migrate
from relay.postgres.tables import Tables
from tests.integration.operate import test_operator_query_plans
from tests.support.fix_relay import ROOT

TABLES = Tables("outbox_events")
DELIVERED = 100_000
PENDING = 200
ROWS = DELIVERED + PENDING
NO_LIMIT = 2**63 - 1
# 8 KiB pages that one statement may touch; the table has some thousands.
FEW_PAGES = 60


def _array(numbers: range) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _id(seq: int) -> str:
    return f"00000000-0000-4000-8000-{seq:012}"


def _ids(*seqs: int) -> str:
    return "{" + ",".join(map(_id, seqs)) + "}"


ALL = (None, 64)
SOME = ("{0,5,63}", 64)
# Bytes that the rows of a read share, and of one row.
ROOM = (8_000_000, 64_000_000, True)
FENCE = ("me", 64)
# A key, a digest, and the most bytes of a row of which one is made.
AS_READ = (None, "none", 100_000)
BATCH = range(DELIVERED + 1, DELIVERED + 101)
# Of each of these events why it waits; and the class of that, its key, and a digest.
NOTES = (["why"] * 100,), (["outage"] * 100, [None] * 100, ["none"] * 100)

# Name, parameters, and the most pages: those of the rows it returns or changes, and the way down the index.
READS: list[tuple[str, tuple[object, ...], int]] = [
    ("delivery/start", (None,), FEW_PAGES),
    ("delivery/fetch", (DELIVERED, NO_LIMIT, 1000, *ALL, 8_000), 600),
    ("delivery/fetch_bounded", (DELIVERED, NO_LIMIT, 1000, *ALL, *ROOM), 600),
    ("delivery/fetch_bounded", (ROWS, NO_LIMIT, 1000, *SOME, *ROOM), FEW_PAGES),
    ("delivery/fetch", (DELIVERED, NO_LIMIT, 1000, *SOME, 8_000), 600),
    ("delivery/outlines", (DELIVERED, ROWS, 1000, *SOME), 600),
    ("delivery/fetch_among", (DELIVERED, NO_LIMIT, 1000, *SOME, *ROOM), 600),
    ("delivery/fetch_among", (ROWS, NO_LIMIT, 1000, *SOME, *ROOM), FEW_PAGES),
    (
        "delivery/fetch",
        (DELIVERED - 5000, DELIVERED - 4000, 1000, *ALL, 8_000),
        200,
    ),  # the scrub, and what an earlier run has settled
    ("delivery/fetch", (ROWS, NO_LIMIT, 1000, *ALL, 8_000), FEW_PAGES),
    # 64 rows that updates may have put on a page each, and the way there.
    ("delivery/fetch_few", (DELIVERED, 8_000), 64 + FEW_PAGES),
    ("delivery/fetch_few", (ROWS, 8_000), FEW_PAGES),
    ("delivery/reread", (_array(range(1, ROWS, 500)), _array(range(1, ROWS, 500)), 1000, *ALL, *ROOM), 1500),
    ("delivery/reread", ("{7}", "{7}", 1000, *SOME, *ROOM), FEW_PAGES),
    ("delivery/settled", (DELIVERED - 1000, DELIVERED, *ALL), 200),
    ("delivery/settled", (DELIVERED - 1000, DELIVERED, *SOME), 200),
    ("delivery/readable", (17, _ids(17)[1:-1]), FEW_PAGES),
    ("delivery/due", (1000, *SOME, "-infinity", -(2**63), *ROOM), FEW_PAGES),
    ("maintenance/dead_letters_and_size", (10_000,), 200),
    ("delivery/blocking", (*ALL, DELIVERED), FEW_PAGES),
    ("delivery/blocking", (*SOME, DELIVERED), FEW_PAGES),
    ("delivery/newest", (), FEW_PAGES),
    ("maintenance/dead_uncopied", (float("-inf"), 20, 1_048_576), 200),
    ("integrity/stream_states", ("{0,5,63}",), FEW_PAGES),
    ("operate/streams", (), FEW_PAGES),
    ("integrity/highest_marks", (DELIVERED - 1000, DELIVERED, *SOME), 300),
    ("integrity/marked_ranges", (DELIVERED - 1000, DELIVERED, "ORDERS", 1, ROWS, 0.0), 200),
    ("integrity/pending_ids", ("{00000000-0000-4000-8000-000000000000}", *SOME), FEW_PAGES),
    ("operate/prunable", (DELIVERED - 1000, DELIVERED, 0.0), 200),
    ("operate/prunable_dead", (0.0, False, True), FEW_PAGES),
    ("integrity/places", ("{00000000-0000-4000-8000-000000000000}",), FEW_PAGES),
    ("integrity/reused_seqs", ("{17,100150}", _ids(17, 100150)), FEW_PAGES),
    ("integrity/outline_of", (_id(17),), FEW_PAGES),
    ("integrity/delivered", (DELIVERED - 1000, DELIVERED, "ORDERS", 7, *SOME), 200),
    ("delivery/next_seq", (DELIVERED,), FEW_PAGES),
    ("operate/projected", (DELIVERED - 1000, DELIVERED, "ORDERS", DELIVERED), 200),
    ("delivery/redeliver_from", (*SOME, False), FEW_PAGES),
    ("delivery/redeliver_from", (*SOME, True), FEW_PAGES),
    ("delivery/pending_among", ("{17,100150}",), FEW_PAGES),
    ("delivery/version", (17, _id(17)), FEW_PAGES),
    ("delivery/digests", ("{17,100150}", 100_000), FEW_PAGES),
    ("delivery/undecided", ("{17,100150}",), FEW_PAGES),
    ("delivery/still_pending", ("{17,100150}", _ids(17, 100150)), FEW_PAGES),
    ("doctor/unreachable", (), 3),
    ("doctor/sample", (DELIVERED, 100, 50, True), 600),
]
WRITES: list[tuple[str, tuple[object, ...], int]] = [
    ("delivery/mark", ("ORDERS", _array(BATCH), _array(BATCH), *FENCE, _ids(*BATCH)), 1000),
    ("delivery/mark", ("ORDERS", "{17}", "{1}", *FENCE, _ids(17)), FEW_PAGES),
    ("delivery/mark", ("ORDERS", "{17,100150}", "{1,2}", *FENCE, _ids(17, 100150)), FEW_PAGES),
    ("delivery/mark_unlocked", ("ORDERS", _array(BATCH), _array(BATCH), *FENCE, _ids(*BATCH)), 2000),
    ("delivery/mark_unlocked", ("ORDERS", "{17}", "{1}", *FENCE, _ids(17)), FEW_PAGES),
    ("delivery/postpone", (DELIVERED + 1, 1.0, 1, "why", *FENCE, _id(DELIVERED + 1), "unknown", *AS_READ), FEW_PAGES),
    ("delivery/bury", (DELIVERED + 1, 1, "why", *FENCE, _id(DELIVERED + 1), "poison", *AS_READ, None), FEW_PAGES),
    ("delivery/raise_attempts", (_array(BATCH), _array(BATCH), *FENCE, _ids(*BATCH)), 1000),
    ("delivery/lower_attempts", ("{17}", "{1}", *FENCE, _ids(17)), FEW_PAGES),
    # Up to PostgreSQL 16 each seq of an array is looked up from the root.
    ("delivery/note", (_array(BATCH), *NOTES[0], *FENCE, _ids(*BATCH), *NOTES[1], 100_000), 1200),
    ("delivery/note", ("{17}", ["why"], *FENCE, _ids(17), ["outage"], [None], ["none"], 100_000), FEW_PAGES),
    ("integrity/mark_lost", ("{17,18}", "ORDERS", 0.0, 0.0, *FENCE, _ids(17, 18), "{17,18}"), 100),
    (
        "integrity/save_stream_state",
        ("ORDERS", "then", 1, 1, 1, None, 0.0, False, 0.0, "this one", *FENCE, None, None),
        1000,
    ),
    ("integrity/loss_healed", ("ORDERS", 0.0), FEW_PAGES),
    ("maintenance/prune_delivered", (DELIVERED - 100, DELIVERED, 0.0, *FENCE, None), 800),
    ("maintenance/prune_delivered", (DELIVERED - 100, DELIVERED, 0.0, *FENCE, "{OTHER}"), 800),
    ("maintenance/dead_copied", (3, 0.0, _id(3)), FEW_PAGES),
    ("maintenance/prune_dead", (100, 0.0, False, True, *FENCE, None), 200),
    ("maintenance/prune_dead", (100, 0.0, True, False, None, None, None), FEW_PAGES),
    ("maintenance/prune_dead", (100, 0.0, False, True, *FENCE, "{17,18}"), FEW_PAGES),
    ("maintenance/old_dead", (100, 0.0, False, False, "-infinity", -(2**63)), 200),
    ("maintenance/oldest_delivered", (DELIVERED - 1000, DELIVERED), 300),
    ("maintenance/announced", (0, None), 300),
    ("operate/dead_retry", ("{17,100150}",), FEW_PAGES),
    ("operate/dead_discard", ("{17,100150}",), FEW_PAGES),
    ("operate/bench_delete", (DELIVERED - 100, DELIVERED, "no such topic"), 200),
]
# Statements with names run in sessions that keep plans.
NAMED = {"delivery/fetch_few"}
# They look at no rows, insert one, or read the newest as "newest" does.
OF_NO_ROWS = {
    "adopt/target",
    "delivery/drawn",
    "delivery/ended",
    "delivery/holders",
    "doctor/changers",
    "doctor/hindrances",
    "doctor/identity",
    "doctor/own_hindrances",
    "doctor/table",
    "doorbell/in_line",
    "doorbell/keep",
    "doorbell/listen",
    "doorbell/release",
    "doorbell/take",
    "doorbell/test",
    "doorbell/wait",
    "migrate/bell",
    "migrate/names",
    "migrate/new_origin",
    "migrate/payload_type",
    "operate/bench_insert",
    "operate/send",
    "ownership/columns",
    "ownership/beat",
    "ownership/lower_watermark",
    "ownership/release",
}


@pytest.fixture(scope="module")
def large(postgres_dsn: str, migrated_template: str) -> Iterator[str]:
    """A database with many delivered events and a few pending ones, of which some wait and some are dead."""
    address = postgres_dsn.rsplit("/", 1)[0] + "/query_plans"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS query_plans WITH (FORCE)")
        admin.execute(f"CREATE DATABASE query_plans TEMPLATE {migrated_template}".encode())
        with psycopg.connect(address, autocommit=True) as conn:
            # What the planner knows is up to the tests.
            conn.execute("ALTER TABLE outbox_events SET (autovacuum_enabled = off)")
            conn.execute(
                "INSERT INTO outbox_events (id, topic, key, payload, delivered_at, stream, stream_seq)"
                " SELECT ('00000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid,"
                " 'orders.t', 'k' || g %% 1000, jsonb_build_object('pad', repeat('x', 240)),"
                " CASE WHEN g <= %s THEN now() END, CASE WHEN g <= %s THEN 'ORDERS' END,"
                " CASE WHEN g <= %s THEN g END FROM generate_series(1, %s::int) g",
                (DELIVERED, DELIVERED, DELIVERED, ROWS),
            )
            conn.execute("UPDATE outbox_events SET retry_at = now() WHERE seq > %s AND seq %% 20 = 1", (DELIVERED,))
            conn.execute("UPDATE outbox_events SET dead_at = now() WHERE seq > %s AND seq %% 20 = 2", (DELIVERED,))
            conn.execute("UPDATE outbox_shards SET epoch = 1, owner = 'me', watermark = %s", (DELIVERED,))
        yield address
        admin.execute("DROP DATABASE query_plans WITH (FORCE)")


@pytest.fixture(
    scope="module",
    params=["never analysed", "analysed", "analysed when all was delivered", "analysed when it was empty"],
)
def knowing(request: pytest.FixtureRequest, large: str) -> str:
    """The database, with the planner knowing nothing, everything, or what has been true long ago."""
    with psycopg.connect(large, autocommit=True) as conn:
        match request.param:
            case "never analysed":  # as right after a bulk load
                conn.execute("DELETE FROM pg_statistic WHERE starelid = 'outbox_events'::regclass")
                conn.execute("UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname ~ '^outbox_events'")
            case "analysed":
                conn.execute("ANALYZE outbox_events")
            case "analysed when all was delivered":
                with conn.transaction(force_rollback=False):
                    conn.execute(
                        "CREATE TEMP TABLE pending ON COMMIT DROP AS SELECT seq FROM outbox_events"
                        " WHERE delivered_at IS NULL"
                    )
                    conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE delivered_at IS NULL")
                    conn.execute("ANALYZE outbox_events")
                    conn.execute("UPDATE outbox_events SET delivered_at = NULL WHERE seq IN (SELECT seq FROM pending)")
            case _:
                conn.execute("DELETE FROM pg_statistic WHERE starelid = 'outbox_events'::regclass")
                conn.execute("UPDATE pg_class SET reltuples = 0, relpages = 0 WHERE relname ~ '^outbox_events'")
    return large


def executed(address: str, query: str, params: tuple[object, ...], *, plan_once: bool = False) -> list[dict[str, Any]]:
    """Return all nodes of the plan that was executed, the top one first; what it changed is rolled back.

    Args:
        plan_once: Whether the session is one that keeps plans.
    """
    with psycopg.connect(address) as conn:
        # As `Database` runs it: planned again with the very parameters.
        conn.prepare_threshold = None
        if plan_once or query in NAMED:
            conn.execute(TABLES.query("connection/plan_once"))
        text = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + TABLES.query(query)
        # What a new session reads of the catalog once is no part of the statement's cost.
        with conn.transaction(force_rollback=True):
            psycopg.RawCursor(conn).execute(TABLES.query(query), params or None)
        found = psycopg.RawCursor(conn).execute(text, params or None, binary=True).fetchone()
        conn.rollback()
    assert found is not None
    nodes = [found[0][0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


@pytest.mark.parametrize(("query", "params", "most_pages"), [*READS, *WRITES])
def test_no_statement_reads_the_whole_table(
    knowing: str, query: str, params: tuple[object, ...], most_pages: int
) -> None:
    nodes = executed(knowing, query, params)
    scans = [node["Node Type"] for node in nodes if node.get("Relation Name") == "outbox_events"]
    assert "Seq Scan" not in scans
    assert nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"] <= most_pages


@pytest.mark.parametrize(
    ("query", "params", "most_pages"), [read for read in READS if read[0].startswith(("delivery/", "integrity/"))]
)
def test_nor_does_one_in_a_session_that_keeps_plans(
    knowing: str, query: str, params: tuple[object, ...], most_pages: int
) -> None:
    nodes = executed(knowing, query, params, plan_once=True)
    assert nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"] <= most_pages


@pytest.mark.parametrize("knowing_nothing", [True, False])
def test_a_plan_that_was_made_while_the_table_was_empty_stays_good(empty_database: str, knowing_nothing: bool) -> None:
    with psycopg.connect(empty_database, autocommit=True, prepare_threshold=None) as conn:
        migrate(conn, "outbox_events", "jsonb", False)
        conn.autocommit = True
        conn.execute("ALTER TABLE outbox_events SET (autovacuum_enabled = off)")
        if not knowing_nothing:
            conn.execute("VACUUM ANALYZE outbox_events")
        conn.execute(TABLES.query("connection/plan_once"))
        conn.execute(b"PREPARE few (bigint, integer) AS " + TABLES.query("delivery/fetch_few"))
        for _ in range(10):
            conn.execute("EXECUTE few (0, 8000)")
        assert conn.execute("SELECT generic_plans > 0 FROM pg_prepared_statements").fetchone() == (True,)
        conn.execute(
            "INSERT INTO outbox_events (topic, payload, delivered_at)"
            " SELECT 'orders.t', '{}', CASE WHEN g <= 20000 THEN now() END FROM generate_series(1, 40000) g"
        )
        ((plan,),) = conn.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE few (20000, 8000)").fetchall()
    top = plan[0]["Plan"]
    assert top["Actual Rows"] == 64
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] <= FEW_PAGES


@pytest.mark.parametrize(("begun_at", "most_pages"), [(0, 300), (1, 300 + 3 * 1000)], ids=["as made", "made again"])
def test_a_mark_costs_the_same_however_many_streams_there_are(
    empty_database: str, begun_at: int, most_pages: int
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        migrate(conn, "outbox_events", "jsonb", False)
        conn.autocommit = True
        conn.execute("ALTER TABLE outbox_events SET (autovacuum_enabled = off)")
        conn.execute("INSERT INTO outbox_events (topic, payload) SELECT 't', '{}' FROM generate_series(1, 2000)")
        # As after a crash in the middle of a backlog: no row was delivered when the planner last heard of them.
        conn.execute("VACUUM ANALYZE outbox_events")
        conn.execute("UPDATE outbox_events SET delivered_at = now(), stream = 'S1', stream_seq = seq WHERE seq > 1000")
        conn.execute(
            "INSERT INTO outbox_streams (shard, stream, begun_at)"
            " SELECT shard, 'S' || g, to_timestamp(%s) FROM outbox_shards, generate_series(1, 10) g",
            (begun_at,),
        )
    nodes = executed(empty_database, "integrity/highest_marks", (1000, 2000, *ALL))
    assert nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"] <= most_pages


def test_the_bounds_on_pages_mean_something(large: str) -> None:
    with psycopg.connect(large) as conn:
        (pages,) = conn.execute("SELECT pg_relation_size('outbox_events') / 8192").fetchone() or (0,)
    assert pages > 2 * max(most for _, _, most in (*READS, *WRITES))


def test_every_statement_that_reads_events_is_held_to_its_plan() -> None:
    rooms = ROOT / "sql" / "queries"
    reading = {
        str(file.relative_to(rooms).with_suffix(""))
        for file in rooms.rglob("*.sql")
        if "outbox_events" in re.sub(r"^--.*", "", file.read_text("utf-8"), flags=re.MULTILINE)
    }
    of_commands = {query for query, _ in (*test_operator_query_plans.LISTS, *test_operator_query_plans.OTHERS)}
    assert reading - OF_NO_ROWS <= of_commands | {query for query, _, _ in (*READS, *WRITES)}
