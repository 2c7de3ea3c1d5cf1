"""``relay adopt``: tables of other tools, with the DDL that those tools make."""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from relay.demo.servers import free_port
from tests.support.fix_relay import MakeRelay, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay

DEBEZIUM = """
CREATE TABLE outbox (
    id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL, payload {payload}, tracingspancontext varchar(256)
)"""
# Eventuate's own headers are NOT NULL; without that a test can try null, too.
EVENTUATE = """
CREATE TABLE {table} (
    id varchar(767) PRIMARY KEY, destination text NOT NULL, headers text, payload text NOT NULL,
    published smallint DEFAULT 0, message_partition smallint, creation_time bigint
)"""
INSERT = "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) VALUES (%s, 'order', '42', 'placed', %s)"

Event = tuple[str, str | None, object, dict[str, str]]


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def events(
    conn: psycopg.Connection, columns: str = "topic, key, payload, headers", table: str = "outbox_events"
) -> list[tuple[Any, ...]]:
    order = "" if "count" in columns else "ORDER BY seq"
    return conn.execute(f"SELECT {columns} FROM {table} {order}".encode()).fetchall()


def debezium(conn: psycopg.Connection, payload: str = "jsonb") -> None:
    conn.execute(DEBEZIUM.format(payload=payload).encode())


def other_outbox(dsn: str, payload: str) -> str:
    """Make an outbox of another type of payload; return its table."""
    done(dsn, "migrate", "--table", f"as_{payload}", "--payload-type", payload)
    return f"as_{payload}"


def install(dsn: str, *args: str) -> None:
    done(dsn, "adopt", "install", *args, "--yes")


@pytest.fixture
def text_read_as_json(db: psycopg.Connection) -> None:
    """Leave a test out if the server cannot tell text that is JSON: `relay adopt` refuses such a column there."""
    if db.info.server_version < 160000:
        pytest.skip("this run was pointed at a PostgreSQL older than 16, the default one is newer: it lacks IS JSON")


