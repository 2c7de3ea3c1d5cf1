"""A trial beside the old reader: what both have sent is compared, on real streams."""

import json
import uuid
from typing import Any

import psycopg
import pytest
from nats.aio.client import Client

from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay

TABLE = """
CREATE TABLE outbox (
    id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL, payload jsonb
)"""
COMPARE = (
    "adopt",
    "compare",
    "--old",
    "OLD",
    "--new",
    "SHADOW",
    "--prefix",
    "orders.",
    "--slack",
    "0",
    "--output",
    "json",
)

Old = list[tuple[str, str, dict[str, str]]]


@pytest.fixture
def old_side(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Old:
    """Return what the old reader is to send of six events that the trial has sent."""
    streams.make("OLD", "outbox.event.>")
    streams.make("SHADOW", "orders.>")
    with psycopg.connect(outbox.dsn, autocommit=True) as conn:
        conn.execute(TABLE)
        done(outbox.dsn, "adopt", "install", "--preset", "debezium", "--yes")
        trial = make_relay(outbox.dsn, streams.url, subject__template="orders.{topic}", headers__key="true")
        trial.start()
        sent: Old = []
        for i in range(6):
            made = str(uuid.uuid4())
            payload = json.dumps({"i": i, "n": None})
            conn.execute("INSERT INTO outbox VALUES (%s, 'order', %s, 'placed', %s)", (made, f"k{i % 2}", payload))
            sent.append(("outbox.event.order", payload, {"id": made, "type": "placed"}))
    wait_until("the trial has sent them", lambda: streams.messages("SHADOW") == 6)
    return sent


def send(streams: Streams, sent: Old) -> None:
    """Send as the old reader does: with the event's id in a header, and without one of JetStream's."""

    async def store(client: Client) -> None:
        for subject, payload, headers in sent:
            await client.jetstream().publish(subject, payload.encode(), headers=headers)

    streams._with(store)


def compared(dsn: str, streams: Streams, *args: str) -> tuple[int, dict[str, Any]]:
    result = relay(dsn, *COMPARE, *args, RELAY_NATS__SERVERS=streams.url)
    return result.exit_code, json.loads(result.stdout)


def test_sides_that_sent_the_same_agree(outbox: Outbox, streams: Streams, old_side: Old) -> None:
    send(streams, old_side)
    assert compared(outbox.dsn, streams) == (0, {"old": 6, "new": 6, "both": 6, "with_key": 6, "differences": []})
    people = relay(outbox.dsn, *COMPARE[:-2], RELAY_NATS__SERVERS=streams.url)
    assert "both sides agree" in people.stderr
    # Nothing is old enough for this: that is no agreement.
    young = relay(outbox.dsn, *COMPARE[:-4], "--slack", "600", RELAY_NATS__SERVERS=streams.url)
    assert young.exit_code == 8
    assert "nothing was old enough" in young.stderr and "agree" not in young.stderr


def test_each_difference_is_told_with_its_event(outbox: Outbox, streams: Streams, old_side: Old) -> None:
    first, second, *_ = old_side
    ids = [headers["id"] for _, _, headers in old_side]
    changed = [
        ("outbox.event.x", second[1], second[2]),
        (first[0], first[1], first[2] | {"type": "cancelled", "more": "x"}),
        *old_side[2:4],
        (old_side[5][0], "{}", old_side[5][2]),
        (first[0], "{}", {"type": "placed"}),
    ]
    send(streams, [changed[2], *changed[:2], *changed[3:]])
    code, found = compared(outbox.dsn, streams)
    assert code == 8
    assert {one["kind"]: one["examples"] for one in found["differences"]} == {
        "new.only": [ids[4]],
        "old.no_id": ["#6"],
        "other.body": [ids[5]],
        "other.headers": [ids[0]],
        "other.order": [ids[0]],
        "other.subject": [ids[1]],
    }


def test_nothing_to_compare_is_no_agreement(outbox: Outbox, streams: Streams) -> None:
    streams.make("OLD", "old.>")
    streams.make("SHADOW", "orders.>")
    code, found = compared(outbox.dsn, streams)
    assert (code, found["both"]) == (8, 0)
    missing = relay(outbox.dsn, *COMPARE, "--old", "NONE", RELAY_NATS__SERVERS=streams.url)
    assert missing.exit_code == 8
    assert missing.stderr == "error: there is no stream NONE, or this account does not see it\n"


def test_what_debezium_writes_otherwise_hides_no_other_payload(outbox: Outbox, streams: Streams, old_side: Old) -> None:
    sides = [(subject, json.loads(payload), headers) for subject, payload, headers in old_side]
    expanded = [(subject, f'{{"i":{said["i"]}}}', headers) for subject, said, headers in sides]
    compact = (sides[1][0], '{"n":null,"i":1}', sides[1][2])
    wrong = (sides[2][0], '{"i":99}', sides[2][2])
    send(streams, [expanded[0], compact, wrong, *expanded[3:]])
    code, found = compared(outbox.dsn, streams)
    assert code == 8
    assert {one["kind"]: one["events"] for one in found["differences"]} == {
        "other.body": 1, "other.body_form": 1, "other.body_nulls": 4,
    }  # fmt: skip
    code, found = compared(outbox.dsn, streams, "--payloads", "json-without-nulls")
    assert (code, [(one["kind"], one["examples"]) for one in found["differences"]]) == (
        8,
        [("other.body", [wrong[2]["id"]])],
    )
    people = relay(outbox.dsn, *COMPARE[:-2], RELAY_NATS__SERVERS=streams.url)
    assert "--payloads json-without-nulls" in people.stderr


def test_what_debezium_expands_can_agree(outbox: Outbox, streams: Streams, old_side: Old) -> None:
    send(streams, [(subject, payload.replace(', "n": null', ""), headers) for subject, payload, headers in old_side])
    assert compared(outbox.dsn, streams)[0] == 8
    assert compared(outbox.dsn, streams, "--payloads", "json-without-nulls")[0] == 0
