"""The samples of the producers' guide in Go, Java and Node run as they are printed, if their toolchain is at hand."""

import json
import uuid
from pathlib import Path

import pytest
from languages import RUN
from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", RUN)
def test_its_event_reaches_the_stream_once_and_only_if_it_is_committed(
    language: str, producer: str, outbox: Outbox, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    program = tmp_path / language
    program.mkdir()
    RUN[language](program, producer)
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, headers__key="true").start()
    outbox.drained()
    relay.stop()
    (message,) = streams.read("ORDERS")
    assert (message.subject, json.loads(message.data)) == ("orders.placed", {"order": 42})
    assert (message.headers["tenant"], message.headers["Outbox-Key"]) == ("a", "order-42")
    (sent,) = outbox.conn.execute("SELECT id FROM outbox_events").fetchall()
    assert uuid.UUID(message.headers["Nats-Msg-Id"]) == sent[0]
    assert outbox.conn.execute("SELECT id FROM orders").fetchall() == [(42,)]
