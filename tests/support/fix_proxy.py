"""A TCP proxy that can refuse, cut, swallow, delay and crumble: faults of the network, made for real."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.tcp_server import nothing_open

# The pieces of a crumbled stream go out this far apart: long enough that each is read alone.
_CRUMB_PAUSE_S = 0.0005
# No more pieces of what was read at once: a large batch would take minutes.
_MOST_CRUMBS = 32


class Proxy:
    """Passes bytes between a client and a server until told otherwise, by any thread.

    Attributes:
        delay_s: For which each read of bytes is kept back, seconds, in both directions.
        bytes_a_second: How much passes in each direction, None: as much as comes.
        deadly: Cut the connection over which these bytes come; empty: none.
        strays: Bytes, those of the same length that are passed on instead of them, and how often this is done yet.
        unchanged: How often the former are passed on as they are before that.
        crumble: Pass on what was read in small pieces, so that the far end meets every message in halves.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = 0
        self.delay_s = 0.0
        self.bytes_a_second: float | None = None
        self.crumble = False
        self.deadly = b""
        self.strays: tuple[bytes, bytes, int] = (b"", b"", 0)
        self.unchanged = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        await self.end()
        self.close()

    async def end(self) -> None:
        """Cut everything, and whoever comes from now on."""
        self._refusing = True
        self._abort()
        self._flows.set()
        self._answers.set()
        while self._writers:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Listen no more; what was accepted at this moment may stay open: see ``nothing_open``."""
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """End every connection now."""
        self._soon(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _soon(self, act: Callable[[], None]) -> None:
        assert self._loop is not None, "not started"
        self._loop.call_soon_threadsafe(act)

    def refuse(self, refusing: bool) -> None:
        """Take no new connection, or take them again."""
        self._refusing = refusing

    def swallow(self) -> None:
        """Pass nothing on, while connections stay open: a network that is silent."""
        self._soon(self._flows.clear)

    def deafen(self) -> None:
        """Pass on what the client says and nothing of what the server answers."""
        self._soon(self._answers.clear)

    def flow(self) -> None:
        """Pass everything on again, whole and at once."""
        self._soon(self._flows.set)
        self._soon(self._answers.set)
        self._refusing = False
        self.delay_s = 0.0
        self.bytes_a_second = None
        self.crumble = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        far_writer = None
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers.add(far_writer)
            await asyncio.gather(
                self._pump(reader, far_writer, self._flows), self._pump(far_reader, writer, self._answers)
            )
        except OSError:
            pass  # the server is not there: the client sees its connection end
        finally:
            for one in (writer, far_writer):
                if one is not None:
                    one.transport.abort()
                    self._writers.discard(one)

    def _lead_astray(self, data: bytes) -> bytes:
        wanted, other, times = self.strays
        if not times or wanted not in data:
            return data
        if self.unchanged:
            self.unchanged -= 1
            return data
        self.strays = (wanted, other, times - 1)
        return data.replace(wanted, other, 1)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_: asyncio.Event) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self.deadly and self.deadly in data:
                    break
                data = self._lead_astray(data)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_a_second is not None:
                    await asyncio.sleep(len(data) / self.bytes_a_second)
                await self._flows.wait()
                await open_.wait()
                size = max(1, -(-len(data) // _MOST_CRUMBS)) if self.crumble else len(data)
                for at in range(0, len(data), size):
                    writer.write(data[at : at + size])
                    await writer.drain()
                    if self.crumble:
                        await asyncio.sleep(_CRUMB_PAUSE_S)
        writer.transport.abort()


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """Make proxies in front of ports of this machine; they run in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies")
    thread.start()
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        one = Proxy("127.0.0.1", port)
        asyncio.run_coroutine_threadsafe(one.start(), loop).result(5)
        made.append(one)
        return one

    yield make

    async def end() -> None:
        for one in made:
            await one.end()
        await nothing_open()
        for one in made:
            one.close()

    try:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def through_us(proxy: Callable[[int], Proxy]) -> Callable[[str], str]:
    """Lead to a NATS server through this process: ``through_us(nats_url)``.

    A test that is to meet a relay in the middle of its work does so however long it stands still itself: so does the
    relay.
    """

    def lead(url: str) -> str:
        return f"nats://127.0.0.1:{proxy(int(url.rpartition(':')[2])).port}"

    return lead
