"""What comes back on a connection's inbox: every spelling of an acknowledgement counts, nonsense does no harm."""

import asyncio
from collections.abc import Sequence

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from relay.jetstream.acknowledgements import Stored
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import connect
from relay.jetstream.listener import Listener
from tests.support.fix_stream import Streams

SUBJECT = "answers.test"
TOKEN = 41
# Not as a server writes it, so that it takes the longest way and comes after all others.
LAST = b'{"seq":1,"stream":"LAST"}'


class Heard(Listener):
    """Writes down what is reported."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.ended = asyncio.Event()

    def stored(self, stored: Sequence[Stored]) -> None:
        for one in stored:
            if one[1] == "LAST":
                self.ended.set()
            else:
                self.told.append(("stored", *one))

    def refused(self, token: int, failure: object) -> None:
        self.told.append(("refused", token))

    def lost(self, reason: str) -> None:
        self.told.append(("lost", reason))


def answered(streams: Streams, *bodies: bytes) -> list[tuple[object, ...]]:
    """Return what a listener hears if each body is the answer to an event, until one more acknowledgement has come."""

    async def scenario() -> list[tuple[object, ...]]:
        async with asyncio.timeout(10):
            answering = Client()
            await answering.connect(streams.url)

            async def answer(event: Msg) -> None:
                for body in (*bodies, LAST):
                    await answering.publish(event.reply, body)

            await answering.subscribe(SUBJECT, cb=answer)
            await answering.flush()
            heard = Heard()
            connection = await connect(NatsOptions(servers=[streams.url]), streams.url, heard)
            await connection.publish([(TOKEN, SUBJECT, b"{}", "")])
            await heard.ended.wait()
            told = list(heard.told)
            await connection.close()
            await answering.close()
            return told

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"stream":"ORDERS","seq":7}', ("stored", TOKEN, "ORDERS", 7, False)),
        (b'{"stream":"ORDERS", "seq":7}', ("stored", TOKEN, "ORDERS", 7, False)),
        (b'{"seq":7,"stream":"ORDERS"}', ("stored", TOKEN, "ORDERS", 7, False)),
        (b'{"stream":"ORDERS","domain":"hub","seq":7}', ("stored", TOKEN, "hub/ORDERS", 7, False)),
        ('{"stream":"Aufträge","seq":7}'.encode(), ("stored", TOKEN, "Aufträge", 7, False)),
        (b'{"stream":"ORDERS","seq":7,"duplicate": true}', ("stored", TOKEN, "ORDERS", 7, True)),
        (b'{"error":{"code":400,"err_code":10054,"description":"no"},"stream":"ORDERS","seq":0}', ("refused", TOKEN)),
    ],
)
def test_every_spelling_of_an_answer_is_understood(streams: Streams, body: bytes, told: tuple[object, ...]) -> None:
    assert answered(streams, body) == [told]


def test_what_is_no_answer_is_passed_over(streams: Streams) -> None:
    nonsense = [b"nonsense", b"[" * 100_000, b"[]", b"7", b"{}", b'{"stream":"ORDERS"}', b'{"error":7}', b"\xff\xfe"]
    assert answered(streams, *nonsense) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"out of order"}',
        b'{"error":["no"]}',
        b'{"error":true}',
        b'{"error":{}}',
        b'{"error":{"code":500,"description":"handler failed"}}',
        b'{"error":{"code":-32601,"message":"Method not found"}}',
        b'{"error":{"err_code":"10054","description":"no"}}',
        b'{"error":{"err_code":true}}',
        b'{"error":{"err_code":500}}',
        b'{"error":{"err_code":1e4}}',
        b'{"stream":"ORDERS","seq":"7"}',
        b'{"stream":"ORDERS","seq":true}',
        b'{"stream":"ORDERS","seq":0}',
        b'{"seq":18446744073709551616,"stream":"ORDERS"}',
        b'{"stream":"a b","seq":7}',
        b'{"stream":7,"seq":7}',
        b'{"stream":"ORDERS","domain":7,"seq":7}',
        b"",
    ],
)
def test_an_answer_that_is_not_jetstreams_proves_neither_a_refusal_nor_a_success(streams: Streams, body: bytes) -> None:
    after = b'{"stream":"ORDERS","seq":7}'
    assert answered(streams, body, after) == [("stored", TOKEN, "ORDERS", 7, False)]
