"""Two releases on one schema: which relay works on which version, and what it says where it does not."""

import json
import re
import shutil
from pathlib import Path

import psycopg
import pytest

from relay.errors import Exit, SchemaError
from relay.postgres import migrate as migrations
from relay.postgres import tables as statements
from relay.postgres.migrate import Schema, check_schema, migrate, newest_version
from relay.postgres.tables import sql_directory
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams, assert_once_and_in_order
from tests.support.relay_cli import done, relay

OURS = newest_version()
# What a release would bring that lets the one before it go on: a column that nobody must know.
WIDER = "ALTER TABLE outbox_events ADD COLUMN region text;\nCREATE TABLE outbox_later (id int PRIMARY KEY);\n"


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The SQL of a release after this one, for the migrator of this process; return its next migration."""
    directory = tmp_path / "sql"
    shutil.copytree(sql_directory(), directory)
    monkeypatch.setattr(migrations, "sql_directory", lambda: directory)
    monkeypatch.setattr(statements, "sql_directory", lambda: directory)
    return directory / "migrations" / f"{OURS + 1:04}_wider.sql"


def upgrade(dsn: str, release: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrate as the next release does, and be this release again."""
    release.write_text(text, "utf-8")
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert migrate(conn, "outbox_events", "jsonb", bell=True) == [release.stem]
    monkeypatch.undo()
    assert newest_version() == OURS


def test_this_relay_works_on_the_next_schema_where_that_says_so(
    outbox: Outbox,
    streams: Streams,
    make_relay: MakeRelay,
    next_release: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams.make("ORDERS", "orders.>")
    running = make_relay(outbox.dsn, streams.url).start()
    running.said("relay.active")
    outbox.fill("orders.placed", 500, 10)
    upgrade(outbox.dsn, next_release, f"-- Oldest relay: {OURS}\n{WIDER}", monkeypatch)
    # Beside each other, as in a rolling update: one that has seen the schema change, and one that starts on it.
    beside = make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    assert running.stop() == Exit.DONE
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload, region)"
        " SELECT 'orders.placed', 'k' || mod(i, 10), jsonb_build_object('i', i), 'north'"
        " FROM generate_series(501, 1000) i"
    )
    outbox.drained()
    assert beside.stop() == Exit.DONE
    assert_once_and_in_order(streams.read("ORDERS"), 1000, 10)
    # Its migrator leaves the newer schema as it is: so may a release that is rolled back.
    assert "nothing to do" in done(outbox.dsn, "migrate").stderr
    assert f"schema version {OURS + 1}, newer than this relay's {OURS}" in done(outbox.dsn, "status").stdout
    looked = json.loads(relay(outbox.dsn, "doctor", "--output", "json", RELAY_NATS__SERVERS=streams.url).stdout)
    assert [found["level"] for found in looked["findings"] if found["check"] == "schema"] == ["ok"]


def test_this_relay_lets_the_next_schema_alone_where_that_does_not_know_it(
    outbox: Outbox, nats: str, make_relay: MakeRelay, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(outbox.dsn, next_release, WIDER, monkeypatch)
    seq = outbox.insert("orders.placed", "k")
    refused = make_relay(outbox.dsn, nats).start()
    assert refused.wait() == Exit.SCHEMA
    assert f"needs a relay that knows {OURS + 1}: use a newer relay" in refused.text()
    for command in ("migrate", "status"):
        assert relay(outbox.dsn, command).exit_code == Exit.SCHEMA
    assert outbox.row(seq)["delivered_at"] is None


def test_on_the_schema_of_one_version_back_this_relay_asks_for_migrate_and_then_works(
    empty_database: str,
    streams: Streams,
    make_relay: MakeRelay,
    next_release: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (newest,) = next_release.parent.glob(f"{OURS:04}_*.sql")
    roles = next_release.parent.parent / "roles.sql"
    granted = roles.read_text("utf-8")
    for column in re.findall(r"ADD COLUMN (\w+)", newest.read_text("utf-8")):
        granted = granted.replace(f"{column}, ", "")
    for function in re.findall(r"CREATE FUNCTION (\w+)", newest.read_text("utf-8")):
        granted = re.sub(rf"GRANT EXECUTE ON FUNCTION {function}\(.*;", "", granted)
    for table in re.findall(r"CREATE TABLE (\w+)", newest.read_text("utf-8")):
        granted = re.sub(rf"GRANT SELECT ON {table} TO .*;", "", granted).replace(f", {table}", "")
    roles.write_text(granted, "utf-8")
    newest.unlink()
    with psycopg.connect(empty_database, autocommit=True) as conn:
        migrate(conn, "outbox_events", "jsonb", bell=True)
    monkeypatch.undo()
    outbox = Outbox(empty_database)
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    early = make_relay(empty_database, streams.url).start()
    assert early.wait() == Exit.SCHEMA
    assert f"version {OURS - 1} of outbox_events is older than {OURS}: run `relay migrate`" in early.text()
    assert done(empty_database, "migrate").stderr.splitlines()[0] == f"applied {newest.stem}"
    streams.make("ORDERS", "orders.>")
    late = make_relay(empty_database, streams.url).start()
    outbox.delivered(seq)
    assert late.stop() == Exit.DONE
    outbox.conn.close()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "does not exist"),
        (Schema(OURS - 1, OURS - 1), "run `relay migrate`"),
        (Schema(OURS, OURS), None),
        (Schema(OURS, OURS - 1), None),
        (Schema(OURS + 1, OURS + 1), "use a newer relay"),
        (Schema(OURS + 2, OURS), None),
        (Schema(OURS + 2, OURS + 1), "use a newer relay"),
    ],
)
def test_a_schema_is_worked_on_where_it_is_known_or_says_that_it_needs_not_be(
    found: Schema | None, says: str | None
) -> None:
    if says is None:
        check_schema(found, "outbox_events")
    else:
        with pytest.raises(SchemaError, match=says):
            check_schema(found, "outbox_events")


def test_one_migration_that_needs_to_be_known_is_enough(
    database: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_release.write_text("CREATE TABLE outbox_later (id int);\n", "utf-8")
    after = next_release.with_name(f"{OURS + 2:04}_mild.sql")
    upgraded = f"-- Oldest relay: {OURS}\nALTER TABLE outbox_events ADD COLUMN region text;\n"
    after.write_text(upgraded, "utf-8")
    with psycopg.connect(database, autocommit=True) as conn:
        assert len(migrate(conn, "outbox_events", "jsonb", bell=True)) == 2
    monkeypatch.undo()
    assert relay(database, "status").exit_code == Exit.SCHEMA


def test_no_migration_says_that_relays_may_stay_which_cannot_know_the_rule() -> None:
    """The column that holds the promise came with a migration: what is older than it cannot read the promise."""
    for path in sorted((sql_directory() / "migrations").glob("*.sql")):
        found = migrations._OLDEST.search(path.read_text("utf-8"))
        if found:
            (rule,) = (sql_directory() / "migrations").glob("*_oldest_relay.sql")
            assert int(rule.name[:4]) <= int(found[1]) < int(path.name[:4])
