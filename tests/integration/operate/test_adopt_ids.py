"""``relay adopt``: an id that comes again is the same event with the same contents, and another one with others."""

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from relay.operate.adopt.mapping import Mapping, Source
from relay.operate.adopt.script import install as installed_by
from relay.postgres.tables import Tables
from tests.support.relay_cli import done, relay

TABLE = """
CREATE TABLE src (
    id {id}, type text NOT NULL DEFAULT 'placed', customer text, body {body},
    made {made} DEFAULT clock_timestamp(), n bigint GENERATED ALWAYS AS IDENTITY
)"""
BY_COLUMNS = ("--source", "src", "--topic", "orders.{type}", "--key", "customer", "--payload", "body")
INSERT = "INSERT INTO src (customer, body) VALUES (%s, %s)"


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def table(db: psycopg.Connection, id_column: str = "bigserial", body: str = "jsonb", made: str = "timestamptz") -> None:
    db.execute(TABLE.format(id=id_column, body=body, made=made).encode())


def adopted(dsn: str, *args: str) -> None:
    done(dsn, "adopt", "install", *BY_COLUMNS, *args, "--yes")


def write(db: psycopg.Connection, first: int, rows: int) -> None:
    for n in range(first, first + rows):
        db.execute(INSERT, (f"k{n % 3}", json.dumps({"n": n})))


def numbers(db: psycopg.Connection) -> list[int]:
    found = db.execute("SELECT payload ->> 'n' FROM outbox_events ORDER BY seq")
    return [int(row[0]) for row in found.fetchall()]


def held(db: psycopg.Connection) -> list[tuple[Any, ...]]:
    return db.execute("SELECT seq, id, topic, key, payload, headers FROM outbox_events ORDER BY seq").fetchall()


def filled(dsn: str, *args: str) -> int:
    """Backfill everything; return how many rows were copied, after the question has said the same number."""
    command = ("adopt", "backfill", *BY_COLUMNS, *args, "--where", "true")
    told = re.search(r"copy ([\d,]+) of", done(dsn, *command, "--dry-run").stderr)
    copied = re.search(r"([\d,]+) rows were copied", done(dsn, *command, "--yes").stdout)
    assert told is not None and copied is not None
    assert told[1] == copied[1]
    return int(copied[1])


@pytest.mark.parametrize(
    "again",
    [
        ("TRUNCATE src RESTART IDENTITY",),
        ("DELETE FROM src", "ALTER SEQUENCE src_id_seq RESTART"),
    ],
)
def test_rows_of_a_sequence_that_begins_again_are_events_of_their_own(
    database: str, db: psycopg.Connection, again: tuple[str, ...]
) -> None:
    table(db)
    adopted(database)
    write(db, 0, 5)
    for turn in (1, 2):
        for statement in again:
            db.execute(statement.encode())
        write(db, turn * 100, 5)
    assert numbers(db) == [*range(5), *range(100, 105), *range(200, 205)]
    rows = held(db)
    assert len({row[1] for row in rows}) == 15
    assert {row[1].version for row in rows} == {8}
    assert [row[5]["Outbox-Source-Id"] for row in rows] == [str(n) for n in range(1, 6)] * 3
    # What the table holds is known, by its first id or by its second one.
    assert filled(database) == 0


def test_a_uuid_with_other_contents_is_an_event_of_its_own_and_each_repeat_is_left(
    database: str, db: psycopg.Connection
) -> None:
    table(db, "uuid")
    adopted(database)
    one = uuid.uuid4()
    insert = "INSERT INTO src (id, type, customer, body) VALUES (%s, %s, %s, %s)"
    contents = [
        ("a", "k", "{}"),
        ("b", "k", "{}"),
        ("a", "l", "{}"),
        ("a", None, "{}"),
        ("a", "", "{}"),
        ("a", "k", "1"),
    ]
    for _ in range(3):
        for row in contents:
            db.execute(insert, (one, *row))
    rows = held(db)
    assert [(topic, key) for _, _, topic, key, _, _ in rows] == [(f"orders.{kind}", key) for kind, key, _ in contents]
    assert rows[0][1] == one
    assert len({row[1] for row in rows}) == len(contents)
    assert filled(database, "--unordered") == 0


