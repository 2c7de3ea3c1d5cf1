"""The queries of the command line stay cheap on a large table: their plans, and what they read."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from relay.config.settings import load
from relay.operate.access import reading
from relay.operate.filters import Filters
from relay.postgres.tables import Tables

ROWS = 120_000
PENDING_FROM = ROWS - 100
TABLES = Tables("outbox_events")

SOME_ID = "0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11"
FILTERS = [
    filters.params()
    for filters in (
        Filters(),
        Filters(topic="no.such.>"),
        Filters(key="no such key"),
        Filters(since=4_000_000_000.0),
        Filters(until=0.0),
        Filters(ids=(SOME_ID,)),
        Filters(first_seq=PENDING_FROM, last_seq=PENDING_FROM + 10),
        Filters(error="no such error"),
    )
]
LISTS = [
    *(("operate/list_pending", (*filters, PENDING_FROM, ROWS, 50)) for filters in FILTERS),
    *(("operate/list_delivered", (*filters, ROWS - 10_000, ROWS, 50)) for filters in FILTERS),
    *(("operate/list_any", (*filters, ROWS - 10_000, ROWS, 50)) for filters in FILTERS),
    ("operate/list_any", (*Filters(ids=(SOME_ID,)).params(), 0, ROWS, 50)),
    *(("operate/list_retry", (*filters, 50)) for filters in FILTERS),
    *(("operate/list_dead", (*filters, 50)) for filters in FILTERS),
    *(("operate/list_discarded", (*filters, 50)) for filters in FILTERS),
    *(("operate/replay", (*filters, PENDING_FROM - 5000, PENDING_FROM, False, 500)) for filters in FILTERS),
    *(("operate/replay_count", (*filters, PENDING_FROM - 5000, PENDING_FROM, True)) for filters in FILTERS),
    ("operate/replay", (*Filters(ids=(SOME_ID,)).params(), 0, ROWS, False, 500)),
    *(("operate/dead_find", filters) for filters in FILTERS),
    *(("operate/dead_summary", (*filters, 50)) for filters in FILTERS),
]
OTHERS = [
    ("operate/range", ()),
    ("operate/audit", (50,)),
    ("operate/key_ahead", ("no such key", PENDING_FROM, ROWS, 5)),
    ("operate/key_retry", ("no such key", ROWS, 5)),
    ("operate/key_dead", ("no such key", ROWS, 5)),
    ("operate/tail_among", ([1, 4711, PENDING_FROM + 1], None, None)),
    ("operate/tail_dead", ("^orders", "no such key", 1000)),
    ("operate/tail_given_back", ([1, 4711, PENDING_FROM + 1],)),
    ("operate/tail_missing", (ROWS - 5000, ROWS)),
    ("operate/tail_pending", (PENDING_FROM, ROWS, None, None, 200_000)),
    ("operate/tail_pending", (0, 0, "^orders", "no such key", 5000)),
    ("operate/bench_look", (ROWS - 10_000, ROWS, "no such topic")),
    ("operate/audit_one", (1,)),
    ("operate/claimed", (1,)),
    ("operate/show", (4711, None, True)),
    ("operate/show", (None, SOME_ID, True)),
    ("operate/backlog", (PENDING_FROM, ROWS, 100_001)),
    ("operate/oldest", (PENDING_FROM, ROWS)),
    ("operate/pending", (PENDING_FROM, ROWS, 100_001)),
    ("operate/retrying", (100_001,)),
    ("operate/dead", (100_001,)),
    ("operate/dead_count", (100_001,)),
    ("operate/dead_large", (5_000, 5)),
    ("operate/dead_keys", (20_000,)),
    ("operate/held", (PENDING_FROM, ROWS, 20_000, 20_000, 100)),
    ("operate/inserted", (ROWS - 10_000, ROWS, 600.0, 10.0, 100)),
    ("operate/sent_again", (ROWS - 10_000, ROWS, 0.0)),
    ("operate/overtaken", ("no such key", ROWS - 10_000, "OUTBOX", 2**62, ROWS)),
    ("operate/stream_topics", (ROWS - 10_000, ROWS, "OUTBOX", 20)),
    ("operate/delivered_slots", (ROWS - 10_000, ROWS, 1_900_000_000.0, 10.0, 60.0)),
]
# What one answer may read: 8 KiB pages. The table has some thousands of them.
MOST_PAGES = 900


@pytest.fixture(scope="module")
def large(postgres_dsn: str, migrated_template: str) -> Iterator[str]:
    """A database with many delivered events, and a few in each other state."""
    address = postgres_dsn.rsplit("/", 1)[0] + "/cli_plans"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS cli_plans WITH (FORCE)")
        admin.execute(f"CREATE DATABASE cli_plans TEMPLATE {migrated_template}".encode())
        with psycopg.connect(address, autocommit=True) as conn:
            # What the planner knows is up to the tests.
            conn.execute("ALTER TABLE outbox_events SET (autovacuum_enabled = off)")
            conn.execute(
                "INSERT INTO outbox_events (topic, key, payload, delivered_at, stream, stream_seq)"
                " SELECT 'orders.t' || g %% 10, 'k' || g %% 1000, '{}',"
                " CASE WHEN g <= %s THEN now() - interval '1 d' END, 'OUTBOX', g FROM generate_series(1, %s::int) g",
                (PENDING_FROM, ROWS),
            )
            conn.execute("UPDATE outbox_events SET retry_at = now() WHERE seq > %s AND seq %% 10 = 1", (PENDING_FROM,))
            conn.execute("UPDATE outbox_events SET dead_at = now() WHERE seq > %s AND seq %% 10 = 2", (PENDING_FROM,))
        yield address
        admin.execute("DROP DATABASE cli_plans WITH (FORCE)")


def explained(address: str, query: str, params: tuple[object, ...]) -> list[dict[str, Any]]:
    """Return all nodes of the plan that was executed, in a transaction as the commands have it."""
    settings = load(environ={"RELAY_POSTGRES__DSN": address})
    with reading(settings) as reader:
        text = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + TABLES.query(query)
        ((plan,),) = reader.cursor.execute(text, params or None).fetchall()
    nodes = [plan[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


def on_events(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in nodes if node.get("Relation Name") == "outbox_events"]


@pytest.fixture(scope="module", params=["young", "analysed"])
def statistics(request: pytest.FixtureRequest, large: str) -> None:
    """Both with what the planner knows of the table, and without."""
    with psycopg.connect(large) as conn:
        if request.param == "analysed":
            conn.execute("ANALYZE outbox_events")
        else:
            conn.execute("DELETE FROM pg_statistic WHERE starelid = 'outbox_events'::regclass")


@pytest.mark.usefixtures("statistics")
@pytest.mark.parametrize(("query", "params"), [*LISTS, *OTHERS])
def test_no_query_reads_the_whole_table(large: str, query: str, params: tuple[object, ...]) -> None:
    nodes = explained(large, query, params)
    assert [node["Node Type"] for node in on_events(nodes) if node["Node Type"] == "Seq Scan"] == []
    assert nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"] < MOST_PAGES


def test_the_bound_on_pages_means_something(large: str) -> None:
    with psycopg.connect(large) as conn:
        (pages,) = conn.execute("SELECT pg_relation_size('outbox_events') / 8192").fetchone() or (0,)
    assert pages > 2 * MOST_PAGES
