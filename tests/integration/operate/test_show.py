"""``relay show``: everything about one event."""

import json
import re
import uuid

import psycopg
import pytest

from tests.support.relay_cli import done, relay

ID = "0b0c7ef0-6f0f-4f0e-9d0a-1f1f4c1b7b11"


@pytest.fixture
def filled(database: str) -> str:
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO outbox_events (id, topic, key, payload, headers, created_at, delivered_at, stream, stream_seq)"
            " VALUES (%s, 'orders.placed', 'k', '{\"amount\": 1.10, \"lines\": []}', '{\"Trace\": \"a\"}',"
            " '2030-01-31 12:00+00', '2030-01-31 12:00:01+00', 'OUTBOX', 7)",
            (ID,),
        )
        conn.execute("INSERT INTO outbox_events (topic, payload) VALUES (E'evil\\x1b[2J', '\"\\u202e\"')")
    return database


@pytest.mark.parametrize("identity", ["1", ID, ID.upper(), ID.replace("-", "")])
def test_an_event_is_found_by_seq_and_by_id_with_all_it_has(filled: str, identity: str) -> None:
    lines = done(filled, "show", identity).stdout.splitlines()
    columns = dict(line.split(None, 1) for line in lines[:14])
    assert columns["seq"] == "1"
    assert columns["id"] == ID
    assert re.fullmatch(r"[0-9a-f]+\.1", columns["token"])
    assert columns["state"] == "delivered"
    assert columns["key"] == "k"
    assert columns["created_at"].startswith("2030-01-31 ")
    assert columns["stream_seq"] == "7"
    assert columns["last_error"] == "-"
    assert lines[14:] == [
        "headers",
        "  {",
        '    "Trace": "a"',
        "  }",
        "payload       jsonb, 29 bytes",
        "  {",
        '    "lines": [],',
        '    "amount": 1.10',
        "  }",
    ]


def test_json_holds_headers_and_payload_digit_for_digit(filled: str) -> None:
    (line,) = done(filled, "show", "1", "--output", "json").stdout.splitlines()
    assert '"amount": 1.10' in line
    event = json.loads(line)
    assert event["headers"] == {"Trace": "a"}
    assert event["payload"] == {"amount": 1.1, "lines": []}
    assert event["payload_bytes"] == 29
    assert event["created_at"] == "2030-01-31T12:00:00.000000Z"


@pytest.mark.parametrize("payload", [b"\xff\x00\x1b[2J", b'{"a": 1.10}\n', b""])
def test_raw_is_the_payload_byte_for_byte(empty_database: str, payload: bytes) -> None:
    done(empty_database, "migrate", "--payload-type", "bytea")
    with psycopg.connect(empty_database) as conn:
        conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('a', %s)", (payload,))
    assert done(empty_database, "show", "1", "--raw").stdout_bytes == payload


def test_of_a_large_payload_the_beginning_is_laid_out(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('a', to_jsonb(repeat('x', 20000)))")
    text = done(filled, "show", "3").stdout
    assert text.endswith("  ... and 10,002 characters more\n")
    assert len(text) < 12_000
    assert len(done(filled, "show", "3", "--raw").stdout) == 20_002


def test_what_became_of_a_dead_letter_is_shown(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute(
            "INSERT INTO outbox_events (topic, payload, dead_at, discarded_at, dead_copied_at)"
            " VALUES ('a', '1', now(), '2030-01-31 12:00+00', '2030-01-31 12:00:05+00')"
        )
    text = done(filled, "show", "3").stdout
    assert "\ndiscarded_at  2030-01-31 12:00:00 " in text
    assert "\ncopied_at     2030-01-31 12:00:05 " in text
    event = json.loads(done(filled, "show", "3", "--output", "json").stdout)
    assert event["dead_copied_at"] == "2030-01-31T12:00:05.000000Z"
    assert "copied_at" not in done(filled, "show", "1").stdout


def test_the_class_of_a_failure_is_shown(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE outbox_events SET last_error = 'no', failure_class = 'capacity' WHERE seq = 2")
    assert "\nclass         capacity\n" in done(filled, "show", "2").stdout
    assert "\nclass " not in done(filled, "show", "1").stdout
    classes = [json.loads(done(filled, "show", seq, "--output", "json").stdout)["failure_class"] for seq in "12"]
    assert classes == [None, "capacity"]


def test_hostile_text_is_shown_and_not_obeyed(filled: str) -> None:
    for args in ((), ("--output", "json")):
        text = done(filled, "show", "2", *args).stdout
        assert text.replace("\n", "").isprintable()
        assert r"\u202e" in text


def test_an_event_that_is_not_there_ends_with_1(filled: str) -> None:
    for identity in ("99", str(uuid.uuid4())):
        result = relay(filled, "show", identity)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"error: there is no event {identity} in outbox_events\n"


def test_an_identity_that_is_none_is_refused(filled: str) -> None:
    for identity in ("x", "1.5", "9223372036854775808"):
        result = relay(filled, "show", identity)
        assert result.exit_code == 2
        assert "is neither a seq nor an id" in result.stderr


@pytest.mark.parametrize(
    ("payload_type", "payload", "lines", "as_json"),
    [
        ("bytea", b"\xff\x00\x01", ["payload       bytea, 3 bytes", "  ff 00 01"], {"payload_base64": "/wAB"}),
        ("bytea", b"\xff" * 300, ["payload       bytea, 300 bytes", "  " + "ff " * 256 + "..."], {}),
        ("bytea", b'{"a":1}', ["  {", '    "a": 1', "  }"], {"payload": {"a": 1}}),
        ("text", "two\nlines\t", ["payload       text, 10 bytes", "  two", r"  lines\t"], {"payload": "two\nlines\t"}),
        ("json", '{"a": 1,\n\t"a": 2.0}', ['    "a": 1,', '    "a": 2.0', "  }"], {"payload": {"a": 2.0}}),
    ],
)
def test_every_type_of_payload_is_shown(
    empty_database: str, payload_type: str, payload: str | bytes, lines: list[str], as_json: dict[str, object]
) -> None:
    done(empty_database, "migrate", "--payload-type", payload_type)
    with psycopg.connect(empty_database) as conn:
        conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('a', %s)", (payload,))
    assert done(empty_database, "show", "1").stdout.splitlines()[-len(lines) :] == lines
    event = json.loads(done(empty_database, "show", "1", "--output", "json").stdout)
    assert {name: event[name] for name in as_json} == as_json


def test_the_states_are_told_apart(filled: str) -> None:
    with psycopg.connect(filled) as conn:
        conn.execute("INSERT INTO outbox_events (topic, payload, retry_at) VALUES ('a', '1', now())")
        conn.execute("INSERT INTO outbox_events (topic, payload, dead_at) VALUES ('a', '1', now())")
    states = [json.loads(done(filled, "show", str(seq), "--output", "json").stdout)["state"] for seq in (1, 2, 3, 4)]
    assert states == ["delivered", "pending", "retry", "dead"]