def sha256(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def test_the_second_id_is_the_same_in_each_release(database: str, db: psycopg.Connection) -> None:
    table(db, "uuid")
    adopted(database, "--header", "kind=type", "--created-at", "made")
    one = uuid.uuid4()
    insert = "INSERT INTO src (id, customer, body, made) VALUES (%s, %s, %s, '2000-01-01 00:00:01Z')"
    for customer in ("a", "b", None):
        db.execute(insert, (one, customer, '{"n":1}'))
    wanted = [one]
    for key in (b":b", b""):
        parts = (b"orders.placed", key, b'{"n": 1}', b'{"kind": "placed"}')
        contents = sha256(b"".join(sha256(part) for part in parts))
        microseconds = (1_000_000).to_bytes(8, "big")  # since 2000
        digest = bytearray(sha256(one.bytes + contents + microseconds)[:16])
        digest[6], digest[8] = digest[6] & 15 | 128, digest[8] & 63 | 128
        wanted.append(uuid.UUID(bytes=bytes(digest)))
    assert [row[1] for row in held(db)] == wanted


@pytest.mark.parametrize(
    ("payload", "body"), [("json", "json"), ("text", "text"), ("bytea", "bytea"), ("bytea", "text")]
)
def test_payloads_of_each_type_are_compared(database: str, db: psycopg.Connection, payload: str, body: str) -> None:
    table(db, body=body)
    outbox = f"as_{payload}"
    done(database, "migrate", "--table", outbox, "--payload-type", payload)
    adopted(database, "--table", outbox)
    insert = "INSERT INTO src (id, customer, body) VALUES (7, 'k', %s)"
    bodies: list[object] = ['{"n": 1}', '{"n": 1.0}', None]
    for _ in range(2):
        for one in bodies:
            db.execute(insert, (one.encode() if body == "bytea" and isinstance(one, str) else one,))
    assert db.execute(f"SELECT count(*), count(DISTINCT id) FROM {outbox}".encode()).fetchone() == (3, 3)
    assert filled(database, "--table", outbox) == 0


def test_a_time_tells_two_events_of_the_same_contents_apart(database: str, db: psycopg.Connection) -> None:
    table(db)
    adopted(database, "--created-at", "made")
    insert = "INSERT INTO src (id, customer, body, made) VALUES (1, 'k', '{}', %s)"
    for _ in range(2):
        for made in ("2026-01-01Z", "2026-01-02Z", None):
            db.execute(insert, (made,))
    # Without a time a row is the same as any with the same contents.
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (2,)
    assert filled(database, "--created-at", "made") == 0


def test_without_a_time_the_same_contents_are_the_same_event_and_check_says_so(
    database: str, db: psycopg.Connection
) -> None:
    table(db)
    adopted(database)
    for _ in range(2):
        db.execute("INSERT INTO src (id, customer, body) VALUES (1, 'k', '{}')")
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (1,)
    said = "column id is no uuid and no time of the row is mapped"
    assert said in done(database, "adopt", "check", *BY_COLUMNS).stdout
    assert said not in done(database, "adopt", "check", *BY_COLUMNS, "--created-at", "made").stdout


@pytest.mark.parametrize("made", ["timestamptz", "timestamp", "date", "interval"])
def test_the_settings_of_a_session_make_no_other_event(database: str, db: psycopg.Connection, made: str) -> None:
    """An application writes in its time zone and format, and a backfill reads in others."""
    db.execute(TABLE.format(id="bigserial", body="jsonb", made="timestamptz").encode())
    value = "'90 minutes'" if made == "interval" else "clock_timestamp()"
    db.execute(f"ALTER TABLE src ADD at {made} DEFAULT {value}".encode())
    args = ("--header", "at=at", *(("--created-at", "at") if made.startswith("timestamp") else ()))
    adopted(database, *args)
    for zone, style in (("Asia/Kathmandu", "German"), ("America/New_York", "SQL, MDY")):
        db.execute(f"SET TimeZone = '{zone}'; SET DateStyle = '{style}'; SET IntervalStyle = 'iso_8601'".encode())
        write(db, 0, 3)
        assert filled(database, *args) == 0
    # The same rows again, as in a restore, and one of another time.
    db.execute("RESET ALL")
    db.execute("INSERT INTO src (id, type, customer, body, at) SELECT id, type, customer, body, at FROM src")
    assert len(held(db)) == 6
    if made.startswith("timestamp"):
        db.execute("INSERT INTO src (id, type, customer, body) SELECT id, type, customer, body FROM src WHERE n = 1")
        assert len(held(db)) == 7
    assert filled(database, *args) == 0


def test_a_row_that_is_moved_or_restored_is_the_same_event(database: str, db: psycopg.Connection) -> None:
    db.execute("CREATE TABLE src (id bigint, type text, customer text, body jsonb, part int) PARTITION BY LIST (part)")
    for part in (1, 2):
        db.execute(f"CREATE TABLE src_{part} PARTITION OF src FOR VALUES IN ({part})".encode())
    adopted(database)
    db.execute("INSERT INTO src SELECT g, 'a', 'k', '{}', 1 FROM generate_series(1, 3) g")
    db.execute("UPDATE src SET part = 2")
    db.execute("CREATE TABLE copy AS TABLE src")
    db.execute("TRUNCATE src")
    db.execute("INSERT INTO src TABLE copy")
    assert len(held(db)) == 3


def test_rows_that_are_deleted_once_copied_may_have_an_id_again(database: str, db: psycopg.Connection) -> None:
    table(db, "bigserial PRIMARY KEY")
    adopted(database, "--purge")
    write(db, 0, 3)
    db.execute("ALTER SEQUENCE src_id_seq RESTART")
    write(db, 10, 3)
    assert numbers(db) == [0, 1, 2, 10, 11, 12]
    assert db.execute("SELECT count(*) FROM src").fetchone() == (0,)


def test_a_backfill_copies_each_event_once_in_order_and_counts_the_same(database: str, db: psycopg.Connection) -> None:
    """The table holds ids several times, and some of them the outbox holds with these contents, some with others."""
    table(db, "bigint")
    adopted(database)
    insert = "INSERT INTO src (id, customer, body) VALUES (%s, %s, %s)"
    for at in range(6):
        db.execute(insert, (at, "k", json.dumps({"n": at})))
    db.execute("ALTER TABLE src DISABLE TRIGGER USER")
    for n in range(10, 40):  # each id five times, twice with the same contents
        db.execute(insert, (n % 6, "k", json.dumps({"n": n // 12 * 12 + n % 6})))
    for n in range(100, 103):  # ids that the outbox does not hold, twice
        for again in (0, 50, 50):
            db.execute(insert, (n, "k", json.dumps({"n": n + again})))
    db.execute("ALTER TABLE src ENABLE TRIGGER USER")
    there = {row[0] for row in db.execute("SELECT DISTINCT (body ->> 'n')::int FROM src").fetchall()}
    command = ("adopt", "backfill", *BY_COLUMNS, "--order-by", "n", "--where", "true", "--dry-run")
    shown = done(database, *command).stderr
    assert "of the rows have an id that the outbox holds with other contents" in shown
    assert filled(database, "--order-by", "n") == len(there) - 6
    copied = numbers(db)
    assert sorted(copied) == sorted(there)
    order = db.execute("SELECT (body ->> 'n')::int FROM src GROUP BY 1 ORDER BY min(n)").fetchall()
    assert copied == [row[0] for row in order]
    assert filled(database, "--order-by", "n") == 0
    assert "other contents" not in done(database, *command).stderr
    # Older events are gone by retention: what came under a second id is still known.
    db.execute("DELETE FROM outbox_events WHERE seq <= 6")
    assert filled(database, "--order-by", "n") == 6


def test_writers_at_once_lose_nothing_and_repeat_nothing(database: str, db: psycopg.Connection) -> None:
    table(db, "bigint")
    adopted(database)
    writers, ids = 6, 40

    def go(at: int) -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            for one in range(ids):  # two writers each have the same contents
                conn.execute(
                    "INSERT INTO src (id, customer, body) VALUES (%s, 'k', %s)", (one, json.dumps({"n": at // 2}))
                )

    threads = [threading.Thread(target=go, args=(at,)) for at in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = "SELECT count(*), count(DISTINCT (headers ->> 'Outbox-Source-Id', payload)) FROM outbox_events"
    assert db.execute(counted.encode()).fetchone() == (ids * writers // 2, ids * writers // 2)
    assert filled(database, "--unordered") == 0


def test_a_transaction_with_one_snapshot_is_refused_and_loses_nothing(database: str, db: psycopg.Connection) -> None:
    """What another transaction has committed since cannot be compared: PostgreSQL asks to try again."""
    table(db, "bigint")
    adopted(database)
    insert = "INSERT INTO src (id, customer, body) VALUES (1, 'k', %s)"
    with psycopg.connect(database) as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        other.execute("SELECT 1 FROM src")
        db.execute(insert, ('{"n": 1}',))
        with pytest.raises(psycopg.errors.SerializationFailure):
            other.execute(insert, ('{"n": 2}',))
        other.rollback()
        other.execute(insert, ('{"n": 2}',))
    assert numbers(db) == [1, 2]


def test_texts_of_other_collations_and_headers_that_are_no_object_fail_nothing(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(
        'CREATE TABLE src (id text COLLATE "C", type text COLLATE "POSIX", customer text COLLATE "C",'
        " body jsonb, made date)"
    )
    adopted(database, "--header", "made=made")
    insert = "INSERT INTO src VALUES ('a', 'placed', %s, '{}', now())"
    db.execute(insert, ("k",))
    db.execute("UPDATE outbox_events SET headers = '[1]'")
    db.execute(insert, ("k",))
    assert len(held(db)) == 2


@pytest.mark.denials
def test_an_application_without_rights_gets_its_second_event(database: str, db: psycopg.Connection) -> None:
    table(db, "bigint")
    adopted(database)
    role = f"app_{uuid.uuid4().hex[:8]}"
    db.execute(f"CREATE ROLE {role}; GRANT INSERT ON src TO {role}; SET ROLE {role}".encode())
    for n in (1, 2):
        db.execute("INSERT INTO src (id, customer, body) VALUES (1, 'k', %s)", (json.dumps({"n": n}),))
    db.execute("RESET ROLE")
    db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    assert numbers(db) == [1, 2]


FORM_1 = """
BEGIN
    INSERT INTO public.outbox_events (topic, payload, id, headers) VALUES ('orders', new.body,
        coalesce(new.id, gen_random_uuid()), NULL::jsonb) ON CONFLICT (id) DO NOTHING;
    RETURN NULL;
END
"""


def test_an_adoption_of_an_earlier_version_is_told_and_replaced_in_one_transaction(
    database: str, db: psycopg.Connection
) -> None:
    table(db, "uuid")
    source = Source("public", "src", {"id": "uuid", "type": "text", "body": "jsonb"})
    text = installed_by(Mapping(topic="orders", payload="body"), source, "public.outbox_events", Tables(), "columns")
    db.execute(earlier(text).encode())
    one = uuid.uuid4()
    insert = "INSERT INTO src (id, customer, body) VALUES (%s, 'k', %s)"
    for n in (1, 2):
        db.execute(insert, (one, json.dumps({"n": n})))
    assert numbers(db) == [1]
    status = relay(database, "adopt", "status")
    assert (status.exit_code, "copies each new row but one whose id the outbox holds" in status.stdout) == (0, True)
    findings = json.loads(relay(database, "doctor", "--output", "json").stdout)["findings"]
    (found,) = [one for one in findings if one["check"] == 'adoption "public"."src"']
    assert (found["level"], "relay adopt install again" in found["do"]) == ("warning", True)
    install = ("adopt", "install", *BY_COLUMNS)
    assert "in the place of the adoption that is there" in done(database, *install, "--dry-run").stderr
    done(database, *install, "--yes")
    db.execute(insert, (one, '{"n": 3}'))
    assert numbers(db) == [1, 3]
    assert done(database, "adopt", "status").stdout.rstrip().endswith("copies each new row")
    assert db.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'outbox_adopt'").fetchone() == (1,)


def earlier(text: str) -> str:
    """Return the statements of an installation as the version before would have made them."""
    body = text.split("$adopt$")[1]
    now, then = (hashlib.sha256(one.encode()).hexdigest() for one in (body, FORM_1))
    return text.replace(body, FORM_1).replace(now, then).replace('"form": 2, ', "")


def test_an_adoption_that_is_replaced_knows_how_its_publication_carried_the_table(
    database: str, db: psycopg.Connection
) -> None:
    table(db, "uuid PRIMARY KEY")
    db.execute("CREATE PUBLICATION dbz FOR TABLE src (id, body)")
    done(database, "adopt", "cutover", *BY_COLUMNS, "--publication", "dbz", "--yes")
    again = relay(database, "adopt", "cutover", *BY_COLUMNS, "--publication", "dbz", "--yes")
    assert (again.exit_code, "is adopted already" in again.stderr) == (8, True)
    adopted(database)
    removal = ("adopt", "remove", "--source", "src", "--give-back", "dbz", "--dry-run")
    assert 'put it back into dbz ("id", "body")' in done(database, *removal).stderr


SESSIONS = (
    "SET bytea_output = 'hex'; SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'; SET extra_float_digits = 1",
    """SET bytea_output = 'escape'; SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601';
    SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = 0""",
)
VALUES = {
    "bytea": r"'\x001122'",
    "timestamptz": "'2026-01-02 00:00Z'",
    "timestamp": "'2026-01-02 00:00'",
    "date": "'2026-01-02'",
    "interval": "'1 day 2 hours'",
    "float8": "0.1::float8 + 0.2",
    "tstzrange": "'[2026-01-02 00:00Z,)'",
    "named_bytes": r"'\x001122'",
}


@pytest.mark.parametrize(
    ("reads", "kind"),
    [
        (("--id", "at"), "bytea"),
        (("--id", "at"), "timestamptz"),
        (("--id", "at"), "named_bytes"),
        (("--key", "at"), "bytea"),
        (("--key", "at"), "float8"),
        (("--key", "at"), "interval"),
        (("--topic", "orders.{at}"), "date"),
        (("--topic-sql", "new.at"), "timestamp"),
        (("--header", "at=at"), "tstzrange"),
    ],
)
def test_ids_keys_and_topics_are_the_same_in_each_session(
    database: str, db: psycopg.Connection, reads: tuple[str, str], kind: str
) -> None:
    db.execute("CREATE DOMAIN named_bytes AS bytea")
    db.execute(f"CREATE TABLE src (id uuid DEFAULT gen_random_uuid(), body jsonb, n bigserial, at {kind})".encode())
    topic = () if reads[0] == "--topic-sql" else ("--topic", "orders")
    options = ("--source", "src", "--payload", "body", *topic, *reads)
    done(database, "adopt", "install", *options, "--yes")
    insert = f"INSERT INTO src (body, at) VALUES (%s, {VALUES[kind]})".encode()
    for n, session in enumerate(SESSIONS):
        db.execute("RESET ALL")
        db.execute(session.encode())
        db.execute(insert, (json.dumps({"n": 0 if reads[0] == "--id" else n}),))
    rows = db.execute("SELECT topic, key, headers ->> 'at' FROM outbox_events").fetchall()
    # The same id with the same contents is one event.
    assert (len(rows), len(set(rows))) == (1 if reads[0] == "--id" else 2, 1), rows
    fill = ("adopt", "backfill", *options, "--where", "true", "--order-by", "n", "--yes")
    assert "0 rows were copied" in done(database, *fill).stdout
    assert done(database, "adopt", "status").stdout.rstrip().endswith("copies each new row")


def test_a_time_without_a_zone_is_still_read_in_the_zone_of_the_application(
    database: str, db: psycopg.Connection
) -> None:
    table(db, "bigint", made="timestamp")
    adopted(database, "--created-at", "made", "--header", "n=n")
    db.execute("SET TimeZone = 'Asia/Tokyo'")
    db.execute("INSERT INTO src (id, made) VALUES (1, '2026-01-02 09:00')")
    found = db.execute("SELECT created_at = '2026-01-02 00:00Z' FROM outbox_events").fetchall()
    assert found == [(True,)]
    db.execute("ALTER TABLE src ADD at timestamptz DEFAULT now()")
    said = "column made is read in the time zone of the session that inserts, and so is the text of at"
    check = ("adopt", "check", *BY_COLUMNS, "--created-at", "made")
    assert said in done(database, *check, "--header", "at=at").stdout
    assert said not in done(database, *check).stdout


def test_a_function_whose_texts_depend_on_the_session_is_told(database: str, db: psycopg.Connection) -> None:
    table(db, "bytea")
    adopted(database)
    name = db.execute("SELECT tgfoid::regprocedure::text FROM pg_trigger WHERE tgname = 'outbox_adopt'").fetchone()
    # As an earlier version has made it.
    db.execute(f"ALTER FUNCTION {name[0] if name else ''} RESET ALL".encode())
    told = "the text of column id depends on the session that inserts the row"
    assert told in done(database, "adopt", "status").stdout
    findings = json.loads(relay(database, "doctor", "--output", "json").stdout)["findings"]
    (found,) = [one for one in findings if one["check"] == 'adoption "public"."src"']
    assert (found["level"], "relay adopt install again" in found["do"]) == ("warning", True)
    adopted(database)
    assert told not in done(database, "adopt", "status").stdout
