"""A server in somebody's way closes what it opened, at whatever moment it is ended."""

import asyncio
import gc
import socket
import warnings

import pytest

from tests.support.tcp_server import TcpServer


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_a_server_that_ends_in_the_middle_of_connections_leaves_none_to_the_collector(pause_s: float) -> None:
    far = socket.create_server(("127.0.0.1", 0))
    reached = []

    async def serve(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened: set[asyncio.StreamWriter]
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(*far.getsockname())
        opened.add(far_writer)
        reached.append(far_writer)
        await asyncio.gather(reader.read(1), far_reader.read(1))

    server = TcpServer(serve).start()
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for client in clients:
        client.settimeout(pause_s or None)
    if pause_s:
        with pytest.raises(TimeoutError):
            clients[-1].recv(1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        server.stop()
        gc.collect()
    assert [str(one.message) for one in told] == []
    for one in (*clients, far):
        one.close()
    assert bool(reached) or not pause_s
