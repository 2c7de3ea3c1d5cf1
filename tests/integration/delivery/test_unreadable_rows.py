"""A row that PostgreSQL itself fails to read becomes a dead letter, however it is met; everything else flows."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.fix_relay import MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams

# 2 KB on the page, and more than 1 GB as text: more than a text of PostgreSQL can hold.
HUGE = "('[' || repeat('1e131071,', 8200) || '0]')::jsonb"
INTO_PAYLOAD = f"INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.x', 'b', {HUGE}) RETURNING seq"
INTO_HEADERS = (
    "INSERT INTO outbox_events (topic, key, payload, headers)"
    f" VALUES ('orders.x', 'b', '{{}}', jsonb_build_object('a', {HUGE})) RETURNING seq"
)
PATIENCE_S = 60.0

Connection = psycopg.Connection[tuple[Any, ...]]
# PostgreSQL works on a gigabyte before it refuses, seconds on a busy machine, and a test waits for that several times.
pytestmark = pytest.mark.timeout(400)


def insert_huge(outbox: Outbox, statement: str = INTO_PAYLOAD) -> int:
    (seq,) = outbox.conn.execute(statement.encode()).fetchone() or (0,)
    return int(seq)


def damage(conn: Connection, seq: int, column: str = "payload") -> None:
    """Take away what a large value of a row points to."""
    (toast,) = conn.execute(
        "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'outbox_events'::regclass"
    ).fetchone() or ("",)
    find = f"SELECT pg_column_toast_chunk_id({column})::bigint FROM outbox_events WHERE seq = %s"
    (chunk,) = conn.execute(find.encode(), (seq,)).fetchone() or (0,)
    conn.execute("SET allow_system_table_mods = on")
    kind = f"UPDATE pg_class SET relkind = %s WHERE oid = '{toast}'::regclass".encode()
    conn.execute(kind, ("r",))
    assert conn.execute(f"DELETE FROM {toast} WHERE chunk_id = %s".encode(), (chunk,)).rowcount > 0
    conn.execute(kind, ("t",))


def insert_damaged(conn: Connection, column: str = "payload") -> None:
    """Insert a row that cannot be read, in a transaction: it is never seen whole."""
    large = "(SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 500) i)"
    payload, headers = (large, "NULL") if column == "payload" else ("'{}'", f"jsonb_build_object('a', {large})")
    insert = f"INSERT INTO outbox_events (topic, key, payload, headers) VALUES ('orders.x', 'b', {payload}, {headers})"
    with conn.transaction():
        (seq,) = conn.execute(f"{insert} RETURNING seq".encode()).fetchone() or (0,)
        damage(conn, seq, column)


def why_dead(outbox: Outbox, seq: int) -> str:
    wait_until(f"event {seq} is dead", lambda: outbox.count(f"seq = {seq} AND dead_at IS NOT NULL") == 1, PATIENCE_S)
    (reason,) = outbox.conn.execute("SELECT last_error FROM outbox_events WHERE seq = %s", (seq,)).fetchone() or ("",)
    return str(reason)


def owners(outbox: Outbox) -> int:
    (found,) = outbox.conn.execute("SELECT count(DISTINCT owner) FROM outbox_shards").fetchone() or (0,)
    return int(found)


def all_but_dead_are_delivered(outbox: Outbox, dead: int) -> Callable[[], bool]:
    return lambda: outbox.count("delivered_at IS NULL") == dead == outbox.count("dead_at IS NOT NULL")


@pytest.mark.parametrize("statement", [INTO_PAYLOAD, INTO_HEADERS], ids=["payload", "headers"])
def test_a_row_that_no_text_can_hold_becomes_a_dead_letter_and_all_others_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, statement: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.fill("orders.placed", 300, keys=20)
    huge = insert_huge(outbox, statement)
    behind = outbox.insert("orders.placed", "b", {"i": 1})
    outbox.fill("orders.placed", 300, keys=20)
    reason = why_dead(outbox, huge)
    assert "cannot read the row" in reason
    assert "SQLSTATE 54000" in reason
    outbox.delivered(behind)
    wait_until("all others are delivered", all_but_dead_are_delivered(outbox, 1), PATIENCE_S)
    assert relay.lines("postgres.lost") == []
    assert "131071" not in relay.text()


def test_a_row_whose_payload_is_damaged_becomes_a_dead_letter(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    damaged = outbox.insert("orders.placed", "k", {"i": 0})
    outbox.conn.execute(
        "UPDATE outbox_events SET payload = (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 500) i)"
    )
    outbox.insert("orders.placed", "k", {"i": 1})
    outbox.fill("orders.placed", 300, keys=20)
    damage(outbox.conn, damaged)
    make_relay(outbox.dsn, streams.url).start()
    assert "SQLSTATE XX001" in why_dead(outbox, damaged)
    wait_until("all others are delivered", all_but_dead_are_delivered(outbox, 1), PATIENCE_S)


def test_such_rows_are_met_wherever_rows_are_read(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    """In gaps, when they are due, by the scrub, after a crash, and by a relay beside another one.

    They are damaged: that is refused at once, and what no text can hold takes PostgreSQL a second of a core each time.
    """
    streams.make("ORDERS", "orders.>")
    settings = {"failures__dead_subject": "orders.dead"}
    first = make_relay(outbox.dsn, streams.url, **settings).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    with psycopg.connect(outbox.dsn, autocommit=True) as late:
        late.execute("BEGIN")
        insert_damaged(late)
        outbox.fill("orders.placed", 50, keys=5)
        wait_until("the later ones are delivered", lambda: outbox.count("delivered_at IS NULL") == 0)
        late.execute("COMMIT")
    wait_until("the one in a gap is dead", all_but_dead_are_delivered(outbox, 1), PATIENCE_S)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL, retry_at = now() WHERE dead_at IS NOT NULL")
    wait_until("the one that is due is dead", all_but_dead_are_delivered(outbox, 1), PATIENCE_S)
    outbox.conn.execute("UPDATE outbox_events SET dead_at = NULL WHERE dead_at IS NOT NULL")
    wait_until("the one that the scrub finds is dead", all_but_dead_are_delivered(outbox, 1), PATIENCE_S)
    wait_until("the dead letters are copied", lambda: outbox.count("dead_copied_at >= dead_at") == 1, PATIENCE_S)
    second = make_relay(outbox.dsn, streams.url, **settings).start()
    wait_until("both have shards", lambda: owners(outbox) == 2)
    insert_damaged(outbox.conn)
    wait_until("the one that is read beside another relay is dead", all_but_dead_are_delivered(outbox, 2), PATIENCE_S)
    for relay in (first, second):
        relay.kill()
    insert_damaged(outbox.conn, "headers")
    outbox.fill("orders.placed", 50, keys=5)
    first.start()
    wait_until("the one after a crash is dead", all_but_dead_are_delivered(outbox, 3), PATIENCE_S)
    holds_for(1, "it stays", all_but_dead_are_delivered(outbox, 3))


def test_a_relay_that_can_read_nothing_further_and_name_no_row_is_not_ready_and_says_where(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """PostgreSQL fails whatever is asked of a row, as it does at a damaged page: here at a column that it computes."""
    if outbox.conn.info.server_version < 180000:
        pytest.skip("this run was pointed at a PostgreSQL older than 18, the default one: it lacks virtual columns")
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute("ALTER TABLE outbox_events DROP COLUMN key")
    outbox.conn.execute(
        "ALTER TABLE outbox_events ADD COLUMN key text"
        " GENERATED ALWAYS AS ('k' || (10 / (payload->>'i')::int)::text) VIRTUAL"
    )
    relay = make_relay(outbox.dsn, streams.url).start()
    insert = (
        "INSERT INTO outbox_events (topic, payload)"
        " VALUES ('orders.placed', jsonb_build_object('i', %s::int)) RETURNING seq"
    )
    first, odd, behind = (outbox.conn.execute(insert, (i,)).fetchall()[0][0] for i in (1, 0, 1))
    outbox.delivered(first)
    assert relay.said("read.refused")["after_seq"] == odd - 1
    told = "can be read: division by zero"
    wait_until("the probe says so", lambda: told in relay.get("/readyz")[1])
    assert relay.get("/readyz")[0] == 503
    relay.kill()
    relay.start()
    wait_until("it says so after a crash as well", lambda: told in relay.get("/readyz")[1])
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq = %s", (odd,))
    outbox.delivered(behind)
    wait_until("all is well", lambda: relay.get("/readyz") == (200, "ready: active\n"))
