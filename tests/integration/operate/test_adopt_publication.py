"""A publication with a row filter or a list of columns: what its reader saw becomes events, and it is given back."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.relay_cli import done, relay

TABLE = """
CREATE TABLE outbox (
    id uuid NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype varchar(255) NOT NULL,
    aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb, note text
)"""
CARRIED = (
    "SELECT t.tablename, t.attnames::text[], t.rowfilter, r.prattrs IS NOT NULL"
    " FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid"
    " JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.tablename = c.relname"
    " WHERE p.pubname = 'dbz' ORDER BY 1"
)
INSERT = "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES (%s, '42', 'placed', '{}')"
CUTOVER = ("adopt", "cutover", "--preset", "debezium", "--publication", "dbz", "--yes")
REMOVE = ("adopt", "remove", "--source", "outbox", "--yes", "--give-back")


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        if conn.info.server_version < 150000:
            pytest.skip("this run was pointed at a PostgreSQL older than 15, which has no row filter")
        conn.execute(TABLE)
        conn.execute("CREATE TABLE other (id int PRIMARY KEY)")
        yield conn


@pytest.mark.parametrize(
    "carried",
    [
        "",
        "(id, aggregatetype, aggregateid, type, payload)",
        "WHERE (aggregatetype = 'it''s' AND id IS NOT NULL)",
        "(id, aggregatetype, type) WHERE (aggregatetype = 'order')",
    ],
)
def test_it_is_given_back_as_it_was_carried(database: str, db: psycopg.Connection, carried: str) -> None:
    db.execute(f"CREATE PUBLICATION dbz FOR TABLE outbox {carried}".encode())
    before = db.execute(CARRIED).fetchall()
    done(database, *CUTOVER, "--when", "true")
    assert db.execute(CARRIED).fetchall() == []
    db.execute("CREATE PUBLICATION another")
    done(database, *REMOVE, "dbz")
    assert db.execute(CARRIED).fetchall() == before
    # To another publication it goes as a whole.
    done(database, *CUTOVER, "--when", "true")
    done(database, *REMOVE, "another")
    whole = db.execute("SELECT prattrs IS NULL, prqual IS NULL FROM pg_publication_rel").fetchall()
    assert whole == [(True, True)]


def test_rows_that_its_reader_never_saw_become_no_events_unasked(database: str, db: psycopg.Connection) -> None:
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox WHERE (aggregatetype = 'order')")
    check = done(database, "adopt", "check", "--preset", "debezium").stdout
    assert "publication dbz carries only the rows for which ((aggregatetype)::text = 'order'::text)" in check
    refused = relay(database, *CUTOVER)
    assert (refused.exit_code, "name the same by --when" in refused.stderr) == (8, True)
    done(database, *CUTOVER, "--when", "new.aggregatetype = 'order'")
    for kind in ("order", "draft"):
        db.execute(INSERT, (kind,))
    assert db.execute("SELECT topic FROM outbox_events").fetchall() == [("outbox.event.order",)]


def test_what_carries_the_table_already_is_not_given_it_again(database: str, db: psycopg.Connection) -> None:
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
    done(database, "adopt", "install", "--preset", "debezium", "--yes")
    refused = relay(database, *REMOVE, "dbz")
    assert (refused.exit_code, "publication dbz carries public.outbox already" in refused.stderr) == (8, True)
    assert "debezium" in done(database, "adopt", "status").stdout


@pytest.mark.parametrize("rows", ["true), TABLE other WHERE (true", "true); DROP TABLE other; --"])
def test_a_comment_that_somebody_has_changed_puts_nothing_else_into_the_publication(
    database: str, db: psycopg.Connection, rows: str
) -> None:
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox WHERE (aggregatetype = 'order')")
    done(database, *CUTOVER, "--when", "true")
    (comment,) = db.execute(
        "SELECT description FROM pg_description WHERE description LIKE '%publication_rows%'"
    ).fetchone() or ("",)
    changed = comment.replace("((aggregatetype)::text = 'order'::text)", rows)
    assert changed != comment
    db.execute(psycopg.sql.SQL("COMMENT ON TRIGGER outbox_adopt ON outbox IS {}").format(psycopg.sql.Literal(changed)))
    assert relay(database, *REMOVE, "dbz").exit_code != 0
    assert db.execute(CARRIED).fetchall() == []
    assert db.execute("SELECT to_regclass('other') IS NOT NULL").fetchone() == (True,)
    assert "debezium" in done(database, "adopt", "status").stdout


PARTITIONED = """
CREATE SCHEMA shop;
CREATE TABLE shop.outbox (
    id uuid NOT NULL DEFAULT gen_random_uuid(), aggregatetype text NOT NULL DEFAULT 'order', aggregateid text,
    type text, payload jsonb, n bigserial, PRIMARY KEY (id, n)
) PARTITION BY RANGE (n);
CREATE TABLE shop.outbox_1 PARTITION OF shop.outbox FOR VALUES FROM (0) TO (100);
CREATE TABLE shop.outbox_2 PARTITION OF shop.outbox FOR VALUES FROM (100) TO (1000);
"""


@pytest.mark.parametrize(
    ("carried", "source", "left"),
    [
        ("FOR TABLES IN SCHEMA shop, TABLE shop.outbox", "shop.outbox", "shop.outbox_1, shop.outbox_2"),
        ("FOR TABLES IN SCHEMA shop, TABLE shop.outbox_1", "shop.outbox_1", "shop.outbox_1"),
        ("FOR TABLE shop.outbox, shop.outbox_1", "shop.outbox", "shop.outbox_1"),
        ("FOR TABLE shop.outbox, shop.outbox_1", "shop.outbox_1", "shop.outbox_1"),
        (
            "FOR TABLE shop.outbox, shop.outbox_1 WITH (publish_via_partition_root)",
            "shop.outbox_1",
            "shop.outbox",
        ),
    ],
)
def test_what_its_publication_sends_all_the_same_is_not_handed_over(
    database: str, db: psycopg.Connection, carried: str, source: str, left: str
) -> None:
    db.execute(PARTITIONED.encode())
    db.execute(f"CREATE PUBLICATION dbz {carried}".encode())
    before = db.execute("SELECT * FROM pg_publication_tables ORDER BY 1, 2, 3").fetchall()
    for more in (("--dry-run",), ()):
        refused = relay(database, *CUTOVER, "--source", source, *more)
        assert refused.exit_code == 8, refused.output
        assert f"without {source} publication dbz still sends rows of it" in refused.stderr
        assert f"it carries {left};" in refused.stderr
    assert db.execute("SELECT * FROM pg_publication_tables ORDER BY 1, 2, 3").fetchall() == before
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"


@pytest.mark.parametrize("again", ["ADD TABLE outbox", "ADD TABLES IN SCHEMA public"])
def test_a_table_that_its_reader_takes_back_is_told(database: str, db: psycopg.Connection, again: str) -> None:
    db.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
    done(database, *CUTOVER)
    assert done(database, "adopt", "status").stdout.rstrip().endswith("copies each new row")
    # As Debezium does at its next start, unless publication.autocreate.mode is disabled.
    db.execute(f"ALTER PUBLICATION dbz {again}".encode())
    seen = "publication dbz sends outbox again, so its reader gets the same rows"
    assert seen in done(database, "adopt", "status").stdout
    findings = json.loads(relay(database, "doctor", "--output", "json").stdout)["findings"]
    (found,) = [one for one in findings if one["check"].startswith("adoption ")]
    assert (found["level"], seen in found["seen"]) == ("warning", True), found
