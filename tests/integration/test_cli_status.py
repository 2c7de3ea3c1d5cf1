"""``relay status``: what an operator sees first."""

import json

import psycopg
import pytest

from relay.cli import status as module
from relay.migrate import newest_version
from tests.relay_cli import done

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


def test_an_empty_outbox_has_a_status(database: str) -> None:
    result = done(database, "status")
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert {name: value.strip() for name, value in lines.items()} == {
        "outbox": "outbox_events, payload jsonb",
        "schema": f"version {newest_version()}, current",
        "owner": "nobody: all shards",
        "watermark": "0",
        "newest seq": "0",
        "backlog": "0",
        "delivered lately": "0 in the last minute",
        "in retry": "0",
        "dead letters": "0",
    }
    assert result.stderr == ""


def test_everything_is_counted_where_it_stands(filled: str) -> None:
    shown = json.loads(done(filled, "status", "--output", "json").stdout)
    assert shown["backlog"] == {"events": 5, "exact": True}
    assert shown["retry"] == {"events": 1, "exact": True}
    assert shown["dead"]["events"] == 6
    assert shown["delivered_last_minute"]["events"] in (1, 2)
    assert (shown["watermark"], shown["newest_seq"], shown["schema_version"]) == (10, 21, newest_version())
    assert shown["oldest_pending"]["seq"] == 11
    assert shown["oldest_pending"]["age_s"] == pytest.approx(180, abs=20)
    assert [shard["shard"] for shard in shown["shards"]] == list(range(64))
    assert {(shard["owner"], shard["epoch"]) for shard in shown["shards"]} == {("host:1:x", 4)}
    assert all(0 < shard["lease_left_s"] <= 8 for shard in shown["shards"])


def test_dead_letters_are_told_by_reason_without_what_differs(filled: str) -> None:
    shown = json.loads(done(filled, "status", "--output", "json").stdout)
    assert shown["dead"]["by_reason"] == [
        {"reason": "the subject holds a space", "events": 3},
        {"reason": "headers of N and payload of N bytes: the server takes N", "events": 2},
        {"reason": "refused by the stream: too long (10054)", "events": 1},
    ]


def test_people_see_owner_age_and_what_to_do_next(filled: str) -> None:
    result = done(filled, "status")
    assert "owner             host:1:x: all shards, for " in result.stdout
    assert " (3 min" in result.stdout
    assert "   3  the subject holds a space\n" in result.stdout
    assert "`relay list --state dead`" in result.stderr
    assert "no relay owns" not in result.stderr


def test_people_see_who_owns_how_many_shards(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_shards SET owner = 'host:2:y' WHERE shard < 20")
        conn.execute("UPDATE outbox_shards SET owner = NULL, lease_until = '-infinity' WHERE shard = 63")
        conn.execute("UPDATE outbox_shards SET watermark = 7 WHERE shard = 5")
    lines = [line for line in done(filled, "status").stdout.splitlines() if line.startswith(("owner", "watermark"))]
    assert lines[0].startswith("owner             host:1:x: 43 of 64 shards, for ")
    assert lines[1].startswith("owner             host:2:y: 20 of 64 shards, for ")
    assert lines[2] == "owner             nobody: 1 of 64 shards"
    assert lines[3].startswith("watermark         7, complete up to ")


def test_a_backlog_that_nobody_works_on_is_said(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_shards SET lease_until = now() - interval '1 min'")
    result = done(filled, "status")
    assert "owner             nobody: all shards; host:1:x until 1 min ago\n" in result.stdout
    assert "no relay owns the outbox now: start one with `relay run`\n" in result.stderr


def test_what_an_event_waits_for_is_said(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_events SET last_error = E'no stream\\x1b[2J takes it' WHERE seq = 11")
    assert "it waits for      no stream\\x1b[2J takes it\n" in done(filled, "status").stdout


def test_deliveries_beyond_an_event_that_keeps_the_watermark_back_are_counted(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_shards SET watermark = 0")
        conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE seq > 18")
    monkeypatch.setattr(module, "LATELY_SEQS", 5)
    assert "delivered lately  at least 4 in the last minute\n" in done(filled, "status").stdout


def test_beyond_the_bound_the_count_says_more_than(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_UP_TO", 3)
    assert "backlog           more than 3\n" in done(filled, "status").stdout
    assert json.loads(done(filled, "status", "--output", "json").stdout)["backlog"] == {"events": 3, "exact": False}
    monkeypatch.setattr(module, "COUNT_UP_TO", 100)
    monkeypatch.setattr(module, "SCAN_SEQS", 2)
    assert "backlog           at least 2\n" in done(filled, "status").stdout
