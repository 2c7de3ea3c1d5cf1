"""``relay adopt``: what would keep a committed row, or a part of it, from the outbox is refused or told."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.relay_cli import done, relay

TABLE = """
CREATE TABLE src (
    id uuid DEFAULT gen_random_uuid(), n bigserial, topic text NOT NULL DEFAULT 'orders.placed', account integer,
    payload jsonb NOT NULL DEFAULT '{}', %s, PRIMARY KEY (n)
)"""
BY_COLUMNS = ("--source", "src", "--topic", "{topic}")
VIRTUAL = "key text GENERATED ALWAYS AS ('acc-' || account) VIRTUAL"


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def virtual(db: psycopg.Connection) -> None:
    """Make a table with a column that is computed when it is read."""
    if db.info.server_version < 180000:
        pytest.skip("this run was pointed at a PostgreSQL older than 18, which has no virtual columns")
    db.execute((TABLE % VIRTUAL).encode())


def refused(dsn: str, *args: str) -> str:
    """Return why a command was refused."""
    result = relay(dsn, "adopt", *args)
    assert result.exit_code == 8, result.output
    return result.output


@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize(
    "reads",
    [
        ("--key", "key"),
        ("--id", "key"),
        ("--header", "account=key"),
        ("--topic", "orders.{key}"),
        ("--topic-sql", "'orders.' || new.key"),
        ("--topic-sql", '(NEW)."key"'),
        ("--topic-sql", "'orders.' || (to_jsonb(new) ->> 'ke' || 'y')"),
    ],
)
def test_a_virtual_column_is_not_copied_for_a_trigger_finds_none(database: str, reads: tuple[str, ...]) -> None:
    for command in (("check",), ("print",), ("install", "--yes"), ("cutover", "--publication", "p", "--yes")):
        said = refused(database, command[0], *BY_COLUMNS, *reads, *command[1:])
        assert "PostgreSQL computes no" in said, said
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


@pytest.mark.usefixtures("virtual")
def test_a_condition_and_an_order_may_read_a_virtual_column(database: str, db: psycopg.Connection) -> None:
    insert = "INSERT INTO src (account) VALUES (1), (2), (1)"
    db.execute(insert.encode())
    options = ("--key", "account", "--when", "new.key = 'acc-1'", "--order-by", "key")
    done(database, "adopt", "install", *BY_COLUMNS, *options, "--backfill", "true", "--yes")
    db.execute(insert.encode())
    assert db.execute("SELECT key FROM outbox_events").fetchall() == [("1",)] * 4


@pytest.mark.usefixtures("virtual")
def test_a_column_that_becomes_virtual_is_told(database: str, db: psycopg.Connection) -> None:
    db.execute("ALTER TABLE src DROP COLUMN key")
    db.execute("ALTER TABLE src ADD COLUMN key text")
    done(database, "adopt", "install", *BY_COLUMNS, "--key", "key", "--yes")
    db.execute("ALTER TABLE src DROP COLUMN key")
    db.execute(f"ALTER TABLE src ADD COLUMN {VIRTUAL}".encode())
    found = relay(database, "adopt", "status")
    assert (found.exit_code, "copied without column key" in found.stdout) == (8, True), found.output
    findings = json.loads(relay(database, "doctor", "--output", "json").stdout)["findings"]
    assert [one["level"] for one in findings if one["check"] == 'adoption "public"."src"'] == ["fault"]


def doctor(dsn: str) -> tuple[str, str]:
    """Return the level of the finding on the adoption, and what it has seen."""
    findings = json.loads(relay(dsn, "doctor", "--output", "json").stdout)["findings"]
    (found,) = [one for one in findings if one["check"].startswith("adoption ")]
    return found["level"], found["seen"]


def plain(db: psycopg.Connection, end: str = "") -> None:
    db.execute((TABLE % "key text" + end).encode())


ROUTED = """
CREATE TABLE src_2026 (CHECK (n >= 0)) INHERITS (src);
CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO src_2026 SELECT new.*; RETURN NULL; END $$;
CREATE TRIGGER route BEFORE INSERT ON src FOR EACH ROW EXECUTE FUNCTION route();
"""
CHILD = "rows of src_2026, which inherits from it, fire no trigger of it"


def test_a_table_with_children_is_not_adopted(database: str, db: psycopg.Connection) -> None:
    plain(db)
    db.execute(ROUTED.encode())
    for command in (("check",), ("print",), ("install", "--yes"), ("backfill", "--where", "true", "--yes")):
        assert CHILD in refused(database, command[0], *BY_COLUMNS, *command[1:])
    # Each child by itself is a table like any other.
    done(database, "adopt", "install", "--source", "src_2026", *BY_COLUMNS[2:], "--yes")
    db.execute("INSERT INTO src DEFAULT VALUES")
    assert db.execute("SELECT topic FROM outbox_events").fetchall() == [("orders.placed",)]


PARTITION = "CREATE TABLE src_1 PARTITION OF src FOR VALUES FROM (0) TO (1000)"


@pytest.mark.parametrize(
    ("then", "seen"),
    [
        ("CREATE TABLE src_2026 () INHERITS (src)", CHILD),
        (f"{PARTITION}; ALTER TABLE src_1 DISABLE TRIGGER outbox_adopt", "its trigger is disabled in partition src_1"),
        (f"{PARTITION}; ALTER TABLE src_1 ENABLE REPLICA TRIGGER outbox_adopt", "is disabled in partition src_1"),
        ("ALTER TABLE src ENABLE REPLICA TRIGGER outbox_adopt", "its trigger is disabled: nothing is copied"),
    ],
)
def test_what_keeps_rows_from_the_trigger_later_breaks_the_adoption(
    database: str, db: psycopg.Connection, then: str, seen: str
) -> None:
    plain(db, " PARTITION BY RANGE (n)" if "PARTITION" in then else "")
    done(database, "adopt", "install", *BY_COLUMNS, "--yes")
    db.execute(then.encode())
    db.execute("INSERT INTO src_2026 DEFAULT VALUES" if "INHERITS" in then else "INSERT INTO src DEFAULT VALUES")
    assert db.execute("SELECT count(*) FROM src").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (0,)
    found = relay(database, "adopt", "status")
    assert (found.exit_code, seen in found.stdout) == (8, True), found.output
    level, said = doctor(database)
    assert (level, seen in said) == ("fault", True), said


REPLICA = "has session_replication_role = replica, so its rows fire no trigger"


def test_a_role_whose_rows_fire_no_trigger_is_told(database: str, db: psycopg.Connection) -> None:
    plain(db)
    done(database, "adopt", "install", *BY_COLUMNS, "--yes")
    db.execute(f"ALTER DATABASE {db.info.dbname} SET session_replication_role = replica".encode())
    with psycopg.connect(database, autocommit=True) as application:
        application.execute("INSERT INTO src DEFAULT VALUES")
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (0,)
    assert REPLICA in done(database, "adopt", "check", *BY_COLUMNS).stdout
    assert REPLICA in done(database, "adopt", "status").stdout
    level, said = doctor(database)
    assert (level, REPLICA in said) == ("warning", True), said
    # A trigger that fires always does so in such a session, too.
    db.execute("ALTER TABLE src ENABLE ALWAYS TRIGGER outbox_adopt")
    with psycopg.connect(database, autocommit=True) as application:
        application.execute("INSERT INTO src DEFAULT VALUES")
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (1,)
    assert REPLICA not in done(database, "adopt", "status").stdout


BEFORE = """
CREATE TABLE elsewhere (LIKE src);
CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO elsewhere SELECT new.*; RETURN NULL; END $$;
CREATE TRIGGER route BEFORE INSERT ON src FOR EACH ROW EXECUTE FUNCTION route();
"""
RULE = "CREATE TABLE elsewhere (LIKE src); CREATE RULE away AS ON INSERT TO src DO INSTEAD NOTHING"


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        (BEFORE, "trigger route runs before a row is written"),
        (RULE, "rule away stands in the place of an insert"),
    ],
)
def test_what_may_send_rows_elsewhere_before_they_are_written_is_told(
    database: str, db: psycopg.Connection, before: str, seen: str
) -> None:
    plain(db)
    db.execute(before.encode())
    assert seen in done(database, "adopt", "check", *BY_COLUMNS).stdout
    db.execute("DROP TABLE elsewhere")


def test_rows_of_a_table_that_becomes_a_partition_are_told_and_backfilled(
    database: str, db: psycopg.Connection
) -> None:
    plain(db, " PARTITION BY RANGE (n)")
    assert "when it becomes a partition are not copied" in done(database, "adopt", "check", *BY_COLUMNS).stdout
    done(database, "adopt", "install", *BY_COLUMNS, "--yes")
    db.execute("CREATE TABLE src_1 (LIKE src INCLUDING ALL)")
    db.execute("INSERT INTO src_1 DEFAULT VALUES")
    db.execute("ALTER TABLE src ATTACH PARTITION src_1 FOR VALUES FROM (0) TO (1000)")
    db.execute("INSERT INTO src DEFAULT VALUES")
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (1,)
    backfill = ("adopt", "backfill", *BY_COLUMNS, "--where", "true", "--yes")
    assert "1 rows were copied" in done(database, *backfill).stdout


# Nothing is behind that server, and nobody applies what is subscribed to: both stand in the catalogue alone.
FOREIGN = """
ALTER TABLE src DROP CONSTRAINT src_pkey;
CREATE FOREIGN DATA WRAPPER none;
CREATE SERVER away FOREIGN DATA WRAPPER none;
CREATE FOREIGN TABLE src_1 PARTITION OF src FOR VALUES FROM (0) TO (1000) SERVER away;
"""
SUBSCRIBED = """
CREATE TABLE src_1 PARTITION OF src FOR VALUES FROM (0) TO (1000);
CREATE SUBSCRIPTION apply_{name} CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = NONE);
INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)
    SELECT oid, 'src_1'::regclass, 'r' FROM pg_subscription WHERE subname = 'apply_{name}';
