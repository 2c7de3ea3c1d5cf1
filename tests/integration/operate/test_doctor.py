"""``relay doctor`` on real servers: each fault is made for real, and found with the rights of the relay."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from relay.demo.servers import NatsServer, PostgresServer, free_port
from relay.errors import Exit
from relay.operate.doctor import gather_postgres
from relay.postgres.migrate import migrate
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_rights import NATS_USER, as_relay, let_relay_in, nats_config
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay

AS_RELAY = {f"RELAY_{name.upper()}": value for name, value in NATS_USER.items()}


@pytest.fixture(scope="module")
def good_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL with nothing to complain of: the suite's own runs without fsync, for speed."""
    with PostgresServer(tmp_path_factory.mktemp("good")) as server:
        let_relay_in(server.dsn())
        with psycopg.connect(server.dsn()) as conn:
            conn.execute(f"CREATE ROLE {SERVICE}".encode())
            migrate(conn, "outbox_events", "jsonb", bell=True)
        yield server


@pytest.fixture
def outbox(good_server: PostgresServer) -> Iterator[Outbox]:
    """An outbox of the test's own, to be spoilt."""
    name = f"doctor_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(good_server.dsn("template1"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE postgres".encode())
        one = Outbox(good_server.dsn(name))
        yield one
        one.conn.close()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def examine(dsn: str, url: str, *args: str, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the doctor with the least rights; return its exit code, and what is not ok by check."""
    environ = {"RELAY_NATS__SERVERS": url, **AS_RELAY, **environ}
    result = relay(as_relay(dsn), "doctor", "--output", "json", *args, **environ)
    assert "Traceback" not in result.output
    found = json.loads(result.stdout)["findings"]
    return result.exit_code, {one["check"]: one for one in found if one["level"] != "ok"}


def stream(streams: Streams, **config: Any) -> None:
    """Make a stream that the doctor finds nothing wrong with, but for what is given."""
    good = {"discard": "new", "allow_atomic": True, "allow_direct": True}
    streams.make("ORDERS", "orders.>", **{**good, **config})


def test_a_good_set_up_has_nothing_but_ok_and_is_left_as_it_was(outbox: Outbox, streams: Streams) -> None:
    stream(streams)
    seq = outbox.insert("orders.placed", "k", {"i": 1})
    before = outbox.row(seq)
    code, told = examine(outbox.dsn, streams.url)
    assert (code, told) == (Exit.DONE, {})
    assert outbox.row(seq) == before
    assert outbox.count("true") == 1
    assert streams.messages("ORDERS") == 0
    assert outbox.conn.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)


def test_row_level_security_that_shows_the_relay_every_row_is_no_fault(outbox: Outbox, streams: Streams) -> None:
    stream(streams)
    outbox.conn.execute(
        "ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY the_relay ON outbox_events TO outbox_relay USING (true)"
    )
    assert examine(outbox.dsn, streams.url) == (Exit.DONE, {})


def test_a_running_relay_is_not_disturbed_and_people_can_read_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    stream(streams)
    daemon = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 500, keys=7)
    result = relay(as_relay(outbox.dsn), "doctor", RELAY_NATS__SERVERS=streams.url, **AS_RELAY)
    assert result.exit_code == Exit.DONE, result.output
    assert result.stdout.endswith("no faults, no warnings\n")
    assert "  ok       rights" in result.stdout
    outbox.drained()
    assert streams.messages("ORDERS") == 500
    assert not daemon.lines("hold.opened")


LOWEST_SEQ = (
    "INSERT INTO outbox_events (seq, topic, payload) OVERRIDING SYSTEM VALUE"
    " VALUES (-9223372036854775808, 'orders.placed', '1')"
)

AS_A_VIEW = (
    "ALTER TABLE outbox_events RENAME TO kept_events; CREATE VIEW outbox_events AS SELECT * FROM kept_events;"
    " GRANT SELECT, UPDATE, DELETE ON outbox_events TO outbox_relay"
)


SERVICE = '"shop service"'
AS_DEFAULT_PRIVILEGES_DO = (
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_events, outbox_shards TO {SERVICE};"
    " GRANT SELECT ON outbox_events TO PUBLIC"
)


@pytest.mark.parametrize(
    ("fault", "check", "seen"),
    [
        ("REVOKE UPDATE (delivered_at) ON outbox_events FROM outbox_relay", "rights", "UPDATE on outbox_events"),
        ("REVOKE DELETE ON outbox_events FROM outbox_relay", "rights", "DELETE on outbox_events"),
        ("REVOKE SELECT ON outbox_shards FROM outbox_relay", "rights", "SELECT on outbox_shards"),
        ("UPDATE outbox_migrations SET version = version + 1000", "schema", "knows"),
        ("DROP TABLE outbox_events CASCADE", "schema", "not in this database"),
        ("ALTER TABLE outbox_events ALTER COLUMN seq SET CACHE 32", "sequence", "a cache of 32"),
        ("ALTER TABLE outbox_events ALTER COLUMN seq DROP IDENTITY", "sequence", "no sequence"),
        ("ALTER TABLE outbox_events SET UNLOGGED", "table", "a crash empties it"),
        ("ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY", "table", "hides rows of outbox_events"),
        ("ALTER TABLE outbox_shards ENABLE ROW LEVEL SECURITY", "table", "hides rows of outbox_shards"),
        ("ALTER TABLE outbox_events SET (autovacuum_enabled = false)", "autovacuum", "is off"),
        (LOWEST_SEQ, "table", "never delivered"),
        ("ALTER TABLE outbox_events ALTER id DROP DEFAULT, ALTER id TYPE text", "columns", "column id is text"),
        ("ALTER TABLE outbox_events ALTER stream_seq TYPE text", "columns", "column stream_seq is text"),
        ("ALTER TABLE outbox_events ALTER key TYPE bytea USING NULL", "columns", "column key is bytea"),
        ("ALTER TABLE outbox_events DROP COLUMN last_error", "columns", "column last_error is missing"),
        ("ALTER TABLE outbox_events DROP COLUMN payload", "columns", "column payload is missing"),
        (AS_A_VIEW, "columns", "outbox_events is a view"),
    ],
)
def test_each_fault_of_the_outbox_is_found(outbox: Outbox, streams: Streams, fault: str, check: str, seen: str) -> None:
    stream(streams)
    outbox.conn.execute(fault.encode())
    code, told = examine(outbox.dsn, streams.url)
    assert (code, told[check]["level"]) == (Exit.UNFIT, "fault")
    assert seen in told[check]["seen"]
    assert told[check]["do"]


@pytest.mark.parametrize(
    ("risk", "check", "seen"),
    [
        ("CREATE INDEX late ON outbox_events (delivered_at)", "marks", "late"),
        ("ALTER TABLE outbox_events SET (fillfactor = 100)", "marks", "fillfactor 100"),
        ("ALTER TABLE outbox_events DISABLE TRIGGER outbox_bell", "bell", "switched off"),
        (
            AS_DEFAULT_PRIVILEGES_DO,
            "other rights",
            f"{SERVICE} may DELETE, UPDATE rows of outbox_events, outbox_shards",
        ),
        ("GRANT TRUNCATE ON outbox_events TO PUBLIC", "other rights", "PUBLIC may TRUNCATE rows of outbox_events"),
    ],
)
def test_what_is_at_risk_is_a_warning_and_counts_only_where_it_is_asked_for(
    outbox: Outbox, streams: Streams, risk: str, check: str, seen: str
) -> None:
    stream(streams)
    outbox.conn.execute(risk.encode())
    code, told = examine(outbox.dsn, streams.url)
    assert (code, told[check]["level"]) == (Exit.DONE, "warning")
    assert seen in told[check]["seen"]
    assert examine(outbox.dsn, streams.url, "--strict")[0] == Exit.UNFIT


def test_old_transactions_and_slots_of_others_are_seen_as_far_as_the_role_may(
    own_postgres: PostgresServer, streams: Streams
) -> None:
    stream(streams)
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as conn:
        conn.execute("SELECT pg_create_physical_replication_slot('left_behind', true)")
        conn.execute("BEGIN")
        conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', '1')")
        conn.execute("PREPARE TRANSACTION 'later'")
        code, told = examine(own_postgres.dsn(), streams.url)
        assert code == Exit.DONE
        assert "two-phase commit" in told["bell"]["do"]
        assert "left_behind" in told["slots"]["seen"]
        assert "prepared" not in told, "it is young"
        conn.execute("ROLLBACK PREPARED 'later'")


MEMORY = {"storage": "memory"}


@pytest.mark.parametrize(
    ("config", "check", "level"),
    [
        (MEMORY, "storage", "warning"),
        ({"discard": "old", "max_msgs": 1000}, "room", "warning"),
        ({"no_ack": True}, "answers", "fault"),
        ({"retention": "interest"}, "retention", "fault"),
        ({"max_msg_size": 1000}, "size", "fault"),
        ({"duplicate_window": 2 * 10**9}, "duplicates", "fault"),
        ({"duplicate_window": 20 * 10**9}, "duplicates", "warning"),
        ({"allow_direct": False}, "reads", "warning"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else value,
)
def test_each_fault_of_a_stream_is_found(
    outbox: Outbox, streams: Streams, config: dict[str, Any], check: str, level: str
) -> None:
    stream(streams, **config)
    outbox.insert("orders.placed", "k", {"large": "x" * 1000})
    code, told = examine(outbox.dsn, streams.url)
    assert told[f"stream ORDERS: {check}"]["level"] == level
    assert code == (Exit.UNFIT if level == "fault" else Exit.DONE)


def test_a_topic_without_a_stream_or_that_makes_no_subject_is_found_with_what_waits(
    outbox: Outbox, streams: Streams
) -> None:
    stream(streams)
    outbox.insert("orders.placed", "k", {})
    outbox.insert("nowhere.x", "k", {})
    outbox.insert("nowhere.x", "k", {})
    outbox.insert("orders.*", "k", {})
    code, told = examine(outbox.dsn, streams.url)
    assert code == Exit.UNFIT
    assert told["subject nowhere.x"]["seen"] == "no stream takes it; 2 of its events wait"
    assert "become dead letters" in told["topic orders.*"]["seen"]
    assert streams.messages("ORDERS") == 0
    _, told = examine(outbox.dsn, streams.url, "--subject", "late.x")
    assert "subject late.x" in told


def test_a_topic_that_waits_far_from_both_ends_is_found_by_the_reason_on_it(
    outbox: Outbox, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream(streams)
    for topic in ("orders.placed", "orders.placed", "nowhere.x", "orders.placed", "orders.placed"):
        outbox.insert(topic, None, {})
    monkeypatch.setattr(gather_postgres, "_SAMPLE_ROWS", 2)
    _, told = examine(outbox.dsn, streams.url)
    assert "subject nowhere.x" not in told
    outbox.conn.execute("UPDATE outbox_events SET last_error = 'no stream takes this subject' WHERE seq = 3")
    _, told = examine(outbox.dsn, streams.url)
    assert told["subject nowhere.x"]["level"] == "fault"


@pytest.mark.denials
def test_missing_rights_in_nats_are_found_one_by_one(outbox: Outbox, own_nats: NatsServer) -> None:
    streams = Streams(own_nats.url)
    stream(streams, allow_direct=True)
    streams.make("OTHER", "other.>", discard="new", allow_atomic=True, allow_direct=True)
    for topic in ("orders.placed", "other.x"):
        outbox.insert(topic, "k", {})

    def allow(change: Callable[[str], str]) -> None:
        own_nats.stop()
        own_nats.config = change(nats_config("orders.>", "other.>"))
        own_nats.start()

    allow(lambda text: text.replace('"other.>"', ""))
    code, told = examine(outbox.dsn, own_nats.url)
    assert code == Exit.UNFIT
    assert "no right to publish" in told["subject other.x"]["seen"]
    assert "subject orders.placed" not in told
    allow(lambda text: text.replace('"$JS.API.DIRECT.GET.*"', "").replace('"$JS.API.CONSUMER.LIST.*"', ""))
    code, told = examine(outbox.dsn, own_nats.url)
    assert code == Exit.DONE
    assert "DIRECT.GET.ORDERS, $JS.API.CONSUMER.LIST.ORDERS" in told["stream ORDERS: rights"]["seen"]
    allow(lambda text: text.replace('"$JS.API.STREAM.NAMES"', ""))
    code, told = examine(outbox.dsn, own_nats.url)
    assert (code, list(told)) == (Exit.DONE, ["look-up"])
    allow(lambda text: text.replace("_INBOX_relay.>", "_INBOX.>"))
    code, told = examine(outbox.dsn, own_nats.url)
    assert code == Exit.UNFIT
    assert "no permission to subscribe to _INBOX_relay.>" in told["connection"]["seen"]


def test_a_row_that_is_larger_than_the_server_takes_is_found(outbox: Outbox, own_nats: NatsServer) -> None:
    own_nats.stop()
    own_nats.config = f"{own_nats.config}\nmax_payload: 4096"
    own_nats.start()
    stream(Streams(own_nats.url))
    outbox.insert("orders.placed", "k", {"large": "x" * 5000})
    code, told = examine(outbox.dsn, own_nats.url)
    assert code == Exit.UNFIT
    assert "4,096 bytes; the largest row seen takes 5," in told["max_payload"]["seen"]


def test_servers_that_are_not_there_are_a_line_each(outbox: Outbox, streams: Streams) -> None:
    nowhere = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/x"
    result = relay(nowhere, "doctor", RELAY_NATS__SERVERS=f"nats://127.0.0.1:{free_port()}")
    assert result.exit_code == Exit.UNFIT
    assert result.stdout.count("fault") == 3, "two lines, and their number"
    assert "secret" not in result.output


def test_the_trial_stores_nothing_and_can_be_left_out(outbox: Outbox, streams: Streams) -> None:
    stream(streams)
    outbox.insert("orders.placed", "k", {})
    heard: list[bytes] = []

    async def listen(*args: str) -> None:
        from nats.aio.client import Client

        client = Client()
        await client.connect(streams.url)

        async def hear(message: Any) -> None:
            heard.append(message.data)

        await client.subscribe("orders.>", cb=hear)
        await client.flush()
        await asyncio.to_thread(examine, outbox.dsn, streams.url, *args)
        await client.flush()
        await client.close()

    asyncio.run(listen("--no-trial"))
    assert heard == []
    asyncio.run(listen())
    assert heard == [b""]
    assert streams.messages("ORDERS") == 0
