"""The doorbell: sleep until an insert rings, at no cost to producers while the relay is awake.

While the relay holds the advisory lock, every insert notifies it. While a producer's transaction is open the lock
cannot be had, so the relay polls on; once it is held, every later insert fails its try to share it, and rings. One more
look at the outbox after taking it leaves no moment in between. If a transaction stays open the relay stands in line for
the lock (`relay.postgres.bell_queue`): then later ones ring, and it polls for that one alone.

It needs a connection of its own that keeps its session: behind a transaction pooler it has a DSN of its own, or
polling alone serves. The first `take` finds out which, by ringing once from another connection.

Only one relay can hold the bell. The others hear its ring too, so beside one that sleeps they sleep as well; when
it gives the bell back it rings once more, since from then on no insert does.

A relay that is stopped, or cut off from PostgreSQL in silence, rings no producer for long: the server ends the
session of a holder that asks nothing for a while, so a holder asks now and then.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from relay.errors import StatementRefused
from relay.observe.logs import event as log_event
from relay.postgres.bell_queue import BellQueue
from relay.postgres.database import OUTAGES, Database
from relay.postgres.rows import BellRow
from relay.postgres.tables import Tables

log = logging.getLogger(__name__)

_STATEMENT_TIMEOUT_S = 5.0
_RETRY_S = 2.0
# A ring of our own takes 1 ms; a pooler that swallows it does so for ever.
_TEST_TIMEOUT_S = 2.0
# After the bell could not be had for so long we stand in line for it: most transactions are over sooner.
_QUEUE_AFTER_S = 1.0
# How long we trust that another relay still holds the bell: it could end without a ring.
_TRUST_S = 5.0
# After so long without a statement the server ends the session that holds the bell; a holder sends one sooner.
_IDLE_LIMIT_S = 8.0
_KEEP_EACH_S = 3.0
# Without the bell polling finds new events: nothing that it is refused for ends the relay.
_FAILURES = (*OUTAGES, psycopg.Error, StatementRefused)


class Doorbell:
    """The bell of one outbox. Used by one task at a time.

    Args:
        database: A connection for the bell alone.
        elsewhere: Another connection, from which the bell is tried.
        queue: Our place in line for it.

    Attributes:
        hung: Whether an insert would ring while this relay holds the bell.
        held: Whether it holds it.
    """

    def __init__(self, database: Database, elsewhere: Database, tables: Tables, queue: BellQueue) -> None:
        self._database = database
        self._queue = queue
        # Since when the bell cannot be had, as transactions are open that began while we were awake.
        self._kept_since: float | None = None
        self._elsewhere = elsewhere
        self._tables = tables
        self._generation = 0
        self._try_at = 0.0
        self._ask_at = 0.0
        self._trust_until = 0.0
        # When a holder says next that it is still here.
        self._keep_at = 0.0
        self.hung = False
        self.held = False
        self._has_company = False
        self._making: asyncio.Task[None] | None = None
        # What has come and was not slept for yet.
        self._heard: deque[psycopg.Notify] = deque()

    def note_company(self, other_relays: int) -> None:
        """Note how many other relays are alive: they may want the bell when we give it back."""
        self._has_company = other_relays > 0

    @property
    def rings(self) -> bool:
        """Whether an insert rings: for us, or for another relay that sleeps."""
        return self.held or time.monotonic() < self._trust_until

    @property
    def rings_for_later(self) -> bool:
        """Whether an insert rings but for those of transactions that were open before."""
        return self.hung and self._queue.in_line

    @property
    def some_ring(self) -> bool:
        """Whether inserts ring, all or some, for whichever relay."""
        return self.rings or self.rings_for_later

    async def waiting(self) -> int:
        """Return how many sessions wait to ring; 0 if that cannot be asked."""
        try:
            async with asyncio.timeout(_STATEMENT_TIMEOUT_S):
                conn = await self._database.connection()
                row = await (await conn.execute(self._tables.query("doorbell/crowd"))).fetchone()
        except _FAILURES as error:
            await self._fall(error)
            return 0
        return 0 if row is None else int(row[0])

    async def take(self) -> bool:
        """Ask for the bell before sleeping; return whether every insert from now on rings.

        If it is not hung yet that is done beside the caller, who polls meanwhile: its address may lead to a server that
        never answers.
        """
        now = time.monotonic()
        waits = now < self._try_at or (self._queue.in_line and now < self._ask_at)
        if self.rings or waits or not await self._made():
            return self.rings
        try:
            async with asyncio.timeout(_STATEMENT_TIMEOUT_S):
                conn = await self._database.connection()
                if self.hung:
                    cursor = psycopg.AsyncRawCursor(conn)
                    await cursor.execute(self._tables.query("doorbell/take"), (f"{_IDLE_LIMIT_S * 1000:.0f}",))
                    row = await cursor.fetchone()
                    bell = BellRow(False, False) if row is None else BellRow._make(row)
                    self.held = bell.ours
                    self._keep_at = time.monotonic() + _KEEP_EACH_S
                    if bell.another_sleeps:
                        self._trust_until = time.monotonic() + _TRUST_S
                    await self._stand_in_line(conn)
                self._database.succeeded()
        except _FAILURES as error:
            await self._fall(error)
        return self.rings

    async def _stand_in_line(self, conn: psycopg.AsyncConnection[Any]) -> None:
        now = time.monotonic()
        if self.rings:
            self._kept_since = None
            await self._queue.leave()
        elif self._kept_since is None:
            self._kept_since = now
        elif now - self._kept_since >= _QUEUE_AFTER_S:
            await self._queue.join(conn)
            if self._queue.in_line:
                # Whether another relay sleeps with the bell by then; sooner if the line is at its end.
                self._ask_at = now + _TRUST_S

    @property
    def coming(self) -> bool:
        """Whether it is being made: it may ring in a moment."""
        return self._making is not None and not self._making.done()

    async def _made(self) -> bool:
        """Report whether the bell is made for the connection of now; begin to make it if not."""
        if self._making is not None:
            if not self._making.done():
                return False
            making, self._making = self._making, None
            await making
        elif not (self._database.connected and self._generation == self._database.generation):
            self._making = asyncio.create_task(self._make(), name="bell")
        return self._database.connected and self._generation == self._database.generation

    async def _make(self) -> None:
        try:
            await self._database.connection()
            async with asyncio.timeout(_STATEMENT_TIMEOUT_S):
                await self._hang()
        except _FAILURES as error:
            await self._fall(error)

    async def close(self) -> None:
        """Make it no further."""
        await self._queue.leave()
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def release(self) -> None:
        """Give the bell back: we are awake, and inserts need not ring."""
        self._trust_until, self._kept_since = 0.0, None
        await self._queue.leave()
        if not self.held:
            return
        self.held = False
        try:
            async with asyncio.timeout(_STATEMENT_TIMEOUT_S):
                conn = await self._database.connection()
                async with psycopg.AsyncRawCursor(conn) as cursor:
                    await cursor.execute(self._tables.query("doorbell/release"), (self._has_company,))
        except _FAILURES as error:
            await self._fall(error)

    async def keep(self) -> None:
        """Let PostgreSQL hear of the holder, if this relay is one and it is time to."""
        if not self.held or time.monotonic() < self._keep_at:
            return
        try:
            async with asyncio.timeout(_STATEMENT_TIMEOUT_S):
                conn = await self._database.connection()
                await conn.execute(self._tables.query("doorbell/keep"))
        except _FAILURES as error:
            await self._fall(error)
        self._keep_at = time.monotonic() + _KEEP_EACH_S

    async def sleep(self, timeout_s: float, at_ring: Callable[[], None] | None) -> bool:
        """Sleep until it rings, `timeout_s` seconds at most; return whether something may have come.

        Args:
            timeout_s: The longest sleep.
            at_ring: Called as soon as it rings, before the caller wakes. Must not raise.
        """
        held = self.held
        await self.keep()
        if held:
            if not self.held:
                return True
            timeout_s = min(timeout_s, max(0.001, self._keep_at - time.monotonic()))
        try:
            conn = await self._database.connection()
            if not self._heard:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await self._database.until_notified(at_ring)
            rang = bool(self._heard)
            while self._heard:
                if self._heard.popleft().pid != conn.info.backend_pid:
                    self._trust_until = 0.0
        except _FAILURES as error:
            await self._fall(error)
            return True
        return rang

    async def _hang(self) -> None:
        """Listen, and ring once from elsewhere: a pooler in between accepts LISTEN and never delivers."""
        conn = await self._database.connection()
        self._heard.clear()
        conn.add_notify_handler(self._heard.append)
        await conn.execute(self._tables.query("doorbell/listen"))
        self._generation = self._database.generation
        await self._elsewhere.run(self._tables.query("doorbell/test"))
        with suppress(TimeoutError):
            async with asyncio.timeout(_TEST_TIMEOUT_S):
                while not self._has_heard_test():
                    await self._database.until_notified()
        self.hung = rang = self._has_heard_test()
        self._heard.clear()
        if rang:
            log_event(log, "info", "bell.hung", "inserts ring when this relay sleeps")
        else:
            log_event(
                log,
                "warning",
                "bell.silent",
                "notifications do not arrive, as behind a transaction pooler: polling alone finds new events; "
                "set postgres.bell_dsn to a direct address for a quicker wake-up",
            )

    def _has_heard_test(self) -> bool:
        return any(notification.payload == "test" for notification in self._heard)

    async def _fall(self, error: Exception) -> None:
        self.held = self.hung = False
        self._trust_until, self._kept_since = 0.0, None
        await self._queue.leave()
        self._try_at = time.monotonic() + _RETRY_S
        await self._database.drop(error)
