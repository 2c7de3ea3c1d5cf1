"""Whatever a DBA or the environment has set for the relay's role, it delivers what is in the table, or says why not."""

import json
import re

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from relay.demo.servers import PostgresServer
from relay.errors import Exit
from relay.postgres.migrate import migrate
from tests.support.fix_pgbouncer import MakePooler
from tests.support.fix_relay import MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_rights import LOGIN, as_relay
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay as relay_cli

KEY, PAYLOAD = "ключ ☃", {"text": "naïve ☃ 'quoted' \\ back", "n": 0.1}

# What a DBA can set for a role or a database, with the value that hurts most, in groups that are tried together.
SETTINGS = {
    "encoding LATIN1": {"client_encoding": "LATIN1"},
    "encoding SQL_ASCII": {"client_encoding": "SQL_ASCII"},
    "form of values": {
        "DateStyle": "German, DMY",
        "IntervalStyle": "sql_standard",
        "TimeZone": "Asia/Kathmandu",
        "timezone_abbreviations": "India",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "standard_conforming_strings": "off",
        "backslash_quote": "off",
        "transform_null_equals": "on",
        "array_nulls": "off",
        "quote_all_identifiers": "on",
    },
    "limits": {
        "statement_timeout": "20ms",
        "lock_timeout": "1ms",
        "idle_session_timeout": "300ms",
        "idle_in_transaction_session_timeout": "1ms",
    },
    "serializable": {"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on"},
    "repeatable read": {"default_transaction_isolation": "repeatable read"},
    "planner": {
        "enable_indexscan": "off",
        "enable_nestloop": "off",
        "plan_cache_mode": "force_generic_plan",
        "jit_above_cost": "0",
        "work_mem": "64kB",
    },
    "others": {"row_security": "off", "synchronous_commit": "off", "search_path": '"$user", public, pg_catalog'},
}
ENVIRONMENT = {
    "options": {"PGOPTIONS": "-c statement_timeout=20ms -c DateStyle=German -c extra_float_digits=-15"},
    "variables": {
        "PGCLIENTENCODING": "LATIN1",
        "PGDATESTYLE": "SQL, DMY",
        "PGTZ": "Asia/Kathmandu",
        "PGTARGETSESSIONATTRS": "standby",
        "PGAPPNAME": "another",
        "PGGEQO": "off",
        "PGCONNECT_TIMEOUT": "1",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    },
}


def set_for_login(outbox: Outbox, name: str, value: str) -> None:
    """Set something for the relay's login in the test's own database."""
    database = outbox.conn.info.dbname
    text = sql.SQL(value) if name == "search_path" else sql.Literal(value)
    outbox.conn.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
            sql.Identifier(LOGIN), sql.Identifier(database), sql.SQL(name), text
        )
    )


def delivers(outbox: Outbox, streams: Streams, relay: Relay) -> None:
    """Send events whose text and values suffer from each setting, and have some retried; nothing may change them."""
    relay.start()
    seq = outbox.insert("orders.placed", KEY, PAYLOAD, {"Note": "x"})
    outbox.delivered(seq, timeout_s=10)
    relay.said("relay.active")
    # It sleeps on the bell, for longer than a session may be idle.
    outbox.conn.execute("SELECT pg_sleep(0.6)")
    outbox.delivered(outbox.insert("orders.placed", KEY, PAYLOAD), timeout_s=10)
    # One that waits: its reason is written, and read again.
    waiting = outbox.insert("nowhere.x", KEY, PAYLOAD)
    wait_until("it says why it waits", lambda: outbox.row(waiting)["last_error"] is not None)
    for message in streams.read("ORDERS"):
        assert json.loads(message.data) == PAYLOAD
        assert message.headers["Outbox-Key"] == KEY
    assert not relay.lines("postgres.lost"), relay.lines("postgres.lost")
    assert not relay.lines("database.changed")
    assert relay.stop() == 0


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_of_the_role_change_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, settings: dict[str, str]
) -> None:
    streams.make("ORDERS", "orders.>")
    for name, value in settings.items():
        set_for_login(outbox, name, value)
    delivers(outbox, streams, make_relay(outbox.dsn, streams.url, headers__key="true"))
    listed = relay_cli(as_relay(outbox.dsn), "list", "--state", "any", "--output", "json")
    assert listed.exit_code == 0, listed.stderr
    assert [json.loads(line)["key"] for line in listed.stdout.splitlines()] == [KEY] * 3


@pytest.mark.parametrize("settings", ENVIRONMENT.values(), ids=ENVIRONMENT.keys())
def test_settings_of_the_environment_change_nothing(
    outbox: Outbox,
    streams: Streams,
    make_relay: MakeRelay,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    streams.make("ORDERS", "orders.>")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    delivers(outbox, streams, make_relay(outbox.dsn, streams.url, headers__key="true"))


def started_with(outbox: Outbox, streams: Streams, make_relay: MakeRelay, name: str, value: str) -> Relay:
    """Start a relay whose login has a setting of its own."""
    streams.make("ORDERS", "orders.>")
    set_for_login(outbox, name, value)
    return make_relay(outbox.dsn, streams.url).start()


@pytest.mark.denials
def test_a_role_that_may_only_read_is_said_in_one_line_and_waited_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    relay = started_with(outbox, streams, make_relay, "default_transaction_read_only", "on")
    assert "read-only transaction" in relay.said("postgres.lost")["error"]
    wait_until("it is not ready", lambda: relay.get("/readyz")[0] == 503)
    outbox.conn.execute(f"ALTER ROLE {LOGIN} IN DATABASE {outbox.conn.info.dbname} RESET ALL".encode())
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))


