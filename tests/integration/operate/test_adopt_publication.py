"""A publication with a row filter or a list of columns: what its reader saw becomes events, and it is given back."""

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
    assert (refused.exit_code, "publication dbz carries outbox already" in refused.stderr) == (8, True)
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
