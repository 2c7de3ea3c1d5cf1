"""``relay status``: what an operator sees first."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result

from relay.demo.servers import NatsServer
from relay.operate import status as module
from relay.postgres.migrate import newest_version
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done

FILL = """
INSERT INTO outbox_events (topic, key, payload, created_at, delivered_at, stream, stream_seq)
SELECT 'orders.placed', 'k' || g, '1', now() - interval '2 h', now() - interval '30 s' * g, 'OUTBOX', g
FROM generate_series(1, 10) g;
INSERT INTO outbox_events (topic, key, payload, created_at)
SELECT 'orders.placed', 'k' || g, '1', now() - interval '3 min' FROM generate_series(1, 4) g;
INSERT INTO outbox_events (topic, payload, retry_at, attempts, last_error)
VALUES ('orders.odd', '1', now() + interval '1 min', 2, 'refused by the stream: no (10999)');
INSERT INTO outbox_events (topic, payload, dead_at, last_error)
SELECT 'a b', '1', now(), 'the subject holds a space: ''a b' || g || '''' FROM generate_series(1, 3) g;
INSERT INTO outbox_events (topic, payload, dead_at, last_error)
SELECT 'big', '1', now(), 'headers of ' || g || ' and payload of 1 bytes: the server takes 5'
FROM generate_series(1, 2) g;
INSERT INTO outbox_events (topic, payload, dead_at, last_error)
VALUES ('r', '1', now(), 'refused by the stream: too long (10054)');
UPDATE outbox_shards SET watermark = 10, watermark_at = now(), owner = 'host:1:x', epoch = 4,
    lease_until = now() + interval '8 s';
"""


@pytest.fixture
def filled(database: str) -> str:
    with psycopg.connect(database) as conn:
        conn.execute(FILL)
    return database


def status(dsn: str, *args: str) -> Result:
    return done(dsn, "status", "--no-nats", *args)


def test_an_empty_outbox_has_a_status(database: str) -> None:
    result = status(database)
    with psycopg.connect(database) as conn:
        ((origin,),) = conn.execute("SELECT origin FROM outbox_origin").fetchall()
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert {name: value.strip() for name, value in lines.items()} == {
        "outbox": f"outbox_events, payload jsonb, schema version {newest_version()}",
        "origin": origin,
        "owner": "nobody: all shards",
        "watermark": "0 of 0",
        "backlog": "0",
        "delivered": "0 in the last minute",
        "in retry": "0",
        "dead letters": "0",
    }
    assert result.stderr == ""


@pytest.mark.parametrize("created_at", ["infinity", "-infinity"])
def test_an_event_that_says_of_no_moment_when_it_was_created_has_no_short_lag(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, created_at: str
) -> None:
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.conn.execute("INSERT INTO outbox_events (topic, payload, created_at) VALUES ('a.b', '1', %s)", (created_at,))
    wait_until("the metrics say so", lambda: "oldest_pending_age_seconds +Inf\n" in relay.get("/metrics")[1])
    shown = json.loads(status(outbox.dsn, "--output", "json").stdout)
    assert (shown["lag_s"], shown["oldest_pending"]["created_at"]) == (None, created_at)
    assert "unknown" in done(outbox.dsn, "status").stdout


def test_everything_is_counted_where_it_stands(filled: str) -> None:
    shown = json.loads(status(filled, "--output", "json").stdout)
    assert shown["backlog"] == {"events": 5, "exact": True}
    assert {name: shown["retry"][name] for name in ("events", "exact")} == {"events": 1, "exact": True}
    assert shown["dead"]["events"] == 6
    assert shown["delivered"]["events"] in (1, 2)
    assert shown["lag_s"] == shown["oldest_pending"]["age_s"]
    assert (shown["watermark"], shown["newest_seq"], shown["schema_version"]) == (10, 21, newest_version())
    assert shown["oldest_pending"]["seq"] == 11
    assert shown["oldest_pending"]["age_s"] == pytest.approx(180, abs=20)
    assert [shard["shard"] for shard in shown["shards"]] == list(range(64))
    assert {(shard["owner"], shard["epoch"]) for shard in shown["shards"]} == {("host:1:x", 4)}
    assert all(0 < shard["lease_left_s"] <= 8 for shard in shown["shards"])


def test_dead_letters_are_told_by_reason_without_what_differs(filled: str) -> None:
    shown = json.loads(status(filled, "--output", "json").stdout)
    assert shown["dead"]["by_reason"] == [
        {"reason": "the subject holds a space", "events": 3},
        {"reason": "headers of N and payload of N bytes: the server takes N", "events": 2},
        {"reason": "refused by the stream: too long (10054)", "events": 1},
    ]


def test_people_see_owner_age_and_what_to_do_next(filled: str) -> None:
    result = status(filled)
    assert "owner           host:1:x: all shards, lease expires in " in result.stdout
    assert " (3 min" in result.stdout
    assert "   3  the subject holds a space\n" in result.stdout
    assert "`relay dead list`" in result.stderr
    assert "no relay owns" not in result.stderr


def test_people_see_who_owns_how_many_shards(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_shards SET owner = 'host:2:y' WHERE shard < 20")
        conn.execute("UPDATE outbox_shards SET owner = NULL, lease_until = '-infinity' WHERE shard = 63")
        conn.execute("UPDATE outbox_shards SET watermark = 7 WHERE shard = 5")
    lines = [line for line in status(filled).stdout.splitlines() if line.startswith(("owner", "watermark"))]
    assert lines[0].startswith("owner           host:1:x: 43 of 64 shards, lease expires in ")
    assert lines[1].startswith("owner           host:2:y: 20 of 64 shards, lease expires in ")
    assert lines[2] == "owner           nobody: 1 of 64 shards"
    assert lines[3].startswith("watermark       7 of 21, complete up to ")


def test_a_backlog_that_nobody_works_on_is_said(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_shards SET lease_until = now() - interval '1 min'")
    result = status(filled)
    assert "owner           nobody: all shards; host:1:x until 1 min ago\n" in result.stdout
    assert "no relay owns the outbox now: start one with `relay run`\n" in result.stderr


def test_what_an_event_waits_for_is_said(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_events SET last_error = E'no stream\\x1b[2J takes it' WHERE seq = 11")
    assert "it waits for    no stream\\x1b[2J takes it\n" in status(filled).stdout


def test_deliveries_beyond_an_event_that_keeps_the_watermark_back_are_counted(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_shards SET watermark = 0")
        conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE seq > 18")
    monkeypatch.setattr(module, "LATELY_SEQS", 5)
    assert "delivered       at least 4 in the last minute" in status(filled).stdout


def test_beyond_the_bound_the_count_says_more_than(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_UP_TO", 3)
    assert "backlog         more than 3\n" in status(filled).stdout
    assert json.loads(status(filled, "--output", "json").stdout)["backlog"] == {"events": 3, "exact": False}
    monkeypatch.setattr(module, "COUNT_UP_TO", 100)
    monkeypatch.setattr(module, "SCAN_SEQS", 2)
    assert "backlog         at least 2\n" in status(filled).stdout


def test_each_reason_for_which_events_wait_is_told_with_its_class_and_first_event(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_events SET last_error = 'no stream takes this subject: create it' WHERE seq = 12")
        conn.execute(
            "UPDATE outbox_events SET last_error = 'refused by the stream: full (10077)' WHERE seq IN (13, 14)"
        )
    shown = json.loads(status(filled, "--output", "json").stdout)["waiting"]
    assert [(one["class"], one["first_seq"], one["topic"]) for one in shown] == [
        ("configuration", 12, "orders.placed"),
        ("capacity", 13, "orders.placed"),
    ]
    assert "\nconfiguration         12  3 min " in status(filled).stdout


def test_nats_that_cannot_be_reached_is_told_and_the_rest_is_shown(filled: str) -> None:
    result = done(filled, "status", "--server", "nats://127.0.0.1:1")
    assert "\nNATS            NATS cannot be reached" in result.stdout
    assert "\nbacklog         5\n" in result.stdout


def test_streams_and_consumers_are_shown_with_what_is_behind(
    database: str, nats: str, streams: Streams, outbox: Outbox, make_relay: MakeRelay
) -> None:
    streams.make("OUTBOX", "orders.>", max_msgs=20, discard="new")
    for name in ("idle", "order-list"):
        config = {"durable_name": name, "ack_policy": "explicit", "filter_subject": f"orders.{name[0]}"}
        streams.api(f"CONSUMER.DURABLE.CREATE.OUTBOX.{name}", {"stream_name": "OUTBOX", "config": config})
    for _ in range(5):
        outbox.insert("orders.o", "a")
    relay = make_relay(database, nats)
    relay.start()
    outbox.drained()
    wait_until("the stream is known", lambda: status_of(database, nats)["nats"]["streams"] != [])
    shown = status_of(database, nats)["nats"]
    assert shown["reachable"]
    assert shown["streams"] == [
        {"stream": "OUTBOX", "messages": 5, "bytes": shown["streams"][0]["bytes"], "last_seq": 5, "room": 0.75}
    ]
    assert [(one["consumer"], one["pending"], one["unacknowledged"]) for one in shown["consumers"]] == [
        ("order-list", 5, 0),
        ("idle", 0, 0),
    ]
    assert shown["consumers"][0]["lag_s"] > 0
    assert shown["consumers"][1]["lag_s"] is None
    text = done(database, "status", "--server", nats).stdout
    assert "75% of max_msgs, then it refuses" in text
    assert "\norder-list  OUTBOX       5        0  " in text


def status_of(dsn: str, nats: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(dsn, "status", "--server", nats, "--output", "json").stdout)
    return found


class Watch:
    """A ``relay status --watch`` as a process, and what it printed."""

    def __init__(self, dsn: str, server: str, printed: Path) -> None:
        self._printed = printed
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        with printed.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "relay", "status", "--watch", "--every", "0.2", "--output", "json"],
                env=inherited | {"RELAY_POSTGRES__DSN": dsn, "RELAY_NATS__SERVERS": server},
                stdout=out,
                stderr=subprocess.PIPE,
            )

    def last(self) -> dict[str, Any]:
        """Return the last whole look; nothing before the first."""
        text = self._printed.read_text("utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        return json.loads(lines[-1]) if lines else {}


@pytest.fixture
def watch(filled: str, own_nats: NatsServer, tmp_path: Path) -> Iterator[Watch]:
    one = Watch(filled, own_nats.url, tmp_path / "printed")
    yield one
    if one.process.poll() is None:
        one.process.kill()
    one.process.communicate()


def test_a_watch_looks_on_through_outages_counts_what_is_delivered_and_ends_by_a_signal(
    filled: str, watch: Watch, own_nats: NatsServer
) -> None:
    wait_until("a look", lambda: watch.last().get("backlog") == {"events": 5, "exact": True})
    wait_until("an answer of NATS", lambda: watch.last()["nats"]["reachable"])
    own_nats.kill()
    wait_until("the outage", lambda: not watch.last()["nats"]["reachable"])
    with psycopg.connect(filled, autocommit=True) as conn:
        conn.execute("UPDATE outbox_events SET delivered_at = clock_timestamp() WHERE seq IN (11, 12)")
        wait_until("a rate", lambda: watch.last()["delivered_per_s"] > 0)
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'outbox-relay cli'"
        )
        conn.execute("UPDATE outbox_events SET delivered_at = clock_timestamp() WHERE seq = 13")
    own_nats.start()
    wait_until("NATS again", lambda: watch.last()["nats"]["reachable"])
    wait_until("the database again", lambda: watch.last()["backlog"]["events"] == 2)
    watch.process.send_signal(signal.SIGINT)
    _, said = watch.process.communicate(timeout=20)
    assert watch.process.returncode == 130
    assert b"Traceback" not in said
    assert b"waiting: PostgreSQL does not answer" in said
