"""``relay adopt backfill``: older rows keep the order of each key, and what a copy would repeat is told before."""

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.support.relay_cli import done, relay

TABLE = """
CREATE TABLE outbox (
    {id}, aggregatetype varchar(255) NOT NULL DEFAULT 'order', aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL DEFAULT 'placed', payload jsonb NOT NULL DEFAULT '{{}}',
    made timestamptz NOT NULL DEFAULT clock_timestamp(), n integer NOT NULL
)"""
UUID = "id uuid PRIMARY KEY DEFAULT gen_random_uuid()"
BY_COLUMNS = ("--source", "outbox", "--topic", "orders", "--key", "aggregateid")
KEYS = 3


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def rows_in_no_order(db: psycopg.Connection, id_column: str, rows: int = 300) -> None:
    """Make a table whose heap is in another order than its rows were written: new rows fill what deleted ones left."""
    db.execute(TABLE.format(id=id_column).encode())
    insert = "INSERT INTO outbox (aggregateid, n) SELECT 'k' || g %% %s, g FROM generate_series(%s::int, %s::int) g"
    db.execute(insert, (KEYS, 1, rows))
    db.execute("DELETE FROM outbox WHERE n <= %s", (rows // 2,))
    db.execute("VACUUM outbox")
    db.execute(insert, (KEYS, rows + 1, rows + rows // 2))


def copied(db: psycopg.Connection, column: str) -> list[list[int]]:
    """Return the numbers of the rows that were copied, a list for each key, in the order of the events."""
    found: dict[str, list[int]] = {}
    join = "o.id = e.id" if column == "uuid" else "e.headers ->> 'Outbox-Source-Id' = o.id::text"
    order = db.execute(f"SELECT e.key, o.n FROM outbox_events e JOIN outbox o ON {join} ORDER BY e.seq".encode())
    for key, n in order.fetchall():
        found.setdefault(key, []).append(n)
    return list(found.values())


def test_a_heap_is_in_no_order(db: psycopg.Connection) -> None:
    """The others would prove nothing if it were."""
    rows_in_no_order(db, UUID)
    numbers = [row[0] for row in db.execute("SELECT n FROM outbox").fetchall()]
    assert numbers != sorted(numbers)


@pytest.mark.parametrize(
    ("id_column", "args"),
    [
        ("id bigserial PRIMARY KEY", BY_COLUMNS),
        ("id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", BY_COLUMNS),
        (UUID, ("--preset", "debezium", "--order-by", "n")),
        (UUID, ("--preset", "debezium", "--created-at", "made")),
    ],
)
def test_older_rows_are_copied_in_the_order_of_their_keys(
    database: str, db: psycopg.Connection, id_column: str, args: tuple[str, ...]
) -> None:
    rows_in_no_order(db, id_column)
    done(database, "adopt", "install", *args, "--backfill", "n % 2 = 0", "--yes")
    done(database, "adopt", "backfill", *args, "--where", "n > 400", "--yes")
    keys = copied(db, "uuid" if id_column == UUID else "bigint")
    even, more = ([[n for n in key if (n % 2 == 0) == first] for key in keys] for first in (True, False))
    assert (sum(map(len, even)), sum(map(len, more))) == (150, 25)
    assert [*even, *more] == [sorted(key) for key in [*even, *more]]


def test_older_rows_without_a_known_order_are_refused_unless_that_is_chosen(
    database: str, db: psycopg.Connection
) -> None:
    rows_in_no_order(db, UUID)
    install = ("adopt", "install", "--preset", "debezium", "--backfill", "true")
    for last in ("--yes", "--dry-run"):
        refused = relay(database, *install, last)
        assert refused.exit_code == 8, refused.output
        assert "no column is known that orders the older rows of public.outbox" in refused.stderr
        assert "--order-by" in refused.stderr and "--unordered" in refused.stderr
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"
    assert "a backfill takes --order-by, or --created-at" in done(
        database, "adopt", "check", "--preset", "debezium"
    ).stdout  # fmt: skip
    shown = done(database, *install, "--created-at", "made", "--dry-run").stderr
    assert "copy 300 of 300 older rows" in shown and "in the order of made (those of the same made in any" in shown
    done(database, *install[:-2], "--yes")
    backfill = ("adopt", "backfill", "--preset", "debezium", "--where", "true")
    assert relay(database, *backfill, "--yes").exit_code == 8
    assert "300 rows were copied" in done(database, *backfill, "--unordered", "--yes").stdout
    assert relay(database, *install[:-2], "--unordered", "--yes").exit_code == 2


def test_rows_without_a_key_need_no_order(database: str, db: psycopg.Connection) -> None:
    rows_in_no_order(db, UUID)
    args = ("--source", "outbox", "--topic", "orders", "--backfill", "true", "--yes")
    assert "300 older rows were copied" in done(database, "adopt", "install", *args).stdout


@pytest.mark.parametrize(
    "sequence",
    [
        "id bigint GENERATED ALWAYS AS IDENTITY (CACHE 20) PRIMARY KEY",
        "id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT -1) PRIMARY KEY",
        "id bigint GENERATED ALWAYS AS IDENTITY (CYCLE) PRIMARY KEY",
        "id bigint PRIMARY KEY",
    ],
)
def test_a_sequence_that_does_not_rise_with_each_row_orders_nothing(
    database: str, db: psycopg.Connection, sequence: str
) -> None:
    db.execute(TABLE.format(id=sequence).encode())
    refused = relay(database, "adopt", "install", *BY_COLUMNS, "--backfill", "true", "--yes")
    assert (refused.exit_code, "no column is known" in refused.stderr) == (8, True)


WRONG = ("nosuch = 1", "n = 'x'", "n =", "1 / 0 = n", "n")


@pytest.mark.parametrize("condition", WRONG)
def test_a_wrong_condition_is_told_before_anything_is_changed(
    database: str, db: psycopg.Connection, condition: str
) -> None:
    rows_in_no_order(db, "id bigserial PRIMARY KEY", 4)
    commands = [("install", "--backfill", condition), ("install", "--when", condition)]
    for command, option, given in commands:
        for last in ("--dry-run", "--yes"):
            told = relay(database, "adopt", command, *BY_COLUMNS, option, given, last)
            if condition == WRONG[3] and option == "--when":
                continue  # that fails with a row
            assert told.exit_code == 8, told.output
            assert "PostgreSQL does not understand what was given" in told.stderr
            assert "columns are id, aggregatetype" in told.stderr and "relay migrate" not in told.stderr
            assert done(database, "adopt", "status").stderr == "nothing is adopted\n"
    checked = relay(database, "adopt", "check", *BY_COLUMNS, "--when", condition)
    assert (checked.exit_code, "does not understand what was given" in checked.stderr) == (8, True)
    done(database, "adopt", "install", *BY_COLUMNS, "--yes")
    told = relay(database, "adopt", "backfill", *BY_COLUMNS, "--where", condition, "--dry-run")
    assert (told.exit_code, "does not understand what was given" in told.stderr) == (8, True)


def test_a_condition_that_a_trigger_cannot_have_is_told(database: str, db: psycopg.Connection) -> None:
    db.execute(TABLE.format(id=UUID).encode())
    told = relay(database, "adopt", "install", *BY_COLUMNS, "--when", "n IN (SELECT 1)", "--yes")
    assert (told.exit_code, "cannot use subquery" in told.stderr) == (8, True)
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


@pytest.mark.parametrize("time_column", [("--created-at", "made"), ("--order-by", "made"), ("--order-by", "n")])
def test_rows_that_the_old_reader_has_sent_are_counted_and_told_before_they_are_copied(
    database: str, db: psycopg.Connection, time_column: tuple[str, str]
) -> None:
    db.execute(TABLE.format(id=UUID).encode())
    insert = "INSERT INTO outbox (id, aggregateid, n) VALUES (%s, 'k', %s)"
    for n in range(5):
        db.execute(insert, (uuid.uuid4(), n))
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
    args = ("--preset", "debezium", *time_column)
    done(database, "adopt", "cutover", *args, "--publication", "dbz", "--yes")
    db.execute(insert, (uuid.uuid4(), 5))
    # The adoption breaks, and is mended as the runbook says.
    db.execute("ALTER TABLE outbox DISABLE TRIGGER USER")
    missed = uuid.uuid4()
    db.execute(insert, (missed, 6))
    done(database, "adopt", "remove", "--source", "outbox", "--yes")
    done(database, "adopt", "install", *args, "--yes")
    backfill = ("adopt", "backfill", *args, "--where")
    shown = done(database, *backfill, "true", "--dry-run").stderr
    assert "copy 6 of 7 older rows, those that the outbox does not hold" in shown
    known = "5 of the rows were written before " if time_column[1] == "made" else "has sent what was committed before "
    assert known in shown and "second time" in shown
    right = "made > (SELECT max(made) FROM outbox WHERE n = 5)"
    shown = done(database, *backfill, right, "--dry-run").stderr
    assert "copy 1 of 1 older rows" in shown
    assert ("warning" in shown) == (time_column[1] == "n")
    done(database, *backfill, right, "--yes")
    assert db.execute("SELECT id FROM outbox_events ORDER BY seq DESC LIMIT 1").fetchone() == (missed,)
    assert db.execute("SELECT count(*) FROM outbox_events").fetchone() == (2,)


def test_rows_of_a_table_that_had_no_other_reader_are_copied_without_a_warning(
    database: str, db: psycopg.Connection
) -> None:
    rows_in_no_order(db, "id bigserial PRIMARY KEY")
    shown = done(database, "adopt", "install", *BY_COLUMNS, "--backfill", "true", "--dry-run").stderr
    assert "copy 300 of 300 older rows" in shown and "warning" not in shown


@pytest.fixture
def owner(database: str, db: psycopg.Connection) -> Iterator[str]:
    """The DSN of a login that may adopt its own tables, and is not shown all of their rows."""
    role = f"owner_{uuid.uuid4().hex[:8]}"
    db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
    db.execute(f"GRANT outbox_relay, outbox_producer TO {role}".encode())
    db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}".encode())
    db.execute(TABLE.format(id=UUID).encode())
    db.execute("INSERT INTO outbox (aggregateid, n) SELECT 'k' || g, g FROM generate_series(1, 10) g")
    db.execute("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    db.execute("CREATE POLICY halves ON outbox USING (n % 2 = 0) WITH CHECK (true)")
    db.execute(f"ALTER TABLE outbox OWNER TO {role}".encode())
    parts = urlsplit(database)
    yield urlunsplit(parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}"))
    db.execute(f"DROP OWNED BY {role}".encode())
    db.execute(f"DROP ROLE {role}".encode())


def test_rows_that_a_policy_hides_are_not_left_out_unsaid(db: psycopg.Connection, owner: str) -> None:
    options = (*BY_COLUMNS, "--order-by", "n")
    hides = "row-level security hides rows of public.outbox from"
    said = done(owner, "adopt", "check", *options).stdout
    assert hides in said
    assert "the table is empty" not in said
    for command in (
        ("install", "--backfill", "true", "--yes"),
        ("install", "--backfill", "true", "--dry-run"),
        # The trigger would delete as the owner, whom the policy shows half of the rows.
        ("install", "--purge", "--yes"),
    ):
        refused = relay(owner, "adopt", command[0], *options, *command[1:])
        assert (refused.exit_code, hides in refused.stderr) == (8, True), refused.output
    done(owner, "adopt", "install", *options, "--yes")
    backfill = ("adopt", "backfill", *options, "--where", "true", "--yes")
    refused = relay(owner, *backfill)
    assert (refused.exit_code, hides in refused.stderr) == (8, True), refused.output
    db.execute("ALTER TABLE outbox NO FORCE ROW LEVEL SECURITY")
    assert "10 rows were copied" in done(owner, *backfill).stdout
