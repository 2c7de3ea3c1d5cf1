"""Many questions of one kind are asked at once, and each gets its own answer, or none does."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import connect
from relay.jetstream.errors import BrokerError, LookupForbidden
from relay.jetstream.listener import Listener
from tests.support.fix_stream import Streams

QUESTION = "STREAM.MSG.GET.NOWHERE"
MANY = 1000

Answer = Callable[[Msg], Awaitable[None]]


def ask(streams: Streams, answer: Answer | None, many: int = MANY, timeout_s: float = 5.0) -> list[dict[str, Any]]:
    """Ask for each number while somebody answers on the subject of the question, or nobody does."""

    async def run() -> list[dict[str, Any]]:
        other = Client()
        await other.connect(streams.url)
        if answer is not None:
            await other.subscribe(f"other.{QUESTION}", cb=answer)
            await other.flush()
        connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
        try:
            return await connection.request_each(QUESTION, [{"seq": n} for n in range(many)], timeout_s, "other")
        finally:
            await connection.close()
            await other.close()

    return asyncio.run(run())


def seq(question: Msg) -> int:
    return int(json.loads(question.data)["seq"])


async def echo(question: Msg) -> None:
    await question.respond(json.dumps({"is": seq(question)}).encode())


def test_each_answer_is_that_of_its_question_in_whatever_order_they_come(streams: Streams) -> None:
    held: list[Msg] = []

    async def late(question: Msg) -> None:
        held.append(question)
        if len(held) == MANY:
            for one in reversed(held):
                await echo(one)

    assert ask(streams, late) == [{"is": n} for n in range(MANY)]
    assert ask(streams, echo, many=1) == [{"is": 0}]


def test_nobody_answers(streams: Streams) -> None:
    with pytest.raises(LookupForbidden):
        ask(streams, None)


def test_one_answer_is_missing(streams: Streams) -> None:
    async def all_but_one(question: Msg) -> None:
        if seq(question) != 17:
            await echo(question)

    with pytest.raises(LookupForbidden):
        ask(streams, all_but_one, many=50, timeout_s=0.5)


def test_strangers_answer_on_other_numbers(streams: Streams) -> None:
    """What comes on the inbox and belongs to no question counts for none."""

    async def with_more(question: Msg) -> None:
        inbox = question.reply.rpartition(".")[0]
        for number in ("50", "99999999999", "x", "-1", "\u0663"):
            await question._client.publish(f"{inbox}.{number}", b"{}")
        await echo(question)

    assert ask(streams, with_more, many=50) == [{"is": n} for n in range(50)]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"error": 5}', b"\xff"])
def test_an_answer_is_nonsense(streams: Streams, body: bytes) -> None:
    async def nonsense(question: Msg) -> None:
        await question.respond(body if seq(question) == 3 else b"{}")

    with pytest.raises(BrokerError):
        ask(streams, nonsense, many=5)
