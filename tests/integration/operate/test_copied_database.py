"""A database is copied, and a relay works on each: under one origin both draw the same seqs, and that is told."""

import json
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from relay.postgres.migrate import new_origin
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_rights import NATS_USER, as_relay
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay as command

NUMBERED = {"headers__seq": "true"}


@pytest.fixture
def copied(outbox: Outbox, postgres_dsn: str) -> Iterator[Callable[[], Outbox]]:
    """Copy the outbox's database, which nobody may use meanwhile; return the outbox of the copy."""
    name = f"copy_{uuid.uuid4().hex[:12]}"
    made: list[Outbox] = []

    def copy() -> Outbox:
        source = outbox.conn.info.dbname
        outbox.conn.close()
        with psycopg.connect(postgres_dsn, autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
            )
        outbox.reconnect()
        made.append(Outbox(outbox.dsn.rsplit("/", 1)[0] + f"/{name}"))
        return made[0]

    yield copy
    for one in made:
        one.conn.close()
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def of_seqs(outbox: Outbox, streams: Streams) -> tuple[str, str]:
    """Return what the doctor says of the seqs in ORDERS."""
    user = {f"RELAY_{name.upper()}": value for name, value in NATS_USER.items()}
    environ = {"RELAY_NATS__SERVERS": streams.url, "RELAY_HEADERS__SEQ": "true", **user}
    found = json.loads(command(as_relay(outbox.dsn), "doctor", "--output", "json", **environ).stdout)["findings"]
    (one,) = [one for one in found if one["check"] == "seqs in ORDERS"]
    return one["level"], one["seen"]


def test_a_copy_that_sends_to_the_same_stream_is_told_on_both_sides(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, copied: Callable[[], Outbox]
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, streams.url, **NUMBERED).start()
    outbox.fill("orders.placed", 10, keys=3)
    outbox.drained()
    assert of_seqs(outbox, streams)[0] == "ok"
    relay.stop()
    copy = copied()
    relay.start()
    of_copy = make_relay(copy.dsn, streams.url, **NUMBERED).start()
    for one in (outbox, copy):
        one.fill("orders.later", 5, keys=3)
        one.drained()
    for one in (outbox, copy):
        level, seen = of_seqs(one, streams)
        assert level == "fault"
        assert "5 of its" in seen and "from seq 11 on" in seen
    # One of the two notices at its next start, as the other one's messages lie above its floor.
    for again in (relay, of_copy):
        again.stop()
        again.start()
        again.said("relay.active", 2)
    outbox.delivered(outbox.insert("orders.later", "k", {"i": 6}))
    copy.delivered(copy.insert("orders.later", "k", {"i": 6}))
    assert relay.lines("seqs.again") or of_copy.lines("seqs.again")


def test_a_copy_that_has_begun_an_origin_of_its_own_hinders_nobody(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, copied: Callable[[], Outbox]
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=True)
    relay = make_relay(outbox.dsn, streams.url, **NUMBERED).start()
    outbox.fill("orders.placed", 10, keys=3)
    outbox.drained()
    relay.stop()
    copy = copied()
    with psycopg.connect(copy.dsn) as conn:
        new_origin(conn, "outbox_events")
    relays = [relay.start(), make_relay(copy.dsn, streams.url, **NUMBERED).start()]
    for one in (outbox, copy):
        one.fill("orders.later", 5, keys=3)
        one.drained()
    for again in relays:
        again.stop()
        again.start()
    for one in (outbox, copy):
        one.delivered(one.insert("orders.later", "k", {"i": 6}))
        assert of_seqs(one, streams)[0] == "ok"
    names = {(message.headers["Outbox-Origin"], message.headers["Outbox-Seq"]) for message in streams.read("ORDERS")}
    assert len(names) == streams.messages("ORDERS") == 22
    assert [one.lines("seqs.again") for one in relays] == [[], []]