"""


@pytest.mark.parametrize(
    ("then", "seen"),
    [
        (FOREIGN, "rows that are written into partition src_1 in its own server fire no trigger here"),
        (SUBSCRIBED, "a subscription writes into src_1, whose rows fire no trigger"),
    ],
)
def test_rows_that_come_from_another_database_are_told(
    database: str, db: psycopg.Connection, then: str, seen: str
) -> None:
    plain(db, " PARTITION BY RANGE (n)")
    done(database, "adopt", "install", *BY_COLUMNS, "--yes")
    for statement in filter(str.strip, then.format(name=db.info.dbname).split(";")):
        db.execute(statement.encode())
    assert seen in done(database, "adopt", "status").stdout
    level, said = doctor(database)
    assert (level, seen in said) == ("warning", True), said
    if "SUBSCRIPTION" in then:
        # It maps rows, and nobody could read those of the other table.
        assert seen in done(database, "adopt", "check", *BY_COLUMNS).stdout
        db.execute(f"DROP SUBSCRIPTION apply_{db.info.dbname}".encode())


@pytest.mark.parametrize("source", ["outbox_events", "outbox_shards", "outbox_audit", "outbox_two_events"])
def test_an_outbox_of_a_relay_is_no_source(database: str, source: str) -> None:
    done(database, "migrate", "--table", "outbox_two_events")
    options = ("--source", source, "--id", "id", "--topic", "copy.{topic}", "--payload", "payload")
    for command in (("check",), ("install", "--yes")):
        said = refused(database, command[0], *options, *command[1:])
        assert f"public.{source} is an outbox of a relay, or stands beside one" in said
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


def test_what_the_database_forbids_is_one_line(database: str, db: psycopg.Connection) -> None:
    plain(db)
    install = ("install", *BY_COLUMNS, "--yes")
    done(database, "adopt", *install)
    db.execute(
        "CREATE FUNCTION frozen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no changes today'; END $$"
    )
    db.execute("CREATE EVENT TRIGGER frozen ON ddl_command_start EXECUTE FUNCTION frozen()")
    try:
        for command in (install, ("remove", "--source", "src", "--yes")):
            said = refused(database, *command)
            assert "the database forbids it: raise exception in PL/pgSQL function frozen()" in said
            assert "--when" not in said
    finally:
        db.execute("DROP EVENT TRIGGER frozen")
    assert "copies each new row" in done(database, "adopt", "status").stdout