def test_a_search_path_that_leads_elsewhere_is_said_in_one_line(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    relay = started_with(outbox, streams, make_relay, "search_path", "pg_catalog")
    assert relay.wait() == Exit.SCHEMA
    assert "search path" in relay.text()
    named = make_relay(outbox.dsn, streams.url, postgres__table="public.outbox_events", headers__key="true")
    delivers(outbox, streams, named)


def test_behind_a_pooler_the_sessions_of_others_stay_as_they_are(
    own_postgres: PostgresServer, pooler: MakePooler, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox = Outbox(own_postgres.dsn())
    outbox.conn.execute(f"ALTER ROLE {LOGIN} SET statement_timeout = '9s'".encode())
    through = pooler(own_postgres, "transaction")
    relay = make_relay(through, streams.url).start()
    assert "statement_timeout = 9s" in relay.said("postgres.settings")["settings"]
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    with psycopg.connect(through, autocommit=True, prepare_threshold=None) as other:
        for _ in range(5):
            assert other.execute("SHOW statement_timeout").fetchone() == ("9s",)
    outbox.conn.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@pytest.mark.parametrize("command", ["migrate", "status", "doctor"])
def test_a_database_that_is_not_utf_8_is_refused_in_one_line(
    postgres_dsn: str, streams: Streams, encoding: str, command: str
) -> None:
    name = f"test_{encoding.lower()}_{command}"
    with psycopg.connect(postgres_dsn, autocommit=True) as conn:
        conn.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
        try:
            found = relay_cli(make_conninfo(postgres_dsn, dbname=name), command, RELAY_NATS__SERVERS=streams.url)
        finally:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert found.exit_code == (Exit.UNFIT if command == "doctor" else Exit.SCHEMA)
    said = found.stdout if command == "doctor" else found.stderr
    assert len(re.findall(rf"encodes text as {encoding}", said)) == 1
    assert "Traceback" not in found.stderr


def test_a_relay_ends_with_one_line_on_a_database_that_is_not_utf_8(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay
) -> None:
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    relay = make_relay(own_postgres.dsn("latin"), streams.url).start()
    assert relay.wait() == Exit.SCHEMA
    assert len([line for line in relay.text().splitlines() if "encodes text as LATIN1" in line]) == 1


REVOKED = ["FUNCTION pg_control_system()", "FUNCTION pg_postmaster_start_time()", "pg_stat_archiver"]


@pytest.mark.parametrize("what", REVOKED)
def test_what_a_hosted_server_keeps_from_the_role_is_said_and_done_without(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay, what: str
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox = Outbox(own_postgres.dsn())
    outbox.conn.execute(f"REVOKE ALL ON {what} FROM PUBLIC".encode())
    relay = make_relay(own_postgres.dsn(), streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    assert relay.said("database.unknown")["denied"] == what.removeprefix("FUNCTION ")
    wait_until("the watermark", lambda: outbox.count("seq <= (SELECT min(watermark) FROM outbox_shards)") == 1)
    assert relay.stop() == 0
    assert len(relay.lines("database.unknown")) == 1
    outbox.conn.close()


def test_functions_that_were_taken_away_from_all_are_granted_to_the_roles_of_the_outbox(
    empty_database: str, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        migrate(conn, "outbox_events", "jsonb", bell=True)
    outbox = Outbox(empty_database)
    relay = make_relay(empty_database, streams.url).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    relay.stop()
    outbox.conn.close()


HIDING = {
    "rows": "ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY",
    "some rows": "ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;"
    " CREATE POLICY few ON outbox_events USING (topic = 'orders.mine')",
    "rows of some shards": "ALTER TABLE outbox_shards ENABLE ROW LEVEL SECURITY;"
    " CREATE POLICY few ON outbox_shards USING (shard < 7)",
    "rows by a restriction": "ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;"
    " CREATE POLICY all_rows ON outbox_events USING (true);"
    " CREATE POLICY few ON outbox_events AS RESTRICTIVE USING (topic = 'orders.mine')",
}


@pytest.mark.parametrize("running", [False, True], ids=["before the start", "while it runs"])
@pytest.mark.parametrize("statement", HIDING.values(), ids=HIDING.keys())
def test_a_relay_that_cannot_see_all_rows_says_so_and_is_not_ready(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, statement: str, running: bool
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url)
    if running:
        relay.start()
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(statement.encode())
    if not running:
        relay.start()
    assert relay.said("rows.hidden")["tables"] in statement
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    wait_until("it is not ready", lambda: relay.get("/readyz")[0] == 503)
    assert outbox.count("delivered_at IS NULL AND seq <= (SELECT max(watermark) FROM outbox_shards)") == 0
    outbox.conn.execute(
        "ALTER TABLE outbox_events DISABLE ROW LEVEL SECURITY; ALTER TABLE outbox_shards DISABLE ROW LEVEL SECURITY"
    )
    outbox.delivered(seq)
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)


def test_row_level_security_that_shows_the_relay_every_row_hinders_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute(
        "ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY the_relay ON outbox_events TO outbox_relay USING (true);"
        " CREATE POLICY tenants ON outbox_events TO outbox_producer USING (topic = current_user)"
    )
    delivers(outbox, streams, make_relay(outbox.dsn, streams.url, headers__key="true"))
