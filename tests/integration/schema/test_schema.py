"""The schema: how it is made, what it holds, and who may do what with it."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from relay.errors import Exit, SchemaError
from relay.postgres.migrate import migrate, newest_version, script
from relay.postgres.tables import sql_directory
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

# The two inserts of the design, as they stand there.
GO_INSERT = b"INSERT INTO outbox_events (id, topic, payload, created_at) VALUES ($1,$2,$3,$4)"
SQL_INSERT = b"INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', jsonb_build_object('i', 2))"

OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
# Everything that a migration makes, told without what differs from one run to the next.
CATALOGUE = {
    "relations": f"""
        SELECT n.nspname, c.relname, c.relkind, c.reloptions, c.relacl::text, obj_description(c.oid, 'pg_class')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS}
    """,
    "columns": f"""
        SELECT n.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity, pg_get_expr(d.adbin, d.adrelid), a.attacl::text, col_description(c.oid, a.attnum)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind = 'r' AND {OURS}
    """,
    "indexes": f"""
        SELECT n.nspname, c.relname, pg_get_indexdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'i' AND {OURS}
    """,
    "constraints": f"""
        SELECT n.nspname, k.conrelid::regclass::text, k.conname, pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {OURS}
    """,
    "triggers": """
        SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT t.tgisinternal
    """,
    "functions": f"""
        SELECT n.nspname, pg_get_functiondef(p.oid), p.proacl::text
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS}
    """,
    "schemas": f"SELECT n.nspname, n.nspacl::text, 0 FROM pg_namespace n WHERE {OURS}",
}


def catalogue(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Describe all that stands in a database."""
    with psycopg.connect(dsn) as conn:
        return {
            name: conn.execute(f"{query} ORDER BY 1, 2, 3".encode()).fetchall() for name, query in CATALOGUE.items()
        }


def migrations() -> list[str]:
    """Name all migrations, in their order."""
    return sorted(path.stem for path in (sql_directory() / "migrations").iterdir())


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode()).fetchall()


def apply(dsn: str, table: str = "outbox_events", payload_type: str = "jsonb", *, bell: bool = True) -> list[str]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return migrate(conn, table, payload_type, bell)


@pytest.fixture
def login(postgres_dsn: str) -> Iterator[Any]:
    """Make login roles that are members of one role, and nothing else; yield the address as that role."""
    made: list[sql.Identifier] = []

    def make(dsn: str, role: str) -> str:
        name = f"login_{uuid.uuid4().hex[:12]}"
        made.append(sql.Identifier(name))
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(made[-1], sql.Identifier(role)))
        return make_conninfo(dsn, user=name)

    yield make
    with psycopg.connect(postgres_dsn, autocommit=True) as conn:
        for name in made:
            conn.execute(sql.SQL("DROP ROLE {}").format(name))


def test_migrating_again_changes_nothing(empty_database: str) -> None:
    assert apply(empty_database) == migrations()
    before = catalogue(empty_database), rows(empty_database, "SELECT * FROM outbox_migrations")
    assert apply(empty_database) == []
    assert (catalogue(empty_database), rows(empty_database, "SELECT * FROM outbox_migrations")) == before


def test_of_many_migrators_at_once_one_applies_and_none_fails(empty_database: str, database: str) -> None:
    suffix = uuid.uuid4().hex[:8]  # the roles are new to the cluster, and two databases make them at once
    for attempt in range(4):
        table = f"race{attempt}_{suffix}_events"
        targets = [empty_database, database] * 4
        with ThreadPoolExecutor(len(targets)) as pool:
            applied = list(pool.map(lambda dsn, table=table: apply(dsn, table), targets))
        assert sorted(applied) == [[]] * 6 + [migrations()] * 2
    for dsn in (empty_database, database):
        assert len(rows(dsn, "SELECT 1 FROM pg_class WHERE relname ~ '^race._.*_shards$'")) == 4


def test_migrating_disturbs_neither_producers_nor_a_running_relay(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, headers__seq="true").start()
    outbox.delivered(outbox.insert("orders.placed", "k0", {"i": 0}))
    done = threading.Event()

    def produce(key: int) -> int:
        written = 0
        with psycopg.connect(outbox.dsn, autocommit=True) as conn:
            while not done.is_set():
                written += 1
                conn.execute(
                    "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', %s, '{}')", (f"k{key}",)
                )
        return written

    with ThreadPoolExecutor(3) as pool:
        producing = [pool.submit(produce, key) for key in range(3)]
        try:
            for turn in range(30):
                # The bell is taken off and put on again: the one change that needs a lock on the table.
                assert apply(outbox.dsn, bell=turn % 4 > 0) == []
        finally:
            done.set()
        written = sum(future.result() for future in producing)
    outbox.drained()
    assert len({message.headers["Outbox-Seq"] for message in streams.read("ORDERS")}) == written + 1
    assert streams.messages("ORDERS") == written + 1
    assert relay.stop() == 0
    assert not [line for line in relay.lines() if line["level"] == "error"]


