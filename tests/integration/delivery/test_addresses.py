"""A server whose name has several addresses is reached over any of them."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import connect
from relay.jetstream.listener import Listener
from tests.support.fix_stream import Streams

SILENT, REFUSING, ALIVE = "127.0.0.2", "127.0.0.3", "127.0.0.1"


@contextmanager
def silent(port: int) -> Iterator[None]:
    """Have an address of this machine answer nobody: what waits there is not taken, and no more fits in."""
    with ExitStack() as sockets:
        listening = sockets.enter_context(socket.socket())
        listening.bind((SILENT, port))
        listening.listen(0)
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((SILENT, port))
        yield


@pytest.mark.parametrize("addresses", [(SILENT, ALIVE), (SILENT, REFUSING, ALIVE), (ALIVE, SILENT)])
def test_a_silent_address_does_not_keep_the_others_from_being_tried(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    port = int(streams.url.rsplit(":", 1)[1])

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        assert host == "nats.test"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    async def scenario() -> None:
        url = f"nats://nats.test:{port}"
        connection = await connect(NatsOptions(servers=[url], connect_timeout_s=5), url, Listener())
        assert connection.up
        await connection.close()

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with silent(port):
        asyncio.run(scenario())
