"""A task that is cancelled while it asks NATS ends: one that goes on keeps the relay from stopping."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import Connection, connect
from relay.jetstream.listener import Listener
from tests.support.fix_stream import Streams

QUESTION = "DIRECT.GET.NOWHERE"


def test_a_question_is_cancelled_even_as_its_connection_ends(streams: Streams) -> None:
    """As when the relay stops: the tasks of a term and their connection end at once."""

    async def scenario() -> None:
        async with asyncio.timeout(10):
            silent = Client()
            await silent.connect(streams.url)
            asked = await silent.subscribe(f"$JS.API.{QUESTION}")
            asks: tuple[Callable[[Connection], Coroutine[Any, Any, object]], ...] = (
                lambda connection: connection.request(QUESTION, {}, 5.0),
                lambda connection: connection.request_many(QUESTION, {}, 5.0),
                lambda connection: connection.request_each(QUESTION, [{}], 5.0),
            )
            for ask in asks:
                connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
                asking = asyncio.create_task(ask(connection))
                await asked.next_msg(5)
                asking.cancel()
                await connection.close()
                await asyncio.wait((asking,))
                assert asking.cancelled(), ask
            await silent.close()

    asyncio.run(scenario())


def test_a_question_is_cancelled_even_as_its_answer_comes(streams: Streams) -> None:
    """Whichever pass of the loop takes the answer, the cancellation comes in one of the next."""

    async def scenario() -> None:
        async with asyncio.timeout(20):
            answering = Client()
            await answering.connect(streams.url)

            async def answer(question: Msg) -> None:
                await question.respond(b"{}")

            await answering.subscribe(f"$JS.API.{QUESTION}", cb=answer)
            connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
            client = connection._nc
            for passes in range(4):
                before = client.stats["in_msgs"]
                asking = asyncio.create_task(_ask_and_go_on(connection))
                for _ in count():  # of passes of the loop: none may go by between the answer and what follows
                    if client.stats["in_msgs"] > before:
                        break
                    await asyncio.sleep(0)
                for _ in range(passes):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait((asking,), timeout=2)
                assert asking.done(), f"it goes on, {passes} passes after its answer came"
            await connection.close()
            await answering.close()

    asyncio.run(scenario())


async def _ask_and_go_on(connection: Connection) -> None:
    await connection.request(QUESTION, {}, 5.0)
    await asyncio.sleep(3600)


def test_a_ping_that_nobody_waits_for_any_more_does_not_end_the_reader(streams: Streams) -> None:
    """As when the relay stops while it connects: the answer comes, and its future is cancelled."""

    async def scenario() -> None:
        async with asyncio.timeout(10):
            connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
            client = connection._nc
            pinging = asyncio.create_task(client.flush(5))
            await asyncio.sleep(0)
            pinging.cancel()
            await asyncio.wait((pinging,))
            assert pinging.cancelled()
            await client.rtt(5)
            await connection.close()

    asyncio.run(scenario())


def test_a_connection_that_is_cancelled_as_it_is_made_leaves_no_socket_open(streams: Streams) -> None:
    """Whichever pass of the loop it is cancelled in; pytest makes an error of a socket that nobody has closed."""

    async def scenario() -> None:
        async with asyncio.timeout(30):
            for passes in range(200):
                connecting = asyncio.create_task(connect(NatsOptions(servers=[streams.url]), streams.url, Listener()))
                for _ in range(passes % 40):
                    await asyncio.sleep(0)
                await asyncio.sleep(passes // 40 / 2000)
                connecting.cancel()
                with suppress(asyncio.CancelledError):
                    await (await connecting).close()

    asyncio.run(scenario())
    gc.collect()
