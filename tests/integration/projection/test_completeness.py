"""Up to when a read model is complete, and whether it shows one event: on real servers, with the relay's watermark."""

import json
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from relay.config.settings import load
from relay.projection.in_redis.ledger import prefix_of
from tests.integration.projection.fix_redis import World
from tests.integration.projection.fix_runner import Run, Running, run_by_command
from tests.integration.projection.world import STREAM, TABLES, Events, definition, run_sql, state
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.relay_cli import done, relay

HEADERS = {"headers__key": "true", "headers__seq": "true", "headers__created_at": "true", "watermark__every_s": "0.1"}


def follow(dsn: str, url: str, subject: str) -> Running:
    """Run the projection of one topic, told where the watermark is."""
    handlers = (replace(definition().handlers[0], topic="orders.placed"),)
    settings = {"postgres.dsn": dsn, "nats.servers": (url,), "watermark.subject": subject}
    return Running([definition(handlers=handlers)], load(None, settings, environ={}))


def complete(dsn: str) -> tuple[object, ...]:
    """Return what the partition says of its completeness."""
    asked = "SELECT complete_origin, complete_seq, complete_up_to FROM projection.state WHERE name = 'trail'"
    return run_sql(dsn, asked)[0]


@pytest.mark.parametrize("subject", ["orders.watermark", "outbox.watermark"])
def test_a_read_model_says_up_to_when_it_is_complete(
    outbox: Outbox, empty_database: str, events: Events, make_relay: MakeRelay, subject: str
) -> None:
    events.streams.make(STREAM, "orders.placed", "orders.other", "orders.watermark")
    events.streams.make("MARKS", "outbox.watermark")
    make_relay(outbox.dsn, events.url, watermark__subject=subject, **HEADERS).start()
    running = follow(empty_database, events.url, subject)
    try:
        for number in range(1, 21):
            last = outbox.insert("orders.placed", f"k{number % 3}", {"i": number})
        with psycopg.connect(outbox.dsn) as late:
            insert = "INSERT INTO outbox_events (topic, key, payload) VALUES ('orders.other', 'k', %s) RETURNING seq"
            (open_seq,) = late.execute(insert, ('{"i": 0}',)).fetchone() or (0,)
            outbox.delivered(last)
            wait_until(
                "complete below what is not committed",
                lambda: state(empty_database) and complete(empty_database)[1] == last,
            )
            late.commit()
        wait_until("complete", lambda: complete(empty_database)[1] == open_seq)
        assert complete(empty_database)[2] is not None
        (origin,) = outbox.conn.execute("SELECT origin FROM outbox_origin").fetchone() or ("",)
        assert complete(empty_database)[0] == origin
        shown = done(empty_database, "projection", "wait", "trail", f"{origin}.{last}", "--timeout", "0")
        assert shown.stdout.strip() == "applied"
        beyond = relay(empty_database, "projection", "wait", "trail", f"{origin}.{open_seq + 1}", "--timeout", "0.05")
        assert (beyond.exit_code, beyond.stdout.strip()) == (1, "timed out")
        (line,) = done(outbox.dsn, "show", str(last), "--output", "json").stdout.splitlines()
        assert json.loads(line)["origin"] == origin
        alone = done(empty_database, "projection", "wait", "trail", str(last), "--timeout", "0")
        assert alone.stdout.strip() == "applied"
        other = relay(empty_database, "projection", "wait", "trail", f"ffffffff.{last}", "--timeout", "0")
        assert other.stdout.strip() == "timed out"
    finally:
        running.stop()


def test_an_event_of_another_topic_is_not_for_it(
    outbox: Outbox, empty_database: str, events: Events, make_relay: MakeRelay
) -> None:
    events.make()
    make_relay(outbox.dsn, events.url, watermark__subject="orders.watermark", **HEADERS).start()
    running = follow(empty_database, events.url, "orders.watermark")
    try:
        other = outbox.insert("orders.other", "k", {"i": 1})
        (origin,) = outbox.conn.execute("SELECT origin FROM outbox_origin").fetchone() or ("",)
        wait_until("it has begun", lambda: state(empty_database))
        token = f"{origin}.{other}"
        assert (
            done(empty_database, "projection", "wait", "trail", token, "--timeout", "20").stdout.strip() == "not for it"
        )
    finally:
        running.stop()


