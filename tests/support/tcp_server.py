"""A TCP server in a thread of its own that leaves no connection behind: what a test puts in somebody's way."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from relay.demo.servers import free_port

# What one connection is served with: it adds to the set what it opens itself, so that this is ended too.
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, set[asyncio.StreamWriter]], Awaitable[None]]


class TcpServer:
    """Serves each connection by a coroutine, from ``start`` to ``stop``.

    Whatever ends a connection, also the end of the server in the middle of it, its sockets are closed in the loop that
    opened them: a loop that ends before its transports leaves them to the collector, which tells of it in the test
    that happens to run then.

    Args:
        serve: Serves one connection; an ``OSError`` or a stream that ends too early is its usual end.

    Attributes:
        port: The port of 127.0.0.1.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="tcp-server")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._served: set[asyncio.Task[None]] = set()
        self._ending = False
        self.port = free_port()

    def start(self) -> Self:
        """Take clients."""
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def stop(self) -> None:
        """Take no more clients, end those that are there, and wait until all is closed."""
        assert self._loop is not None
        assert self._done is not None
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # refused clients, and those that are cut
        self._done = asyncio.Event()
        server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self._ready.set()
        await self._done.wait()
        self._ending = True
        for task in self._served:
            task.cancel()
        await nothing_open()
        server.close()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._ending:
            writer.transport.abort()
            return
        opened = {writer}
        task = asyncio.ensure_future(self._serve_one(reader, writer, opened))
        self._served.add(task)

        # Not in the task itself: one that is cancelled before its first step runs none of its own lines.
        def end(_: asyncio.Task[None]) -> None:
            self._served.discard(task)
            for one in opened:
                one.transport.abort()

        task.add_done_callback(end)

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened: set[asyncio.StreamWriter]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer, opened)


async def nothing_open() -> None:
    """Wait until every other task of this loop has ended, and what they aborted is closed.

    The loop's own tasks are among them: one takes in each accepted socket, and leaves it open if it is cancelled, or
    if the server is closed before. So a server is closed after this, with no wait between.
    """
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
        # What ends a connection is called in the turn after its task has ended, and its socket is closed in the turn
        # after that.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