@pytest.mark.parametrize("bell", [True, False])
@pytest.mark.parametrize(("table", "payload_type"), [("outbox_events", "jsonb"), ("app.billing_events", "bytea")])
def test_the_printed_script_makes_what_migrate_makes(
    empty_database: str, postgres_dsn: str, table: str, payload_type: str, bell: bool
) -> None:
    apply(empty_database, table, payload_type, bell=bell)
    applied = f"SELECT version, name FROM {table.replace('events', 'migrations')}"
    shards = f"SELECT s::text FROM {table.replace('events', 'shards')} s"
    made = catalogue(empty_database), rows(empty_database, applied), rows(empty_database, shards)
    name = sql.Identifier(f"printed_{uuid.uuid4().hex[:12]}")
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        try:
            printed = postgres_dsn.rsplit("/", 1)[0] + "/" + name.as_string().strip('"')
            with psycopg.connect(printed, autocommit=True) as conn:
                conn.execute(script(table, payload_type, bell).encode())
            assert (catalogue(printed), rows(printed, applied), rows(printed, shards)) == made
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_a_newer_schema_is_refused_and_let_alone(database: str, nats: str, make_relay: MakeRelay) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO outbox_migrations (version, name) VALUES (%s, 'later')", (newest_version() + 1,))
    before = catalogue(database)
    with pytest.raises(SchemaError, match="newer"):
        apply(database, bell=False)
    assert catalogue(database) == before
    relay = make_relay(database, nats).start()
    assert relay.wait() == Exit.SCHEMA
    assert "use a newer relay" in relay.text()


@pytest.mark.parametrize(("table", "named"), [("outbox_events", "outbox_events"), ("app.billing", "app.billing")])
def test_without_the_schema_the_relay_ends_with_3_and_says_what_to_do(
    empty_database: str, nats: str, make_relay: MakeRelay, table: str, named: str
) -> None:
    relay = make_relay(empty_database, nats, postgres__table=table).start()
    assert relay.wait() == Exit.SCHEMA
    (line,) = [line for line in relay.text().splitlines() if line.startswith("error: ")]
    assert f"table {named} does not exist here: run `relay migrate`" in line


PAYLOADS: dict[str, list[tuple[bytes, bytes]]] = {
    # What is written, and what arrives: jsonb is given back in the database's own spelling.
    "jsonb": [
        (b'{ "b":1,"a" : [ 2 ] }', b'{"a": [2], "b": 1}'),
        (
            b"12345678901234567890.123456789012345678901234567890",
            b"12345678901234567890.123456789012345678901234567890",
        ),
        ('"é € 😀 \\u0041"'.encode(), '"é € 😀 A"'.encode()),
    ],
    "json": [
        (text, text)
        for text in (b'{ "b":1,\n  "a" : 1.0e3, "a":2 }', b"1e9999", '["é",\t"\\u00e9" ]'.encode(), b" null ")
    ],
    "text": [(text, text) for text in (b"no { JSON ' \" \\x00 %s $1", b"", "é € 😀\r\n\t".encode(), b"\\xdeadbeef")],
    "bytea": [(data, data) for data in (bytes(range(256)), b"", b"\xff\xfe\x00", b'{"i": 1}')],
}


@pytest.mark.parametrize("payload_type", PAYLOADS)
def test_a_payload_arrives_as_it_is_stored(
    empty_database: str, streams: Streams, make_relay: MakeRelay, payload_type: str
) -> None:
    apply(empty_database, payload_type=payload_type)
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        for written, _ in PAYLOADS[payload_type]:
            conn.execute(
                "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.placed', 'k', %s)",
                (written if payload_type == "bytea" else written.decode(),),
            )
    outbox = Outbox(empty_database)
    make_relay(empty_database, streams.url).start()
    outbox.drained()
    outbox.conn.close()
    assert [message.data for message in streams.read("ORDERS")] == [arrives for _, arrives in PAYLOADS[payload_type]]