def test_a_row_of_debeziums_becomes_an_event_with_its_transaction(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    install(database, "--preset", "debezium")
    kept, gone, undone = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    db.execute(INSERT, (kept, '{"a": 1}'))
    with db.transaction():  # as Quarkus does
        db.execute(INSERT, (gone, None))
        db.execute("DELETE FROM outbox WHERE id = %s", (gone,))
    with db.transaction():
        db.execute(INSERT, (undone, "{}"))
        raise psycopg.Rollback
    assert events(db, "id, topic, key, payload, headers") == [
        (kept, "outbox.event.order", "42", {"a": 1}, {"id": str(kept), "type": "placed"}),
        (gone, "outbox.event.order", "42", None, {"id": str(gone), "type": "placed"}),
    ]


@pytest.mark.denials
def test_an_application_without_rights_on_the_outbox_goes_on(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    install(database, "--preset", "debezium")
    role = f"app_{uuid.uuid4().hex[:8]}"
    name = sql.Identifier(role)
    db.execute(sql.SQL("CREATE ROLE {}").format(name))
    db.execute(sql.SQL("GRANT INSERT ON outbox TO {}").format(name))
    db.execute(sql.SQL("SET ROLE {}").format(name))
    db.execute(INSERT, (uuid.uuid4(), "{}"))
    with db.cursor().copy("COPY outbox (id, aggregatetype, aggregateid, type, payload) FROM STDIN") as copy:
        for i in range(100):
            copy.write_row((uuid.uuid4(), "order", str(i), "placed", "{}"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("SELECT count(*) FROM outbox_events")
    db.execute("RESET ROLE")
    assert len(events(db)) == 101
    db.execute(sql.SQL("DROP OWNED BY {}").format(name))
    db.execute(sql.SQL("DROP ROLE {}").format(name))


def test_the_same_id_again_is_the_same_event(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    install(database, "--preset", "debezium")
    one = uuid.uuid4()
    for _ in range(2):
        db.execute(INSERT, (one, "{}"))
        db.execute("DELETE FROM outbox")
    assert len(events(db)) == 1


def test_the_trace_of_debeziums_span_is_kept(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    install(database, "--preset", "debezium", "--trace", "tracingspancontext")
    span = "#Thu Nov 26 12:00:00 UTC 2026\ntraceparent=00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01\n"
    db.execute(
        "INSERT INTO outbox VALUES (%s, 'order', '1', 'placed', '{}', %s), (%s, 'order', '1', 'placed', '{}', 'x')",
        (uuid.uuid4(), span, uuid.uuid4()),
    )
    found = [row[0] for row in events(db, "headers->>'traceparent'")]
    assert found == ["00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", None]


@pytest.mark.parametrize(
    ("column", "outbox", "value", "sent"),
    [
        ("jsonb", "text", '{"a": 1}', '{"a": 1}'),
        ("json", "json", '{"a":  1, "n": "\\u0000"}', None),
        ("text", "text", "as it is", "as it is"),
        ("bytea", "bytea", b"\x00\x01", b"\x00\x01"),
        ("text", "bytea", "Zoë", "Zoë".encode()),
    ],
)
def test_the_payload_is_sent_as_it_is_stored(
    database: str, db: psycopg.Connection, column: str, outbox: str, value: object, sent: object
) -> None:
    debezium(db, column)
    table = other_outbox(database, outbox)
    install(database, "--preset", "debezium", "--table", table)
    db.execute(INSERT, (uuid.uuid4(), value))
    db.execute(INSERT, (uuid.uuid4(), None))
    read = "payload::text" if outbox == "json" else "payload"
    rows = [row[0] for row in events(db, read, table)]
    assert rows[0] == (value if sent is None else sent)
    assert len(rows) == 2


@pytest.mark.usefixtures("text_read_as_json")
def test_a_text_that_is_json_is_expanded_and_any_other_text_fails_nothing(
    database: str, db: psycopg.Connection
) -> None:
    debezium(db, "text")
    table = other_outbox(database, "json")
    install(database, "--preset", "debezium", "--table", table, "--expand")
    for payload in ('{"a": 1}', "no json", '"\\u0000"', "", None):
        db.execute(INSERT, (uuid.uuid4(), payload))
    rows = events(db, "payload::text", table)
    assert [row[0] for row in rows] == ['{"a": 1}', '"no json"', '"\\u0000"', '""', "null"]


HEADERS = [
    ('{"tenant": "a", "n": 1, "x": null}', {"tenant": "a", "n": "1"}),
    ("[1]", {}),
    ("no json", {}),
    ("", {}),
    (None, {}),
    ('{"a": "\\u0000"}', {}),
    ('{"a": "\\ud800"}', {}),
    ('{"a": 1e999999}', {"a": "1e999999"}),
    ("[" * 100_000, {}),
    ('{"a": ' + "[" * 7900, {}),
    ('{"a": ' + "[" * 3900 + "]" * 3900 + "}", {"a": "[" * 3900 + "]" * 3900}),
    ('{"a": "' + "x" * 9000 + '"}', {}),
]


@pytest.mark.usefixtures("text_read_as_json")
def test_headers_in_a_text_are_read_and_nothing_in_them_can_fail_the_insert(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(EVENTUATE.format(table="message").encode())
    table = other_outbox(database, "text")
    install(database, "--preset", "eventuate", "--source", "message", "--table", table)
    for at, (headers, _) in enumerate(HEADERS):
        db.execute("INSERT INTO message VALUES (%s, 'orders', %s, '{}')", (f"m{at}", headers))
    rows = events(db, "headers", table)
    assert [row[0] for row in rows] == [
        {**wanted, "Outbox-Source-Id": f"m{at}"} for at, (_, wanted) in enumerate(HEADERS)
    ]


@pytest.mark.usefixtures("text_read_as_json")
def test_eventuates_message_keeps_its_partition_as_the_key(database: str, db: psycopg.Connection) -> None:
    db.execute("CREATE SCHEMA eventuate")
    db.execute(EVENTUATE.format(table="eventuate.message").encode())
    table = other_outbox(database, "text")
    insert = "INSERT INTO eventuate.message VALUES (%s, 'orders', %s, '{}', %s, 1, %s)"
    headers = json.dumps({"PARTITION_ID": "42", "ID": "x"})
    for at, published in ((2, 0), (1, 0), (0, 1)):
        db.execute(insert, (f"old{at}", headers, published, at))
    install(database, "--preset", "eventuate", "--table", table, "--backfill", "published = 0")
    db.execute(insert, ("new", headers, 0, 9))
    found = events(db, "topic, key, headers->>'Outbox-Source-Id', id", table)
    assert [row[:3] for row in found] == [("orders", "42", f"{one}") for one in ("old1", "old2", "new")]
    assert all(row[3].version == 8 for row in found)
    assert len({row[3] for row in found}) == 3
    # The id of a row is always the same, so a backfill over everything copies what was left out, once.
    for copied in ("1 rows were copied", "0 rows were copied"):
        args = ["--preset", "eventuate", "--table", table, "--where", "true", "--yes"]
        assert copied in done(database, "adopt", "backfill", *args).stdout


def test_a_row_of_open_outbox_becomes_an_event_with_its_headers(database: str, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE TABLE openoutbox_events (event_id uuid PRIMARY KEY, event_type text NOT NULL, partition_key text,"
        " payload bytea NOT NULL, headers jsonb, status text, available_at timestamptz DEFAULT now(),"
        " delivered_at timestamptz)"
    )
    table = other_outbox(database, "bytea")
    install(database, "--preset", "open-outbox", "--table", table)
    one = uuid.uuid4()
    db.execute(
        "INSERT INTO openoutbox_events (event_id, event_type, partition_key, payload, headers)"
        " VALUES (%s, 'orders.placed', 'k', %s, '{\"a\": \"b\"}')",
        (one, b"\x01"),
    )
    assert events(db, "id, topic, key, payload, headers", table) == [(one, "orders.placed", "k", b"\x01", {"a": "b"})]


@pytest.mark.usefixtures("text_read_as_json")
def test_a_row_of_watermills_becomes_an_event_once_a_topic_is_given(database: str, db: psycopg.Connection) -> None:
    db.execute(
        'CREATE TABLE watermill_orders ("offset" bigserial, uuid varchar(36) NOT NULL,'
        " created_at timestamp NOT NULL DEFAULT now(), payload json, metadata json, transaction_id xid8 NOT NULL,"
        ' PRIMARY KEY (transaction_id, "offset"))'
    )
    table = other_outbox(database, "json")
    args = ("--preset", "watermill", "--source", "watermill_orders", "--table", table)
    refused = relay(database, "adopt", "check", *args)
    assert refused.exit_code == 8
    assert "no topic: set --topic" in refused.stdout
    install(database, *args, "--topic", "orders.placed")
    db.execute(
        "INSERT INTO watermill_orders (uuid, payload, metadata, transaction_id)"
        " VALUES ('abc', '{\"a\":1}', '{\"name\": \"OrderPlaced\"}', pg_current_xact_id())"
    )
    found = events(db, "topic, payload::text, headers", table)
    assert found == [("orders.placed", '{"a":1}', {"name": "OrderPlaced", "Outbox-Source-Id": "abc"})]


def test_rows_of_django_outbox_pattern_lose_the_prefix_of_their_destination(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(
        "CREATE TABLE published (id uuid PRIMARY KEY, version varchar(100), destination varchar(255) NOT NULL,"
        " body jsonb NOT NULL, added timestamptz NOT NULL DEFAULT now(), expires_at timestamptz,"
        " retry integer DEFAULT 0, status integer NOT NULL DEFAULT 1, headers jsonb)"
    )
    db.execute("INSERT INTO published (id, destination, body) VALUES (%s, '/topic/orders.v1', '1')", (uuid.uuid4(),))
    install(database, "--preset", "django-outbox-pattern", "--backfill", "status = 1")
    db.execute(
        "INSERT INTO published (id, destination, body, headers) VALUES (%s, '/queue/x', '2', '{\"a\": 1}')",
        (uuid.uuid4(),),
    )
    assert events(db) == [("orders.v1", None, 1, {}), ("x", None, 2, {"a": "1"})]


@pytest.mark.usefixtures("text_read_as_json")
def test_masstransit_with_its_sender_off_is_purged(database: str, db: psycopg.Connection) -> None:
    db.execute(
        'CREATE TABLE "OutboxMessage" ("SequenceNumber" bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,'
        ' "EnqueueTime" timestamptz, "SentTime" timestamptz NOT NULL DEFAULT now(), "Headers" text, "Properties" text,'
        ' "InboxMessageId" uuid, "InboxConsumerId" uuid, "OutboxId" uuid, "MessageId" uuid NOT NULL,'
        ' "ContentType" varchar(256) NOT NULL, "MessageType" text NOT NULL, "Body" text NOT NULL,'
        ' "ConversationId" uuid, "CorrelationId" uuid, "InitiatorId" uuid, "RequestId" uuid,'
        ' "SourceAddress" varchar(256), "DestinationAddress" varchar(256), "ResponseAddress" varchar(256),'
        ' "FaultAddress" varchar(256), "ExpirationTime" timestamptz)'
    )
    table = other_outbox(database, "text")
    install(database, "--preset", "masstransit", "--table", table, "--purge")
    one, key = uuid.uuid4(), uuid.uuid4()
    insert = (
        'INSERT INTO "OutboxMessage" ("Headers", "OutboxId", "MessageId", "ContentType", "MessageType", "Body",'
        ' "CorrelationId") VALUES (\'{"t": "a"}\', %s, %s, \'application/json\','
        " 'urn:message:Shop:OrderPlaced;urn:message:Shop:IEvent', '{}', %s)"
    )
    db.execute(insert, (uuid.uuid4(), one, key))
    db.execute(insert, (None, uuid.uuid4(), key))  # of a consumer's own outbox
    rows = events(db, "id, topic, key, payload, headers->>'t'", table)
    assert rows == [(one, "Shop.OrderPlaced", str(key), "{}", "a")]
    assert db.execute('SELECT count(*), count("OutboxId") FROM "OutboxMessage"').fetchone() == (1, 0)


def test_a_row_of_pg_transactional_outbox_becomes_an_event_of_its_aggregate(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregate_type text NOT NULL, aggregate_id text NOT NULL,"
        " message_type text NOT NULL, segment text, concurrency text NOT NULL DEFAULT 'sequential',"
        " payload jsonb NOT NULL, metadata jsonb, locked_until timestamptz,"
        " created_at timestamptz NOT NULL DEFAULT now(), processed_at timestamptz, abandoned_at timestamptz,"
        " started_attempts smallint DEFAULT 0, finished_attempts smallint DEFAULT 0)"
    )
    install(database, "--preset", "pg-transactional-outbox")
    db.execute(
        "INSERT INTO outbox (id, aggregate_type, aggregate_id, message_type, payload)"
        " VALUES (%s, 'movie', '7', 'made', '1')",
        (uuid.uuid4(),),
    )
    assert events(db) == [("movie.made", "7", 1, {})]


def test_a_row_of_sbmt_outbox_becomes_an_event_once_a_topic_is_given(database: str, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE TABLE order_outbox_items (id bigserial PRIMARY KEY, uuid uuid NOT NULL UNIQUE,"
        " event_key varchar NOT NULL, bucket integer NOT NULL, status integer NOT NULL DEFAULT 0, options jsonb,"
        " payload bytea NOT NULL, errors_count integer NOT NULL DEFAULT 0, error_log text, processed_at timestamptz,"
        " created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL)"
    )
    table = other_outbox(database, "bytea")
    args = ("--preset", "sbmt-outbox", "--source", "order_outbox_items", "--table", table)
    assert relay(database, "adopt", "install", *args, "--yes").exit_code == 8
    install(database, *args, "--topic", "orders.placed")
    made = uuid.uuid4()
    db.execute(
        "INSERT INTO order_outbox_items (uuid, event_key, bucket, options, payload, created_at, updated_at)"
        ' VALUES (%s, \'42\', 0, \'{"key": "k", "headers": {"tenant": "a", "n": 1}}\', \'\\x0001\', now(), now())',
        (made,),
    )
    for options in (None, "1", "[]", '{"headers": [1]}', '{"headers": "x"}', '{"headers": null}'):
        db.execute(
            "INSERT INTO order_outbox_items (uuid, event_key, bucket, options, payload, created_at, updated_at)"
            " VALUES (gen_random_uuid(), '42', 0, %s, '', now(), now())",
            (options,),
        )
    found = events(db, "id, topic, key, payload, headers", table)
    own = {"Idempotency-Key": str(made), "Sequence-ID": "1"}
    assert found[0] == (made, "orders.placed", "42", b"\x00\x01", {"tenant": "a", "n": "1", **own})
    assert [sorted(row[4]) for row in found[1:]] == [sorted(own)] * 6


def test_a_row_of_active_outbox_becomes_an_event_of_its_aggregate(database: str, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE TABLE outboxes (id bigserial PRIMARY KEY, identifier uuid NOT NULL UNIQUE, event varchar NOT NULL,"
        " payload jsonb, aggregate varchar NOT NULL, aggregate_identifier uuid NOT NULL, created_at timestamp NOT NULL,"
        " updated_at timestamp NOT NULL)"
    )
    install(database, "--preset", "active-outbox")
    made, aggregate = uuid.uuid4(), uuid.uuid4()
    db.execute(
        "INSERT INTO outboxes (identifier, event, payload, aggregate, aggregate_identifier, created_at, updated_at)"
        " VALUES (%s, 'created', '{\"after\": 1}', 'Order', %s, now(), now())",
        (made, aggregate),
    )
    assert events(db, "id, topic, key, payload") == [(made, "Order.created", str(aggregate), {"after": 1})]


def test_rows_of_faststream_outbox_become_events_but_those_for_later(database: str, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue varchar(255) NOT NULL,"
        " payload bytea NOT NULL, headers jsonb, attempts_count bigint NOT NULL DEFAULT 0,"
        " next_attempt_at timestamptz NOT NULL DEFAULT now(), acquired_at timestamptz, acquired_token uuid,"
        " timer_id varchar(255))"
    )
    table = other_outbox(database, "bytea")
    install(database, "--preset", "faststream-outbox", "--table", table)
    insert = "INSERT INTO outbox (queue, payload, headers, timer_id) VALUES ('orders', '\\x7b7d', '{\"a\": \"1\"}', %s)"
    for timer in (None, "tomorrow"):
        db.execute(insert, (timer,))
    ((topic, key, payload, headers),) = events(db, table=table)
    assert (topic, key, payload, headers) == ("orders", None, b"{}", {"a": "1", "Outbox-Source-Id": "1"})


def test_a_partitioned_table_by_its_columns(database: str, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE TABLE audit (nr bigint, kind text, what jsonb, at timestamptz, PRIMARY KEY (nr))"
        " PARTITION BY RANGE (nr)"
    )
    db.execute("CREATE TABLE audit_1 PARTITION OF audit FOR VALUES FROM (0) TO (10)")
    args = ["--id", "nr", "--topic", "audit.{kind}", "--key", "what->who", "--payload", "what", "--created-at", "at"]
    install(database, "--source", "audit", *args, "--when", "new.kind <> 'noise'")
    db.execute("CREATE TABLE audit_2 PARTITION OF audit FOR VALUES FROM (10) TO (20)")
    row = "VALUES (%s, %s, '{\"who\": \"me\"}', '2020-01-01Z')"
    db.execute(f"INSERT INTO audit {row}".encode(), (1, "login"))
    db.execute(f"INSERT INTO audit_2 {row}".encode(), (11, "logout"))
    db.execute(f"INSERT INTO audit {row}".encode(), (12, "noise"))
    db.execute("INSERT INTO audit VALUES (2, 'x', NULL, NULL)")
    found = events(db, "topic, key, payload, headers, extract(year FROM created_at) = 2020")
    assert found == [
        ("audit.login", "me", {"who": "me"}, {"Outbox-Source-Id": "1"}, True),
        ("audit.logout", "me", {"who": "me"}, {"Outbox-Source-Id": "11"}, True),
        ("audit.x", None, None, {"Outbox-Source-Id": "2"}, False),
    ]
    assert len(done(database, "adopt", "status").stdout.splitlines()) == 2


@pytest.mark.parametrize("preset", ["wolverine", "gruelbox", "jaiminho", "cap", "namastack", "spring-modulith"])
def test_what_cannot_be_kept_is_refused_with_its_reason(preset: str) -> None:
    result = relay(None, "adopt", "check", "--preset", preset)
    assert result.exit_code == 2
    assert f"{preset} cannot be adopted: " in result.stderr


def test_a_payload_that_could_fail_the_application_is_refused(database: str, db: psycopg.Connection) -> None:
    debezium(db, "text")
    for command in (("check",), ("print",), ("install", "--yes")):
        result = relay(database, "adopt", command[0], "--preset", "debezium", *command[1:])
        assert result.exit_code == 8
        assert "make an outbox with relay migrate --payload-type text" in result.output
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


def test_check_reads_only_and_says_what_would_die(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    db.execute("INSERT INTO outbox VALUES (%s, 'my order', '1', 'placed', '{}')", (uuid.uuid4(),))
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
    said = done(database, "adopt", "check", "--preset", "debezium").stdout
    assert "outbox.event.my order" in said
    assert "publication dbz carries public.outbox" in said
    assert "PREPARE TRANSACTION will fail after an insert" in said  # the suite's server allows two-phase commit
    assert "1 rows were mapped to 1 topics" in said
    assert events(db) == []
    assert relay(database, "adopt", "check", "--preset", "debezium", "--source", "nowhere").exit_code == 2


def test_check_says_which_stream_takes_the_events(database: str, db: psycopg.Connection, streams: Streams) -> None:
    debezium(db)
    streams.make("ORDERS", "outbox.event.order")
    for kind in ("order", "invoice"):
        db.execute("INSERT INTO outbox VALUES (gen_random_uuid(), %s, '1', 'placed', '{}')", (kind,))
    check = ("adopt", "check", "--preset", "debezium")
    said = relay(database, *check, RELAY_NATS__SERVERS=streams.url)
    assert said.exit_code == 0, said.output
    assert "1 subjects go to ORDERS" in said.stdout
    assert "no stream takes 1 of 2 subjects, such as outbox.event.invoice: their events wait" in said.stdout
    away = relay(database, *check, RELAY_NATS__SERVERS=f"nats://127.0.0.1:{free_port()}")
    assert (away.exit_code, "which stream takes the subjects is not known" in away.stdout) == (0, True)


def test_what_is_printed_installs_the_same(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    db.execute(done(database, "adopt", "print", "--preset", "debezium").stdout.encode())
    db.execute(INSERT, (uuid.uuid4(), "{}"))
    assert len(events(db)) == 1
    assert "copies each new row" in done(database, "adopt", "status").stdout


def test_status_finds_a_trigger_that_is_disabled_or_was_changed(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    install(database, "--preset", "debezium")
    db.execute("ALTER TABLE outbox DISABLE TRIGGER outbox_adopt")
    disabled = relay(database, "adopt", "status")
    assert (disabled.exit_code, "its trigger is disabled" in disabled.stdout) == (8, True)
    db.execute("ALTER TABLE outbox ENABLE TRIGGER outbox_adopt")
    (name,) = db.execute("SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'outbox_adopt'").fetchone() or (
        "",
    )
    db.execute(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'".encode()
    )
    changed = relay(database, "adopt", "status", "--output", "json")
    assert changed.exit_code == 8
    assert json.loads(changed.stdout)["unchanged"] is False


@pytest.mark.parametrize(
    ("breaks", "options"),
    [
        ("ALTER TABLE outbox DISABLE TRIGGER USER", ()),
        ("CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", ()),
        ("ALTER TABLE outbox RENAME COLUMN type TO kind", ("--header", "id=id", "--header", "type=kind")),
    ],
    ids=["the trigger is disabled", "the function was changed", "a column is gone"],
)
def test_a_broken_adoption_is_mended_by_installing_it_again(
    database: str, db: psycopg.Connection, breaks: str, options: tuple[str, ...]
) -> None:
    debezium(db)
    install(database, "--preset", "debezium")
    (name,) = db.execute("SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'outbox_adopt'").fetchone() or (
        "",
    )
    db.execute(breaks.format(name=name).encode())
    assert relay(database, "adopt", "status").exit_code == 8
    install(database, "--preset", "debezium", *options)
    assert "copies each new row" in done(database, "adopt", "status").stdout
    column = "kind" if options else "type"
    db.execute(
        f"INSERT INTO outbox (id, aggregatetype, aggregateid, {column}, payload)"
        " VALUES (gen_random_uuid(), 'order', 'o-1', 'Placed', '{}')".encode()
    )
    assert len(events(db)) == 1


@pytest.mark.parametrize("change", ["DROP COLUMN type", 'RENAME COLUMN type TO "Type"'])
def test_status_and_doctor_find_a_column_that_is_gone(database: str, db: psycopg.Connection, change: str) -> None:
    debezium(db)
    install(database, "--preset", "debezium")
    db.execute("ALTER TABLE outbox ALTER COLUMN type DROP NOT NULL")
    db.execute(f"ALTER TABLE outbox {change}".encode())
    with pytest.raises(psycopg.errors.UndefinedColumn):
        db.execute("INSERT INTO outbox (id, aggregatetype, aggregateid) VALUES (gen_random_uuid(), 'a', 'b')")
    found = relay(database, "adopt", "status", "--output", "json")
    assert (found.exit_code, json.loads(found.stdout)["missing"]) == (8, ["type"])
    findings = json.loads(relay(database, "doctor", "--output", "json").stdout)["findings"]
    faults = [one["seen"] for one in findings if one["check"] == 'adoption "public"."outbox"']
    assert faults == ["each insert fails: the table has no column type (into public.outbox_events)"]


def test_removing_gives_the_table_back_and_leaves_what_was_copied(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
    args = ("--preset", "debezium", "--publication", "dbz", "--yes")
    assert "the cut is at" in done(database, "adopt", "cutover", *args).stdout
    db.execute(INSERT, (uuid.uuid4(), "{}"))
    back = relay(database, "adopt", "remove", "--source", "outbox", "--give-back", "dbz", "--wait", "0", "--yes")
    # No relay runs, so what was copied waits.
    assert back.exit_code == 4, back.output
    assert "nobody looks whether the other reader has a slot and is stopped" in back.stderr
    db.execute(INSERT, (uuid.uuid4(), "{}"))
    assert len(events(db)) == 1
    assert db.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = 'dbz'").fetchall() == [("outbox",)]
    assert relay(database, "adopt", "remove", "--source", "outbox", "--yes").exit_code == 8
    actions = [json.loads(line)["action"] for line in done(database, "audit", "--output", "json").stdout.splitlines()]
    assert actions == ["adopt remove", "adopt install"]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_does_not_exist_is_refused_before_anything_is_changed(
    database: str, db: psycopg.Connection, dry: tuple[str, ...]
) -> None:
    debezium(db)
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
    cutover = ("adopt", "cutover", "--preset", "debezium", "--yes", *dry)
    no_slot = relay(database, *cutover, "--publication", "dbz", "--slot", "nope")
    assert (no_slot.exit_code, no_slot.stdout) == (8, "")
    assert "there is no replication slot nope" in no_slot.stderr
    assert relay(database, *cutover, "--publication", "other").exit_code == 8
    carried = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'dbz'"
    assert db.execute(carried).fetchall() == [("outbox",)]
    assert relay(database, "adopt", "status").stdout == ""
    done(database, *cutover[:-1], "--publication", "dbz") if dry else done(database, *cutover, "--publication", "dbz")
    no_publication = relay(database, "adopt", "remove", "--source", "outbox", "--give-back", "nope", "--yes", *dry)
    assert no_publication.exit_code == 8
    assert "there is no publication nope" in no_publication.stderr
    assert "debezium" in done(database, "adopt", "status").stdout


def test_a_cut_over_is_refused_for_a_publication_of_all_tables_and_while_a_relay_runs(
    database: str, db: psycopg.Connection
) -> None:
    debezium(db)
    db.execute("CREATE PUBLICATION every FOR ALL TABLES")
    db.execute("UPDATE outbox_shards SET lease_until = now() + interval '1 hour'")
    args = ("adopt", "cutover", "--preset", "debezium", "--yes", "--publication")
    refused = relay(database, *args, "every")
    assert refused.exit_code == 8
    assert "is FOR ALL TABLES" in refused.stderr
    assert "a relay works on public.outbox_events" in refused.stderr
    assert "does not carry the table" in relay(database, *args, "other").stderr
    if db.info.server_version < 150000:
        pytest.skip("this run was pointed at a PostgreSQL older than 15, which has no publication of a schema")
    db.execute("DROP PUBLICATION every")
    db.execute("CREATE PUBLICATION every FOR TABLES IN SCHEMA public")
    assert "publication every carries public.outbox" in done(database, "adopt", "check", "--preset", "debezium").stdout
    refused = relay(database, *args, "every")
    assert (refused.exit_code, "of a whole schema" in refused.stderr) == (8, True)
    assert "a relay works on public.outbox_events" in refused.stderr


def test_a_busy_table_is_left_alone_after_two_seconds(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE outbox IN ROW EXCLUSIVE MODE")
        busy = relay(database, "adopt", "install", "--preset", "debezium", "--yes")
        assert busy.exit_code == 1
        assert "was busy for too long: try again: nothing was changed (number 1 of `relay audit`)" in busy.stderr
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


def test_a_table_without_consent_is_left_alone(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    assert "would adopt public.outbox" in done(database, "adopt", "install", "--preset", "debezium", "--dry-run").stderr
    assert relay(database, "adopt", "install", "--preset", "debezium").exit_code == 2
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


def test_adopted_events_reach_the_stream_once_each_key_in_its_order(
    database: str, db: psycopg.Connection, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    debezium(db)
    install(database, "--preset", "debezium", "--topic", "orders.{type}")
    make_relay(database, streams.url).start()

    def write(key: str) -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            for i in range(50):
                conn.execute(
                    "INSERT INTO outbox VALUES (%s, 'order', %s, 'placed', %s)",
                    (uuid.uuid4(), key, json.dumps({"i": i})),
                )

    writers = [threading.Thread(target=write, args=(f"k{at}",)) for at in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    rows: dict[str, str] = dict(db.execute("SELECT id::text, aggregateid FROM outbox").fetchall())
    wait_until("all are delivered", lambda: events(db, "count(*) FILTER (WHERE delivered_at IS NULL)") == [(0,)])
    read = streams.read("ORDERS")
    assert len(read) == len({message.headers["Nats-Msg-Id"] for message in read}) == 200
    for key in ("k0", "k1", "k2", "k3"):
        assert [message.i for message in read if rows[message.headers["id"]] == key] == list(range(50))


@pytest.fixture
def login(database: str, db: psycopg.Connection) -> Iterator[tuple[str, str]]:
    """A login without any right, and its DSN."""
    role = f"app_{uuid.uuid4().hex[:8]}"
    db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
    parts = urlsplit(database)
    yield role, urlunsplit(parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}"))
    db.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    db.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.denials
def test_what_a_login_lacks_is_named_with_the_grant_and_enough_once_granted(
    database: str, db: psycopg.Connection, login: tuple[str, str]
) -> None:
    role, dsn = login
    # As it is from PostgreSQL 15 on.
    db.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    debezium(db)
    command = ("adopt", "check", "--preset", "debezium")
    result = relay(dsn, *command)
    assert result.exit_code == 1, result.output
    assert "the role outbox_reader" in result.stderr
    db.execute(f"GRANT outbox_reader TO {role}".encode())
    result = relay(dsn, *command)
    assert result.exit_code == 8, result.output
    assert f"public.outbox belongs to postgres, and this login is {role}" in result.stdout
    assert f'ALTER TABLE "public"."outbox" OWNER TO "{role}", or log in as postgres' in result.stdout
    refused = relay(dsn, "adopt", "install", "--preset", "debezium", "--yes")
    assert (refused.exit_code, "GRANT outbox_producer TO" in refused.stderr) == (8, True)
    # In a database of one's own the table would be another role's than the superuser's.
    db.execute(f"ALTER TABLE outbox OWNER TO {role}".encode())
    grants = re.findall(r"GRANT .*", relay(dsn, *command).stdout)
    assert grants == [
        f'GRANT outbox_producer TO "{role}"',
        f'GRANT CREATE ON SCHEMA "public" TO "{role}"',
        f'GRANT outbox_relay TO "{role}"',
    ]
    for grant in grants:
        db.execute(grant.encode())
    install(dsn, "--preset", "debezium")
    db.execute(INSERT, (uuid.uuid4(), "{}"))
    assert len(events(db)) == 1
    # Neither may it change a publication that is not its own.
    db.execute("CREATE PUBLICATION theirs")
    back = relay(dsn, "adopt", "remove", "--source", "outbox", "--give-back", "theirs", "--yes")
    assert (back.exit_code, "publication theirs belongs to postgres" in back.stderr) == (8, True)
    done(dsn, "adopt", "remove", "--source", "outbox", "--yes")
    db.execute("ALTER PUBLICATION theirs ADD TABLE outbox")
    cut = relay(dsn, "adopt", "cutover", "--preset", "debezium", "--publication", "theirs", "--yes")
    # A member of a superuser could do anything, for ever.
    assert (cut.exit_code, "GRANT" in cut.stderr, back.stderr.count("GRANT")) == (8, False, 0), cut.stderr
    assert f'ALTER PUBLICATION "theirs" OWNER TO "{role}", or log in as postgres' in cut.stderr


@pytest.mark.denials
def test_the_roles_that_are_named_are_those_of_the_table(
    database: str, db: psycopg.Connection, login: tuple[str, str]
) -> None:
    other_outbox(database, "text")
    for command in (("list",), ("adopt", "status")):
        result = relay(login[1], *command, "--table", "as_text")
        assert result.exit_code == 1, result.output
        assert "the role as_text_reader and changing the role as_text_relay" in result.stderr


@pytest.mark.denials
def test_a_trial_in_the_wrong_role_is_told_the_right_one_by_log_and_doctor(
    database: str, login: tuple[str, str], streams: Streams, make_relay: MakeRelay
) -> None:
    role, dsn = login
    table = {"RELAY_POSTGRES__TABLE": "outbox_shadow_events", "RELAY_SUBJECT__TEMPLATE": "orders.{topic}"}
    done(database, "migrate", "--table", "outbox_shadow_events")
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"GRANT outbox_relay TO {role}".encode())
    trial = make_relay(dsn, streams.url, postgres__table="outbox_shadow_events", subject__template="orders.{topic}")
    trial.start()
    assert "relay doctor" in trial.said("postgres.lost")["message"]
    result = relay(dsn, "doctor", "--output", "json", RELAY_NATS__SERVERS=streams.url, **table)
    told = {one["check"]: one for one in json.loads(result.stdout)["findings"] if one["level"] == "fault"}
    assert told["rights"]["do"].startswith("GRANT outbox_shadow_relay to this role")
    assert (told["schema"]["do"], "may not read its version" in told["schema"]["seen"]) == ("see rights", True)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"GRANT outbox_shadow_relay TO {role}".encode())
    trial.said("relay.active")


def test_a_backfill_without_an_adoption_is_refused(database: str, db: psycopg.Connection) -> None:
    debezium(db)
    db.execute(INSERT, (uuid.uuid4(), "{}"))
    result = relay(database, "adopt", "backfill", "--preset", "debezium", "--where", "true", "--yes")
    assert result.exit_code == 8, result.output
    assert "outbox is not adopted by public.outbox_events" in result.stderr
    assert "relay adopt install --backfill" in result.stderr
    assert events(db) == []
