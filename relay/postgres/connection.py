"""A connection to PostgreSQL that costs nothing while it waits, and little when it is answered."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import AsyncRowFactory, tuple_row
from psycopg.waiting import Ready, Wait

from relay.postgres.large_results import Parts, cancel_at_next_wait, pause

# Seconds; what a connection waits for wakes it at once.
_INTERVAL_S = 60.0

T = TypeVar("T")


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection that wakes for what comes, and not ten times a second to see whether somebody pressed Ctrl-C.

    That is the driver's default, also in asyncio, where a task is cancelled without it. An idle relay takes 0.7 %
    of a core instead of 0.95 (docs/operations/measurements.md). Large results are read in few wakes.

    The loop is told of the socket once, and not for each answer. It watches on while nobody waits; if something comes
    then, such as the end of the connection, it is told to look no more until somebody waits again.
    """

    def __init__(self, pgconn: PGconn, row_factory: AsyncRowFactory[tuple[Any, ...]] = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        # The socket that the loop watches.
        self._watched: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Whether a task was woken for what the loop sees: it looks once more before that task has read.
        self._is_told = False
        # Whether a task waits for notifications, and what is to be done when they are here.
        self._is_listening = False
        self._at_once: Callable[[], None] | None = None
        # What is called if there is something to read while no task waits for that.
        self._when_readable: Callable[[], None] | None = None

    def wait(
        self, gen: PQGen[T], interval: float = _INTERVAL_S, timeout: float | None = None
    ) -> Coroutine[Any, Any, T]:
        """Wait as the driver does, but for the interval, for how it looks at the socket, and for large results."""
        if timeout is not None:
            self._unwatch()
            return super().wait(gen, interval, timeout)
        return self._wait(gen, interval)

    async def _wait(self, gen: PQGen[T], interval: float) -> T:
        parts = Parts(gen, self.pgconn.socket)
        while not await self._run(parts.next_part(), interval):
            await pause()
        return parts.result[0]

    def when_readable(self, call: Callable[[], None]) -> None:
        """Call this once there is something to read, unless a task waits for that by then. It must not raise."""
        self._when_readable = call
        self._watch()

    async def until_notified(self, at_once: Callable[[], None] | None = None) -> None:
        """Wait for notifications; they go to the handlers of the connection.

        Args:
            at_once: Called as soon as they are read, before the handlers and before the task that waits wakes: what
                comes later is left for the next call of this method. Must not raise.

        Raises:
            psycopg.OperationalError: The connection has ended.
        """
        async with self.lock:
            # One that came with the answer to a statement is read already.
            if self._hand_on():
                return
            self._at_once, self._is_listening = at_once, True
            try:
                await self._readable()
            finally:
                self._at_once, self._is_listening = None, False
                self._unwatch_if_ended()

    async def close(self) -> None:
        """Close the connection; who still waits for something to read gets the error of a connection that has ended."""
        self._unwatch()
        if self._waiter is not None and not self._waiter.done():
            # Nobody watches the socket any more.
            self._waiter.set_exception(psycopg.OperationalError("the connection is closed"))
        await super().close()

    async def _run(self, gen: PQGen[T], interval: float) -> T:
        """Run a generator of the driver. What is not reading alone, and what is cancelled, goes the driver's way."""
        wanted = Wait.R
        try:
            wanted = next(gen)
            while wanted == Wait.R:
                await self._readable()
                wanted = gen.send(Ready.R)
        except StopIteration as end:
            result: T = end.value
            return result
        except asyncio.CancelledError:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            cancel_at_next_wait()
        finally:
            self._unwatch_if_ended()
        self._unwatch()
        return await super().wait(resumed(gen, wanted), interval)

    async def _readable(self) -> None:
        """Wait until there is something to read."""
        self._when_readable = None
        self._watch()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _on_readable(self) -> None:
        waiter = self._waiter
        if self._is_told:
            self._is_told = False
        elif waiter is None:
            call, self._when_readable = self._when_readable, None
            if call is None:
                self._unwatch()
            else:
                call()
                self._unwatch_if_ended()
        elif waiter.done():
            pass
        elif self._is_listening:
            self._take_notifications(waiter)
        else:
            self._is_told = True
            waiter.set_result(None)

    def _take_notifications(self, waiter: asyncio.Future[None]) -> None:
        try:
            self.pgconn.consume_input()
            if self._hand_on(self._at_once):
                waiter.set_result(None)
        except psycopg.OperationalError as error:
            waiter.set_exception(error)
            self._unwatch_if_ended()

    def _hand_on(self, at_once: Callable[[], None] | None = None) -> bool:
        """Hand the notifications that were read to the handlers; return whether there were any.

        Args:
            at_once: Called before that if there are any.
        """
        handler, notification = self.pgconn.notify_handler, self.pgconn.notifies()
        if notification is None:
            return False
        if at_once is not None:
            at_once()
        while notification is not None:
            if handler is not None:
                handler(notification)
            notification = self.pgconn.notifies()
        return True

    def _watch(self) -> None:
        if self._watched is None:
            self._watched = self.pgconn.socket
            asyncio.get_running_loop().add_reader(self._watched, self._on_readable)

    def _unwatch_if_ended(self) -> None:
        """Forget the socket of a connection that has ended: libpq has closed it, and another may have its number."""
        if self.pgconn.status != ConnStatus.OK:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
        self._watched, self._is_told = None, False


def resumed(gen: PQGen[T], wanted: Wait) -> PQGen[T]:
    """Go on with a generator that waits for something."""
    try:
        while True:
            wanted = gen.send((yield wanted))
    except StopIteration as end:
        result: T = end.value
        return result
