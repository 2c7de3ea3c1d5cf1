"""An adopted table that is dropped, made again, renamed or moved: it is told, and can be adopted and left again."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.relay_cli import done, relay

TABLE = "CREATE TABLE src (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), topic text DEFAULT 'orders', payload jsonb)"
OPTIONS = ("--source", "src", "--topic", "{topic}", "--yes")
INSTALL = ("adopt", "install", *OPTIONS)
GONE = "its trigger is gone, alone or with the table: nothing is copied"


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(TABLE)
        done(database, *INSTALL)
        yield conn


def copied(db: psycopg.Connection, table: str = "src") -> int:
    """Insert a row; return how many events that made."""
    count = "SELECT count(*) FROM outbox_events"
    (before,) = db.execute(count).fetchone() or (0,)
    db.execute(f"INSERT INTO {table} DEFAULT VALUES".encode())
    (after,) = db.execute(count).fetchone() or (0,)
    return int(after - before)


def left_over(db: psycopg.Connection) -> list[str]:
    """Return the triggers and functions of adoptions."""
    found = db.execute(
        "SELECT tgname::text FROM pg_trigger WHERE tgname LIKE '%adopt%'"
        " UNION ALL SELECT proname::text FROM pg_proc WHERE proname LIKE 'outbox_adopt%'"
    )
    return [name for (name,) in found.fetchall()]


DROPS = {
    "the table": ("DROP TABLE src",),
    "the table, made again": ("DROP TABLE src", TABLE),
    "the trigger": ("DROP TRIGGER outbox_adopt ON src",),
}


@pytest.mark.parametrize("drops", DROPS.values(), ids=DROPS)
def test_an_adoption_whose_trigger_is_gone_is_told_until_it_is_ended(
    database: str, db: psycopg.Connection, drops: tuple[str, ...]
) -> None:
    for statement in drops:
        db.execute(statement.encode())
    found = relay(database, "adopt", "status")
    assert (found.exit_code, "public" in found.stdout, GONE in found.stdout) == (8, True, True), found.output
    findings = json.loads(relay(database, "doctor", "--output", "json").stdout)["findings"]
    assert [one["level"] for one in findings if one["check"] == 'adoption "public"."src"'] == ["fault"]
    remove = ("adopt", "remove", "--source", "public.src")
    done(database, *remove, "--dry-run")
    assert GONE in relay(database, "adopt", "status").stdout
    assert "public.src is no longer adopted" in done(database, *remove, "--yes").stdout
    assert done(database, "adopt", "status").stderr == "nothing is adopted\n"
    assert left_over(db) == []
    assert relay(database, *remove, "--yes").exit_code in (2, 8)


@pytest.mark.parametrize("drops", [DROPS["the table, made again"], DROPS["the trigger"]])
def test_a_table_that_is_made_again_is_adopted_again(
    database: str, db: psycopg.Connection, drops: tuple[str, ...]
) -> None:
    for statement in drops:
        db.execute(statement.encode())
    assert copied(db) == 0
    done(database, *INSTALL)
    assert copied(db) == 1
    assert "copies each new row" in done(database, "adopt", "status").stdout
    assert len(left_over(db)) == 2


@pytest.mark.parametrize("kept", ["TRIGGER outbox_adopt ON src", "FUNCTION {function}", "both"])
def test_an_adoption_that_has_lost_a_comment_is_known_by_the_other_and_replaced(
    database: str, db: psycopg.Connection, kept: str
) -> None:
    row = db.execute("SELECT tgfoid::regprocedure::text FROM pg_trigger WHERE tgname = 'outbox_adopt'").fetchone()
    names = ["TRIGGER outbox_adopt ON src", f"FUNCTION {row[0] if row else ''}"]
    for name in names if kept == "both" else [kept.format(function=row[0] if row else "")]:
        db.execute(f"COMMENT ON {name} IS NULL".encode())
    known = done(database, "adopt", "status")
    assert ("copies each new row" in known.stdout) == (kept != "both")
    done(database, *INSTALL)
    assert copied(db) == 1
    done(database, "adopt", "remove", "--source", "src", "--yes")
    assert left_over(db) == []


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ("ALTER TABLE src RENAME TO src_old", "public.src_old"),
        ("CREATE SCHEMA app; ALTER TABLE src SET SCHEMA app", "app.src"),
        ("ALTER TRIGGER outbox_adopt ON src RENAME TO theirs", "public.src"),
    ],
)
@pytest.mark.parametrize("ends", [True, False])
def test_what_is_renamed_is_still_copied_and_can_be_ended_or_installed_again(
    database: str, db: psycopg.Connection, change: str, now: str, ends: bool
) -> None:
    db.execute(change.encode())
    assert copied(db, now) == 1
    said = done(database, "adopt", "status").stdout
    assert ("the table was public.src when it was installed" in said) == (now != "public.src")
    if ends:
        done(database, "adopt", "remove", "--source", now, "--yes")
        assert (copied(db, now), left_over(db)) == (0, [])
    else:
        done(database, "adopt", "install", "--source", now, *OPTIONS[2:])
        assert (copied(db, now), len(left_over(db))) == (1, 2)
        assert "when it was installed" not in done(database, "adopt", "status").stdout


def test_a_table_that_takes_the_name_of_an_adopted_one_waits_for_its_end(database: str, db: psycopg.Connection) -> None:
    db.execute("ALTER TABLE src RENAME TO src_old")
    db.execute(TABLE)
    for more in ((), ("--dry-run",)):
        refused = relay(database, *(one for one in INSTALL if not more or one != "--yes"), *more)
        assert refused.exit_code == 8, refused.output
        assert "src_old was called public.src when it was adopted" in refused.stderr
    assert copied(db, "src_old") == 1
    done(database, "adopt", "remove", "--source", "src_old", "--yes")
    done(database, *INSTALL)
    assert (copied(db, "src_old"), copied(db)) == (0, 1)


def test_rows_that_are_deleted_by_a_former_name_break_the_adoption(database: str, db: psycopg.Connection) -> None:
    done(database, *INSTALL, "--purge")
    db.execute("ALTER TABLE src RENAME TO src_old")
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("INSERT INTO src_old DEFAULT VALUES")
    found = relay(database, "adopt", "status")
    assert (found.exit_code, "each insert fails, or deletes from another table" in found.stdout) == (8, True)
    done(database, "adopt", "install", "--source", "src_old", *OPTIONS[2:], "--purge")
    assert copied(db, "src_old") == 1
