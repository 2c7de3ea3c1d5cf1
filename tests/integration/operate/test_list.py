"""``relay list``: which events are in a state."""

import json
from typing import Any

import psycopg
import pytest

from relay.config.settings import load
from relay.operate.access import reading
from tests.support.relay_cli import done, relay

FILL = r"""
INSERT INTO outbox_events (topic, key, payload, created_at, delivered_at, stream, stream_seq)
SELECT 'orders.t' || g % 2, 'k' || g, '1', now() - interval '1 h' * g, now() - interval '1 h' * (10 - g), 'OUTBOX', g
FROM generate_series(1, 9) g;
INSERT INTO outbox_events (topic, key, payload, created_at)
VALUES ('orders.placed', 'k1', '1', now() - interval '3 h'), ('orders.eu.placed', 'k2', '1', now()),
       ('billing', NULL, '1', now()), (E'evil\x1b[2J\n', E'\u202e', '1', 'infinity');
INSERT INTO outbox_events (topic, key, payload, retry_at, attempts, last_error)
VALUES ('r.late', 'k', '1', now() + interval '2 min', 2, 'later'),
       ('r.soon', 'k', '1', now() + interval '1 min', 5, 'soon');
INSERT INTO outbox_events (topic, payload, dead_at, attempts, last_error)
VALUES ('d.old', '1', now() - interval '1 d', 0, E'why\nnot'), ('d.new', '1', now(), 10, 'new');
UPDATE outbox_shards SET watermark = 9;
"""


@pytest.fixture
def filled(database: str) -> str:
    with psycopg.connect(database) as conn:
        conn.execute(FILL)
    return database


def events(dsn: str, *args: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done(dsn, "list", "--output", "json", *args).stdout.splitlines()]


def topics(dsn: str, *args: str) -> list[str]:
    return [event["topic"] for event in events(dsn, *args)]


def test_each_state_in_its_order(filled: str) -> None:
    assert topics(filled) == ["orders.placed", "orders.eu.placed", "billing", "evil\x1b[2J\n"]
    assert topics(filled, "--state", "retry") == ["r.soon", "r.late"]
    assert topics(filled, "--state", "dead") == ["d.new", "d.old"]
    assert len(topics(filled, "--state", "delivered")) == 9
    assert topics(filled, "--state", "delivered", "--limit", "2") == ["orders.t1", "orders.t0"]


def test_topics_by_the_rules_of_nats(filled: str) -> None:
    assert topics(filled, "--topic", "orders.*") == ["orders.placed"]
    assert topics(filled, "--topic", "orders.>") == ["orders.placed", "orders.eu.placed"]
    assert topics(filled, "--topic", "*") == ["billing", "evil\x1b[2J\n"]
    assert topics(filled, "--topic", "bill*") == ["billing"]
    assert topics(filled, "--topic", "orders.placed") == ["orders.placed"]
    assert topics(filled, "--topic", "orders.plac") == []


def test_keys_and_times_narrow_it_down(filled: str) -> None:
    assert topics(filled, "--key", "k1") == ["orders.placed"]
    assert topics(filled, "--state", "delivered", "--key", "k1") == ["orders.t1"]
    assert len(topics(filled, "--state", "delivered", "--since", "150m")) == 2
    assert topics(filled, "--since", "2h", "--topic", "orders.>") == ["orders.eu.placed"]
    assert topics(filled, "--state", "dead", "--since", "2h") == ["d.new"]
    assert topics(filled, "--state", "dead", "--since", "2020-01-01T00:00:00+02:00") == ["d.new", "d.old"]
    assert topics(filled, "--state", "dead", "--since", "2999-01-01") == []
    assert topics(filled, "--state", "dead", "--until", "2h") == ["d.old"]
    assert topics(filled, "--since", "4h", "--until", "2h", "--topic", "orders.>") == ["orders.placed"]


