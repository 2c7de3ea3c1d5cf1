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
