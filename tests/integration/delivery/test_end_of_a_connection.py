"""The end of a connection to NATS is told, and soon: until then nobody makes another one."""

import asyncio

import pytest
from nats.aio.transport import TcpTransport

from relay.demo.servers import NatsServer
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import connect
from relay.jetstream.errors import BrokerError
from relay.jetstream.listener import Listener

MB = 1_000_000
MESSAGE = b"PUB a.b %d\r\n%b\r\n" % (MB, b"x" * MB)


@pytest.mark.parametrize("buffered", [0, 1], ids=["in the socket", "in the buffer"])
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_server_that_takes_nothing_more_ends_the_connection(own_nats: NatsServer, how: str, buffered: int) -> None:
    """Whatever waits to be written."""

    async def scenario() -> None:
        options = NatsOptions(servers=[own_nats.url], ping_interval_s=1 if how == "frozen" else 60)
        connection = await connect(options, own_nats.url, Listener())
        client = connection._nc
        own_nats.pause()
        assert isinstance(client._transport, TcpTransport)
        assert client._transport._io_writer is not None
        while not client._transport._io_writer.transport.get_write_buffer_size():
            await client.send(MESSAGE)
            await asyncio.sleep(0.01)
        if buffered:
            await client.send(MESSAGE)
            assert client.pending_data_size
        if how == "killed":
            own_nats.kill()
        async with asyncio.timeout(30):
            assert await connection.ended()
            with pytest.raises(BrokerError):
                await connection.request("STREAM.NAMES", {}, 1.0)
            await connection.close()

    asyncio.run(scenario())