def test_ids_seqs_and_errors_narrow_it_down_in_any_state(filled: str) -> None:
    ids = {event["topic"]: event["id"] for event in events(filled, "--state", "any")}
    assert len(events(filled, "--state", "any")) == 17
    assert topics(filled, "--id", ids["d.old"], "--id", ids["billing"].upper()) == ["d.old", "billing"]
    assert topics(filled, "--id", ids["d.old"], "--topic", "r.*") == []
    assert [event["state"] for event in events(filled, "--seq", "9..10")] == ["pending", "delivered"]
    assert [event["seq"] for event in events(filled, "--seq", "16..")] == [17, 16]
    assert [event["seq"] for event in events(filled, "--seq", "..2")] == [2, 1]
    assert [event["seq"] for event in events(filled, "--seq", "7")] == [7]
    assert topics(filled, "--seq", "10..11", "--state", "pending") == ["orders.placed", "orders.eu.placed"]
    assert topics(filled, "--state", "dead", "--error", "NOT") == ["d.old"]
    assert topics(filled, "--state", "retry", "--error", "%") == []


def test_a_discarded_dead_letter_is_a_state_of_its_own(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_events SET discarded_at = now() WHERE topic = 'd.old'")
    assert topics(filled, "--state", "dead") == ["d.new"]
    assert topics(filled, "--state", "discarded") == ["d.old"]
    assert events(filled, "--seq", "16")[0]["state"] == "discarded"
    assert json.loads(done(filled, "show", "16", "--output", "json").stdout)["state"] == "discarded"
    assert json.loads(done(filled, "status", "--output", "json").stdout)["dead"]["events"] == 1


def test_json_is_one_object_a_line_with_every_column_but_the_content(filled: str) -> None:
    (line,) = done(filled, "list", "--output", "json", "--state", "retry", "--limit", "1").stdout.splitlines()
    event = json.loads(line)
    assert list(event) == [
        "seq", "id", "topic", "key", "state", "created_at", "delivered_at", "stream", "stream_seq",
        "attempts", "retry_at", "dead_at", "last_error",
    ]  # fmt: skip
    assert (event["state"], event["attempts"], event["last_error"], event["stream"]) == ("retry", 5, "soon", None)
    assert event["retry_at"].endswith("Z")


def test_hostile_text_stays_in_its_cell(filled: str) -> None:
    for args in ((), ("--output", "json")):
        text = done(filled, "list", *args).stdout
        assert len(text.splitlines()) == 4 + (not args)
        assert text.replace("\n", "").isprintable()
    assert r"evil\x1b[2J\n     \u202e  infinity" in done(filled, "list").stdout
    assert r"why\nnot" in done(filled, "list", "--state", "dead").stdout


def test_tables_are_aligned_and_a_missing_key_is_a_dash(filled: str) -> None:
    title, *lines = done(filled, "list", "--topic", "*").stdout.splitlines()
    assert title.split() == ["SEQ", "ID", "TOPIC", "KEY", "CREATED", "LAST", "ERROR"]
    assert lines[0][title.index("TOPIC") :].startswith("billing")
    assert lines[0][title.index("KEY") :].startswith("-  ")


def test_messages_go_to_stderr_and_say_what_was_left_out(filled: str) -> None:
    result = done(filled, "list", "--limit", "2")
    assert (len(result.stdout.splitlines()), result.stderr) == (3, "the first 2; there may be more (--limit)\n")
    result = done(filled, "list", "--state", "delivered", "--key", "k1", "--scan", "5")
    assert (result.stdout, result.stderr) == ("", "searched 5 seqs only; there may be more (--scan)\n")
    assert done(filled, "list", "--key", "nobody").stderr == "no matching pending events\n"
    assert done(filled, "list").stderr == ""


def test_no_events_is_an_answer_and_no_failure(database: str) -> None:
    result = done(database, "list", "--state", "dead")
    assert (result.stdout, result.stderr) == ("", "no dead letters\n")


@pytest.mark.parametrize("since", ["soon", "5", "h", "2030-13-01"])
def test_a_since_that_means_nothing_is_refused(filled: str, since: str) -> None:
    result = relay(filled, "list", "--since", since)
    assert result.exit_code == 2
    assert "neither a span such as" in result.stderr


def test_a_look_can_write_nothing(database: str) -> None:
    settings = load(environ={"RELAY_POSTGRES__DSN": database})
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), reading(settings) as reader:
        reader.rows("ownership/claim", ("intruder", 10.0, 1))