@pytest.mark.parametrize("kind", ["bytea", "raw"])
@pytest.mark.parametrize("payload_type", ["jsonb", "json", "text"])
def test_a_payload_column_that_becomes_binary_while_a_relay_works_is_never_sent_as_hex_digits(
    empty_database: str, streams: Streams, make_relay: MakeRelay, payload_type: str, kind: str
) -> None:
    """Also if it is a domain."""
    apply(empty_database, payload_type=payload_type)
    streams.make("ORDERS", "orders.>")
    outbox = Outbox(empty_database)
    relay = make_relay(empty_database, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute("CREATE DOMAIN raw AS bytea")
    outbox.conn.execute(
        f"ALTER TABLE outbox_events ALTER payload TYPE {kind} USING convert_to(payload::text, 'UTF8')".encode()
    )
    outbox.conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', '{\"i\": 1}')")
    outbox.drained()
    assert "payload column became bytea" in relay.said("database.changed")["reason"]
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
    outbox.conn.close()
    assert [message.i for message in streams.read("ORDERS")] == [0, 1]


@pytest.mark.parametrize(("before", "after"), [("jsonb", "json"), ("json", "text"), ("text", "jsonb")])
def test_a_payload_column_that_gets_another_type_while_a_relay_works_is_read_as_that(
    empty_database: str, streams: Streams, make_relay: MakeRelay, before: str, after: str
) -> None:
    apply(empty_database, payload_type=before)
    streams.make("ORDERS", "orders.>")
    outbox = Outbox(empty_database)
    relay = make_relay(empty_database, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(f"ALTER TABLE outbox_events ALTER payload TYPE {after} USING payload::{after}".encode())
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    assert relay.running
    outbox.conn.close()
    assert [message.i for message in streams.read("ORDERS")] == [0, 1]


@pytest.mark.parametrize("table", ["app.billing_events", "app.billing", "ledger"])
def test_a_table_of_another_name_works_with_its_bell_and_its_roles(
    empty_database: str, streams: Streams, make_relay: MakeRelay, login: Any, table: str
) -> None:
    base = table.rpartition(".")[2].removesuffix("_events")
    apply(empty_database, table)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(login(empty_database, f"{base}_relay"), streams.url, postgres__table=table).start()
    wait_until("the bell is held", lambda: _bell_is_held(empty_database))
    producer = Outbox(login(empty_database, f"{base}_producer"), table)
    producer.conn.execute(f"INSERT INTO {table} (topic, key, payload) VALUES ('orders.placed', 'k', '{{}}')".encode())
    producer.conn.close()
    reader = Outbox(login(empty_database, f"{base}_reader"), table)
    reader.drained()
    assert reader.count("stream = 'ORDERS'") == 1
    reader.conn.close()
    assert relay.stop() == 0


def _bell_is_held(dsn: str) -> bool:
    return bool(
        rows(
            dsn,
            "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted"
            " AND l.mode = 'ExclusiveLock' AND a.datname = current_database() AND a.application_name LIKE '%bell'",
        )
    )


@pytest.mark.denials
def test_a_producer_can_write_by_both_statements_of_the_design_and_do_nothing_else(database: str, login: Any) -> None:
    address = login(database, "outbox_producer")
    with psycopg.connect(address, autocommit=True) as conn:
        given = str(uuid.uuid4())
        psycopg.RawCursor(conn).execute(GO_INSERT, (given, "orders.placed", b'{"i": 1}'.decode(), datetime.now(UTC)))
        conn.execute(SQL_INSERT)
        assert len(rows(database, f"SELECT 1 FROM outbox_events WHERE id = '{given}'")) == 1
        assert rows(database, "SELECT payload FROM outbox_events ORDER BY seq") == [({"i": 1},), ({"i": 2},)]
        for forbidden in (
            "SELECT payload FROM outbox_events",
            "SELECT * FROM outbox_events",
            "UPDATE outbox_events SET topic = 'x'",
            "DELETE FROM outbox_events",
            "TRUNCATE outbox_events",
            "INSERT INTO outbox_events (topic, payload) VALUES ('a', '1') RETURNING topic",
            "INSERT INTO outbox_events (topic, payload, delivered_at) VALUES ('a', '1', now())",
            "INSERT INTO outbox_events (topic, payload, dead_at) VALUES ('a', '1', now())",
            "INSERT INTO outbox_events (seq, topic, payload) OVERRIDING SYSTEM VALUE VALUES (1, 'a', '1')",
            "SELECT nextval('outbox_events_seq_seq')",
            "SELECT * FROM outbox_shards",
            "UPDATE outbox_shards SET watermark = 0",
            "SELECT * FROM outbox_migrations",
            "SELECT * FROM outbox_audit",
            "ALTER TABLE outbox_events DISABLE TRIGGER ALL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(forbidden.encode())
        # As ORMs insert.
        returned = conn.execute(
            "INSERT INTO outbox_events (topic, payload) VALUES ('a', '3') RETURNING seq, id"
        ).fetchone()
    assert returned in rows(database, "SELECT seq, id FROM outbox_events WHERE payload = '3'")
    assert len(rows(database, "SELECT 1 FROM outbox_events")) == 3


def test_the_relay_role_suffices_for_every_outcome_of_an_event(
    database: str, streams: Streams, make_relay: MakeRelay, login: Any
) -> None:
    outbox = Outbox(database)
    streams.needs(2, 12, why="no older one refuses the odd header")
    streams.make("ORDERS", "orders.>", max_msg_size=500)
    good = outbox.insert("orders.placed", "k", {"i": 1})
    bad = outbox.insert("orders.placed", "k", "x" * 1000)
    held = outbox.insert("nowhere.x", "n", {"i": 2})
    odd = outbox.insert("orders.odd", "o", {"i": 3}, {"Nats-Expected-Last-Subject-Sequence-Subject": "orders.>"})
    relay = make_relay(
        login(database, "outbox_relay"),
        streams.url,
        failures__backoff_base_s="0.1",
        failures__max_attempts="2",
        headers__allow_nats="Nats-Expected-Last-Subject-Sequence-Subject",
    ).start()
    outbox.delivered(good)
    assert "10054" in outbox.dead(bad)
    assert outbox.dead(odd)
    assert outbox.row(odd)["attempts"] == 2
    wait_until("the hold is noted", lambda: outbox.row(held)["last_error"])
    wait_until("the watermark is persisted", lambda: rows(database, "SELECT 1 FROM outbox_shards WHERE watermark > 0"))
    assert relay.stop() == 0
    assert not [line for line in relay.lines() if "permission denied" in str(line)]
    outbox.conn.close()


@pytest.mark.denials
def test_the_relay_role_can_neither_write_events_nor_change_what_they_say(database: str, login: Any) -> None:
    with psycopg.connect(login(database, "outbox_relay"), autocommit=True) as conn:
        for forbidden in (
            SQL_INSERT.decode(),
            "UPDATE outbox_events SET payload = '1'",
            "UPDATE outbox_events SET topic = 'x'",
            "TRUNCATE outbox_events",
            "DELETE FROM outbox_shards",
            "UPDATE outbox_migrations SET version = 2",
            "DROP TABLE outbox_events",
            "DELETE FROM outbox_audit",
            "UPDATE outbox_audit SET who = 'somebody else'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(forbidden.encode())


@pytest.mark.denials
def test_a_reader_can_look_at_everything_and_change_nothing(database: str, login: Any) -> None:
    with psycopg.connect(login(database, "outbox_reader"), autocommit=True) as conn:
        for table in ("outbox_events", "outbox_shards", "outbox_migrations", "outbox_audit"):
            conn.execute(f"SELECT * FROM {table}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"DELETE FROM {table}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(SQL_INSERT)


def test_the_pending_set_stands_in_no_index(database: str) -> None:
    defined = [
        definition
        for (definition,) in rows(database, "SELECT indexdef FROM pg_indexes WHERE tablename ~ '^outbox_events'")
    ]
    assert len(defined) == 4
    for marked in ("delivered_at", "stream", "attempts", "last_error"):
        assert not [definition for definition in defined if marked in definition]


# The smallest rows are the hardest: a mark adds a fifth to each.
@pytest.mark.parametrize("payload", ["{}", '{"pad": "' + "x" * 240 + '"}'], ids=["smallest", "usual"])
@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_every_mark_of_a_drain_is_heap_only(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, strategy: str, payload: str
) -> None:
    events = 6000
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload)"
        " SELECT 'orders.placed', 'k' || mod(i, 100), %s FROM generate_series(1, %s) i",
        (payload, events),
    )
    relay = make_relay(outbox.dsn, streams.url, delivery__strategy=strategy).start()
    outbox.drained()
    assert relay.stop() == 0
    # A backend hands in its statistics before it leaves; the collector of PostgreSQL 14 takes them in a while later.
    wait_until("the relay's backends are gone", lambda: not _relay_backends(outbox))
    if outbox.conn.info.server_version < 150000:
        wait_until("the marks are counted", lambda: _updated(outbox)[0] >= events)
    assert _updated(outbox) == (events, events)


def _updated(outbox: Outbox) -> tuple[int, int]:
    row = outbox.conn.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'outbox_events'"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _relay_backends(outbox: Outbox) -> int:
    if outbox.conn.info.server_version >= 150000:
        outbox.conn.execute("SELECT pg_stat_force_next_flush()")
    row = outbox.conn.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'outbox-relay%'"
    ).fetchone()
    assert row is not None
    return int(row[0])