def test_a_model_of_two_outboxes_is_not_complete_by_the_watermark_of_one(
    empty_database: str, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    def mark(seq: int) -> None:
        at = f"2026-01-01T00:00:0{seq}Z"
        payload = {"outbox": "outbox_events", "origin": "aaaa", "seq": seq, "complete_up_to": at, "origins": ["aaaa"]}
        events.store([("orders.watermark", payload, {})])

    complete = "SELECT complete_seq FROM projection.state"
    events.make()
    events.send((1, "a"), **{"Outbox-Origin": "aaaa"})
    mark(1)
    running = follow(empty_database, events.url, "orders.watermark")
    try:
        wait_until("it is complete", lambda: state(empty_database) and run_sql(empty_database, complete) == [(1,)])
        events.send((7, "b"), **{"Outbox-Origin": "bbbb"})
        wait_until("it is applied", lambda: state(empty_database)["position"] == 3)
        mark(2)
        wait_until("it was seen", lambda: state(empty_database)["position"] == 4)
        time.sleep(1.5)
        mark(3)
        wait_until("it is told", lambda: "origin bbbb is none" in str([vars(one) for one in caplog.records]))
        assert run_sql(empty_database, complete) == [(1,)]
    finally:
        running.stop()


def test_events_that_go_to_another_stream_are_told_and_the_model_is_not_said_to_be_complete(
    outbox: Outbox, empty_database: str, events: Events, make_relay: MakeRelay, tmp_path: Path
) -> None:
    (tmp_path / "trail.toml").write_text(FILE, "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    (tmp_path / "outbox.dsn").write_text(outbox.dsn, "utf-8")
    events.streams.make(STREAM, "orders.placed", "orders.watermark")
    make_relay(outbox.dsn, events.url, watermark__subject="orders.watermark", **HEADERS).start()
    running = follow(empty_database, events.url, "orders.watermark")
    try:
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
        complete = "SELECT complete_seq FROM projection.state"
        wait_until("it is complete", lambda: state(empty_database) and run_sql(empty_database, complete)[0][0])
        (before,) = run_sql(empty_database, complete)
        events.streams.api(f"STREAM.UPDATE.{STREAM}", {"name": STREAM, "subjects": ["orders.watermark"]})
        events.streams.make("MOVED", "orders.placed")
        moved = outbox.insert("orders.placed", "k", {"i": 2})
        outbox.delivered(moved)
        told = relay(empty_database, "projection", "wait", "trail", str(moved), "--timeout", "4")
        assert (told.exit_code, told.stdout.strip()) == (1, "timed out")
        assert run_sql(empty_database, complete) == [before]
        url = {"RELAY_NATS__SERVERS": events.url}
        found = relay(
            empty_database, "projection", "verify", str(tmp_path), "--outbox-dsn-file", str(tmp_path / "outbox.dsn")
        )
        assert found.exit_code == 7
        assert f"1 events are in stream MOVED, which it does not read: seq {moved}" in found.stdout
        checked = done(empty_database, "projection", "check", str(tmp_path), **url)
        assert "events of orders.placed go to stream MOVED, which is not read" in checked.stderr
    finally:
        running.stop()


FILE = f"""
[projection]
name = "trail"
stream = "{STREAM}"
subjects = ["orders.>"]
tables = "trail.sql"
[[on]]
topic = "orders.placed"
sql = '''
INSERT INTO trail (key, numbers) SELECT key, ARRAY[(data->>'i')::bigint] FROM event
ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers
'''
"""


def test_an_event_that_was_deleted_before_it_was_read_is_found_by_verify(
    outbox: Outbox, empty_database: str, events: Events, make_relay: MakeRelay, running: Run, tmp_path: Path
) -> None:
    (tmp_path / "trail.toml").write_text(FILE, "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    (tmp_path / "outbox.dsn").write_text(outbox.dsn, "utf-8")
    events.make()
    make_relay(outbox.dsn, events.url, **HEADERS).start()
    for number in range(1, 11):
        last = outbox.insert("orders.placed", "k", {"i": number})
    outbox.delivered(last)
    events.streams.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": 4})
    running(empty_database, events.url, definition())
    wait_until("all is applied", lambda: state(empty_database).get("position") == 10)
    command = ("projection", "verify", str(tmp_path), "--outbox-dsn-file", str(tmp_path / "outbox.dsn"))
    found = relay(empty_database, *command)
    assert (found.exit_code, found.stdout.strip()) == (7, f"trail: 1 of 10 events are missing: seq {last - 6}")


@pytest.mark.parametrize("partial", [False, True])
def test_what_was_sent_without_a_seq_or_lies_in_an_accepted_gap_is_not_missing(
    outbox: Outbox,
    empty_database: str,
    events: Events,
    make_relay: MakeRelay,
    running: Run,
    tmp_path: Path,
    partial: bool,
) -> None:
    (tmp_path / "trail.toml").write_text(FILE, "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    (tmp_path / "outbox.dsn").write_text(outbox.dsn, "utf-8")
    events.make()
    make_relay(outbox.dsn, events.url, headers__key="true").start()
    for number in range(1, 6):
        last = outbox.insert("orders.placed", "k", {"i": number})
    outbox.delivered(last)
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 3})
    running(empty_database, events.url, definition(partial=partial))
    if not partial:
        wait_until("it has stopped at the gap", lambda: state(empty_database).get("status") == "stopped")
        done(empty_database, "projection", "resume", "trail", "--accept-gap", "--yes")
    wait_until("all is applied", lambda: state(empty_database).get("position") == 5)
    command = ("projection", "verify", str(tmp_path), "--outbox-dsn-file", str(tmp_path / "outbox.dsn"))
    found = done(empty_database, *command, RELAY_NATS__SERVERS=events.url)
    assert "3 events were sent without Outbox-Seq" in found.stderr
    assert "2 events lie in a gap that was accepted" in found.stderr
    assert "5 delivered events compared, none is missing" in found.stderr


def test_a_seq_alone_is_refused_once_the_outbox_has_several_origins(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), (2, "a"), **{"Outbox-Origin": "aaaa"})
    running(empty_database, events.url, definition())
    wait_until("both are applied", lambda: state(empty_database).get("position") == 2)
    command = ("projection", "wait", "trail", "2", "--timeout", "0")
    assert done(empty_database, *command).stdout.strip() == "applied"
    events.send((2, "a"), **{"Outbox-Origin": "bbbb"})
    wait_until("the third, too", lambda: state(empty_database).get("position") == 3)
    refused = relay(empty_database, *command)
    assert (refused.exit_code, "aaaa, bbbb" in refused.stderr) == (2, True)
    whole = done(empty_database, "projection", "wait", "trail", "bbbb.2", "--timeout", "0")
    assert whole.stdout.strip() == "applied"


def test_explain_names_the_projections_that_have_parked_an_event(
    outbox: Outbox, events: Events, make_relay: MakeRelay, running: Run
) -> None:
    events.make()
    make_relay(outbox.dsn, events.url, **HEADERS).start()
    seq = outbox.insert("orders.placed", "k", {"i": "no number"})
    running(outbox.dsn, events.url, definition())
    wait_until("it is parked", lambda: state(outbox.dsn).get("position") == 1)
    outbox.delivered(seq)
    env = {"RELAY_NATS__SERVERS": events.url}
    (line,) = done(outbox.dsn, "explain", str(seq), "--output", "json", **env).stdout.splitlines()
    (parked,) = json.loads(line)["parked_by"]
    assert (parked["projection"], "22P02" in parked["reason"]) == ("trail", True)
    assert "parked by  trail, number 1: " in done(outbox.dsn, "explain", str(seq), **env).stdout
    behind = outbox.insert("orders.placed", "k", {"i": 2})
    outbox.delivered(behind)
    wait_until("it waits", lambda: state(outbox.dsn).get("position") == 2)
    for one in (seq, behind):
        told = json.loads(done(outbox.dsn, "explain", str(one), "--output", "json", **env).stdout)
        assert told["next"].startswith("Nothing by itself: it is not in the read model of trail")
        decide = [f"relay projection {what} trail --number {parked['number']}" for what in ("retry", "skip")]
        assert told["commands"][:2] == decide
    assert told["parked_by"][0]["behind"] == parked["number"]
    done(outbox.dsn, "projection", "skip", "trail", "--number", str(parked["number"]), "--yes")
    wait_until("it is skipped", lambda: run_sql(outbox.dsn, "SELECT 1 FROM projection.parked") == [])
    assert "parked by" not in done(outbox.dsn, "explain", str(seq), **env).stdout


def test_what_an_operator_does_stands_in_the_audit(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "a"), payload={"i": "x"})
    running(empty_database, events.url, definition())
    wait_until("all is settled", lambda: state(empty_database).get("position") == 2)
    done(empty_database, "projection", "retry", "trail", "--yes")
    done(empty_database, "projection", "pause", "trail", "--yes")
    done(empty_database, "projection", "resume", "trail", "--yes")
    lines = done(empty_database, "projection", "audit", "trail", "--output", "json").stdout.splitlines()
    told = [(line["action"], line["events"]) for line in map(json.loads, lines)]
    assert told == [("resume", 0), ("pause", 0), ("retry", 1)]
    assert "retry" in done(empty_database, "projection", "audit").stdout


