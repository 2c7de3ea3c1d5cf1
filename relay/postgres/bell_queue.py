"""Stand in line for the bell while an open transaction keeps it from us.

A transaction that has inserted while the relay was awake shares the lock of the bell until it ends, so that the relay
cannot take it. But whoever waits for a lock lets nobody else share it: while the relay stands in line every insert of a
*later* transaction fails its try, and rings. Only what was open before has to be looked for by polling.

It takes a session of its own, for one that waits hears no ring. That is opened when it is needed and closed afterwards.
"""

import asyncio
import logging
import time
from typing import Any

import psycopg

from relay.postgres.database import OUTAGES, Database
from relay.postgres.server_error import words
from relay.postgres.tables import Tables

log = logging.getLogger(__name__)

_RETRY_S = 30.0
# One stands in line for so long at a time, then again: of a relay that is stopped PostgreSQL knows nothing.
_PATIENCE_S = 5.0


class BellQueue:
    """The place in line of one relay.

    Args:
        database: A connection for that alone.

    Attributes:
        in_line: Whether an insert rings if its transaction has inserted nothing before.
    """

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables
        self._waiting: asyncio.Task[None] | None = None
        self._session: int | None = None
        # Not sooner, after it could not be had.
        self._try_at = 0.0
        self.in_line = False

    async def join(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Stand in line, or find out whether we do: a later call does that.

        Args:
            conn: Another connection, to ask over.

        Raises:
            psycopg.Error: It could not be asked.
        """
        if self._waiting is None or self._waiting.done():
            if time.monotonic() >= self._try_at:
                self._waiting = asyncio.create_task(self._wait(), name="bell-queue")
        elif self._session is not None:
            cursor = psycopg.AsyncRawCursor(conn)
            await cursor.execute(self._tables.query("doorbell/in_line"), (self._session,))
            self.in_line = await cursor.fetchone() is not None and self._session is not None

    async def leave(self) -> None:
        """Stand in no line: inserts need not ring."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
            self._waiting = None

    async def _wait(self) -> None:
        try:
            conn = await self._database.connection()
            self._session = conn.info.backend_pid
            await conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{_PATIENCE_S * 1000:.0f}",))
            while not await self._has_waited(conn):
                pass
        except (*OUTAGES, psycopg.Error) as error:
            # Such as a login that may have no further connection: polling finds new events.
            log.debug("no place in line for the bell: %s", words(error))
            self._try_at = time.monotonic() + _RETRY_S
        finally:
            self.in_line, self._session = False, None
            await self._database.close()

    async def _has_waited(self, conn: psycopg.AsyncConnection[Any]) -> bool:
        """Stand in line once; return whether every transaction that was ahead has ended."""
        try:
            await conn.execute(self._tables.query("doorbell/wait"))
        except psycopg.errors.LockNotAvailable:
            return False
        return True
