"""``relay migrate``, and how commands fail on a database."""

import re
import uuid
from urllib.parse import urlsplit

import psycopg
import pytest

from relay.errors import Exit
from tests.support.relay_cli import done, relay


def test_migrating_makes_the_outbox_and_again_changes_nothing(empty_database: str) -> None:
    first = done(empty_database, "migrate")
    assert first.stdout == ""
    *applied, last = first.stderr.splitlines()
    assert applied[0] == "applied 0001_outbox"
    assert last == "outbox_events is up to date"
    again = done(empty_database, "migrate")
    assert again.stderr == "outbox_events is up to date; there was nothing to do\n"
    assert re.search(r"^backlog +0$", done(empty_database, "status").stdout, re.MULTILINE)


def test_a_dry_run_says_what_would_be_applied_and_applies_nothing(empty_database: str) -> None:
    first = done(empty_database, "migrate", "--dry-run")
    assert first.stderr.splitlines()[0] == "would apply 0001_outbox"
    assert first.stderr.endswith("dry run, nothing is changed\n")
    assert relay(empty_database, "status").exit_code == 3
    done(empty_database, "migrate")
    assert done(empty_database, "migrate", "--dry-run").stderr == (
        "outbox_events is up to date; there is nothing to do\ndry run, nothing is changed\n"
    )
    with psycopg.connect(empty_database) as conn:
        conn.execute("DELETE FROM outbox_migrations WHERE version > 3")
    assert done(empty_database, "migrate", "--dry-run").stderr.splitlines()[0] == "would apply 0004_sixty_four_shards"


def test_what_is_printed_makes_the_same_outbox(empty_database: str) -> None:
    script = done(None, "migrate", "--print", "--payload-type", "text", "--no-bell").stdout
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(script.encode())
    assert "payload text" in done(empty_database, "status").stdout
    again = done(empty_database, "migrate", "--payload-type", "text", "--no-bell")
    assert again.stderr.endswith("nothing to do\n")


def test_table_and_payload_type_and_bell_can_be_chosen(empty_database: str) -> None:
    done(empty_database, "migrate", "--table", "app.billing", "--payload-type", "bytea", "--no-bell")
    assert "app.billing, payload bytea" in done(empty_database, "status", "--table", "app.billing").stdout
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'outbox_bell'").fetchone() == (0,)


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_an_existing_outbox_keeps_its_payload_type_and_says_so(empty_database: str, dry_run: list[str]) -> None:
    done(empty_database, "migrate", "--payload-type", "text")
    done(empty_database, "migrate", *dry_run)
    result = relay(empty_database, "migrate", "--payload-type", "jsonb", *dry_run)
    assert result.exit_code == Exit.CONFIG
    assert "the payload of outbox_events is text, and an existing outbox keeps its type" in result.stderr


@pytest.mark.parametrize("command", [["status"], ["list"], ["show", "1"], ["audit"]])
def test_without_the_outbox_commands_end_with_3_and_say_what_to_do(empty_database: str, command: list[str]) -> None:
    result = relay(empty_database, *command)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "run `relay migrate`" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["status"], ["migrate"]])
def test_an_outbox_of_a_newer_release_is_let_alone(database: str, command: list[str]) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO outbox_migrations (version, name) VALUES (9999, 'later')")
    result = relay(database, *command)
    assert result.exit_code == 3
    assert "newer" in result.stderr


@pytest.mark.parametrize("command", [["status"], ["list"], ["show", "1"], ["migrate"]])
def test_an_unreachable_database_ends_with_5_and_shows_no_password(command: list[str]) -> None:
    result = relay("postgresql://u:hunter2@127.0.0.1:1/d", *command)
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error: PostgreSQL does not answer: ")
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output


@pytest.mark.denials
def test_what_is_not_permitted_is_one_line(database: str) -> None:
    role = f"stranger_{database.rsplit('_', 1)[1]}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN".encode())
    try:
        address = psycopg.conninfo.make_conninfo(database, user=role)
        result = relay(address, "list")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: PostgreSQL does not permit it: permission denied for table")
        assert len(result.stderr.splitlines()) == 1
    finally:
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute(f"DROP ROLE {role}".encode())