def test_verify_costs_what_the_rows_cost_however_far_apart_their_seqs_are(
    outbox: Outbox, empty_database: str, events: Events, make_relay: MakeRelay, running: Run, tmp_path: Path
) -> None:
    (tmp_path / "trail.toml").write_text(FILE, "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    (tmp_path / "outbox.dsn").write_text(outbox.dsn, "utf-8")
    events.make()
    make_relay(outbox.dsn, events.url, **HEADERS).start()
    outbox.insert("orders.placed", "k", {"i": 1})
    far = "INSERT INTO outbox_events (seq, topic, key, payload) OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s)"
    for seq in (5 * 10**9, 2**63 - 1):
        outbox.conn.execute(far, (seq, "orders.placed", "k", '{"i": 2}'))
    outbox.drained()
    running(empty_database, events.url, definition())
    wait_until("all is applied", lambda: state(empty_database).get("applied") == 3)
    # A statement for each chunk of seqs up to there would take years.
    command = ("projection", "verify", str(tmp_path), "--outbox-dsn-file", str(tmp_path / "outbox.dsn"))
    assert "3 delivered events compared, none is missing" in done(empty_database, *command).stderr


REDIS_FILE = f"""
[projection]
name = "counts"
store = "redis"
stream = "{STREAM}"
subjects = ["orders.>"]
[[on]]
topic = "orders.placed"
lua = "write('HINCRBY', 'counts', e.key, e.data.i)"
"""


@pytest.mark.parametrize("partial", [False, True])
def test_verify_compares_models_in_redis_as_well_and_goes_on_behind_one_that_it_cannot_compare(
    outbox: Outbox, events: Events, world: World, make_relay: MakeRelay, tmp_path: Path, partial: bool
) -> None:
    head = "[projection]\n" + "partial = true\n" * partial
    files = tmp_path / "files"
    files.mkdir()
    (files / "counts.toml").write_text(REDIS_FILE.replace("[projection]\n", head), "utf-8")
    (files / "trail.toml").write_text(FILE.replace("[projection]\n", head), "utf-8")
    (files / "trail.sql").write_text(TABLES, "utf-8")
    events.make()
    make_relay(outbox.dsn, events.url, **HEADERS).start()
    for number in range(1, 11):
        last = outbox.insert("orders.placed", "k", {"i": "parked" if number == 9 else number})
    outbox.delivered(last)
    command = ("projection", "verify", str(files))
    env = {"RELAY_NATS__SERVERS": events.url, "RELAY_REDIS__URL": world.server.url}
    none = relay(outbox.dsn, *command, **env)
    assert none.exit_code == 1
    assert "counts: cannot be compared: there is no projection counts in this Redis" in none.stderr
    assert "trail: cannot be compared: no projection of this version has run" in none.stderr
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 3})
    with run_by_command(outbox.dsn, events.url, files, RELAY_REDIS__URL=world.server.url):
        in_redis = f"{prefix_of('counts', 0)}:state"
        if not partial:
            wait_until("one has stopped at the gap", lambda: world.ask("HGET", in_redis, "status") == "stopped")
            done(outbox.dsn, "projection", "redis", "resume", "counts", "--accept-gap", "--yes", **env)
            wait_until("the other one, too", lambda: state(outbox.dsn).get("status") == "stopped")
            done(outbox.dsn, "projection", "resume", "trail", "--accept-gap", "--yes", **env)
        wait_until("all is settled", lambda: world.ask("HGET", in_redis, "position") == "10")
        wait_until("all is settled there, too", lambda: state(outbox.dsn).get("position") == 10)
    found = done(outbox.dsn, *command, **env)
    for name in ("counts", "trail"):
        assert f"{name}: 2 events lie in a gap that was accepted" in found.stderr
        assert f"{name}: 10 delivered events compared, none is missing" in found.stderr
    # As if it had never been read.
    (bits,) = world.ask("KEYS", "projection:{counts.1.0}:applied:*")
    world.ask("SETBIT", bits, last - 3 ^ 7, 0)
    found = relay(outbox.dsn, *command, **env)
    assert (found.exit_code, found.stdout.strip()) == (7, f"counts: 1 of 10 events are missing: seq {last - 3}")
    assert "trail: 10 delivered events compared, none is missing" in found.stderr
    without = relay(outbox.dsn, *command, RELAY_NATS__SERVERS=events.url)
    assert (without.exit_code, "counts: cannot be compared: [redis] url: must be set" in without.stderr) == (2, True)
    assert "trail: 10 delivered events compared, none is missing" in without.stderr