def test_the_reader_role_may_look(database: str) -> None:
    role = f"looker_{database.rsplit('_', 1)[1]}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN IN ROLE outbox_reader".encode())
        conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('a', '1')")
    try:
        address = psycopg.conninfo.make_conninfo(database, user=role)
        done(address, "status")
        assert done(address, "list").stdout.count("\n") == 2
        done(address, "show", "1")
    finally:
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute(f"DROP ROLE {role}".encode())


def test_roles_that_the_login_may_not_make_are_named_and_get_their_rights_the_next_time(empty_database: str) -> None:
    name = f"owner_{uuid.uuid4().hex[:8]}"
    table = f"{name}_events"
    parts = urlsplit(empty_database)
    own = parts._replace(netloc=f"{name}:own@{parts.hostname}:{parts.port}").geturl()
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'own'; CREATE SCHEMA home AUTHORIZATION {name}".encode())
        told = done(own, "migrate", "--table", f"home.{table}").stderr
        for role in (f"{name}_producer", f"{name}_relay", f"{name}_reader"):
            assert f"have an administrator CREATE ROLE {role} NOLOGIN, then migrate again" in told
            conn.execute(f"CREATE ROLE {role} NOLOGIN".encode())
        assert "skipping" not in told
        refused = relay(own, "migrate", "--table", f"elsewhere.{table}")
        assert (refused.exit_code, "migrating takes the owner" in refused.stderr) == (Exit.FAULT, True)
        assert "CREATE ROLE" not in done(own, "migrate", "--table", f"home.{table}").stderr
        may = conn.execute(
            "SELECT has_table_privilege(%s, %s, 'DELETE')", (f"{name}_relay", f"home.{table}")
        ).fetchone()
        assert may == (True,)
        for role in (name, f"{name}_producer", f"{name}_relay", f"{name}_reader"):
            conn.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


def test_a_busy_table_is_waited_for_and_then_said(empty_database: str) -> None:
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE TABLE outbox_migrations (version int PRIMARY KEY, name text, applied_at timestamptz)")
        conn.commit()
        conn.execute("LOCK TABLE outbox_migrations")
        result = relay(empty_database, "migrate")
    assert result.exit_code == 1
    assert result.stderr == "error: the table, or a row of it, was busy for too long: try again\n"


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("made", "table", "told"),
    [
        ("outbox_events", "outbox", "outbox_migrations and the other companions would be those of outbox_events"),
        ("other", "other_events", "other_migrations and the other companions would be those of other"),
        ("app.billing_events", "app.billing", "app.billing_migrations and the other companions would be those of"),
        ("outbox_events", "outbox_shards", "is there already and is no outbox"),
        ("outbox_events", "orders", "is there already and is no outbox"),
    ],
)
def test_a_name_that_would_take_what_is_of_another_table_is_refused_and_changes_nothing(
    empty_database: str, made: str, table: str, told: str, dry_run: list[str]
) -> None:
    done(empty_database, "migrate", "--table", made)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE TABLE orders (id int)")
        names = "SELECT array_agg(oid::regclass::text ORDER BY 1) FROM pg_class WHERE relnamespace > 16000"
        before = conn.execute(names).fetchall()
        result = relay(empty_database, "migrate", "--table", table, *dry_run)
        assert (result.exit_code, result.stdout) == (Exit.CONFIG, "")
        assert result.stderr.startswith(f"error: table {table}: ") and told in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert conn.execute(names).fetchall() == before
    assert "nothing to do" in done(empty_database, "migrate", "--table", made).stderr


def test_what_is_left_of_an_outbox_whose_table_is_gone_is_told(empty_database: str) -> None:
    done(empty_database, "migrate")
    with psycopg.connect(empty_database) as conn:
        conn.execute("DROP TABLE outbox_events")
    result = relay(empty_database, "migrate")
    assert result.exit_code == Exit.CONFIG
    assert "outbox_migrations says that it was made, and it is gone" in result.stderr


def test_companions_that_are_there_and_belong_to_no_outbox_are_told_in_a_line(empty_database: str) -> None:
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE TABLE outbox_shards (id int)")
    result = relay(empty_database, "migrate")
    assert result.exit_code == Exit.CONFIG
    assert "outbox_shards" in result.stderr
    assert len(result.stderr.splitlines()) == 1
