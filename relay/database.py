"""One connection to PostgreSQL that comes back by itself."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from relay.logs import event as log_event

log = logging.getLogger(__name__)

# A peer that is gone without a word is noticed within 5 + 3 * 2 s, also while nothing is asked.
_KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    TimeoutError,
)

# The driver tells the server to cancel a statement that took too long, and waits 10 s for it to do so: a silent one
# is given up sooner, and the statement is run again on another connection.
_CANCEL_TIMEOUT_S = 1.0

Row = tuple[Any, ...]


class Database:
    """Runs statements, each in its own transaction, until they succeed.

    Every statement of the relay may be run twice: reads go by the cursor, and writes say the new state and not
    the change. So a statement whose outcome is unknown is simply run again on a new connection.

    Args:
        dsn: Where to; it may hold a secret and is never logged.
        name: What the connection is for, seen in ``pg_stat_activity`` and in the log.
        connect_timeout_s: Seconds for one try to connect.
        statement_timeout_s: Seconds for one statement.
        on_state: Called with True when the connection stands and with False when it is lost.
    """

    def __init__(
        self,
        dsn: str,
        name: str,
        *,
        connect_timeout_s: float,
        statement_timeout_s: float,
        on_state: Callable[[bool], None],
    ) -> None:
        self._conninfo = make_conninfo(
            dsn,
            application_name=f"outbox-relay {name}",
            connect_timeout=max(2, round(connect_timeout_s)),
            **_KEEPALIVES,
        )
        self._name = name
        self._connect_timeout_s = connect_timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._on_state = on_state
        self._conn: psycopg.AsyncConnection[Row] | None = None
        self._turn = asyncio.Lock()
        self._lost = False
        self.generation = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next statement would open one."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def run(self, query: bytes, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement and give its rows, or, where it has none, one row with the count of rows touched.

        Comes back only when it has succeeded: through outages it waits and tries again.

        Raises:
            psycopg.Error: Not the way to the database failed but the statement itself. Nothing was changed.
        """
        async with self._turn:
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=0.2, max=2), retry=retry_if_exception_type(OUTAGES)
            ):
                with attempt:
                    return await self._once(query, params)
        raise AssertionError("tenacity retries without end")

    async def _once(self, query: bytes, params: Sequence[object]) -> list[Row]:
        try:
            limit_s = self._statement_timeout_s
            async with asyncio.timeout(limit_s + _CANCEL_TIMEOUT_S), asyncio.timeout(limit_s):
                conn = await self.connection()
                async with psycopg.AsyncRawCursor(conn) as cursor:
                    await cursor.execute(query, params or None, binary=True)
                    return await cursor.fetchall() if cursor.description else [(cursor.rowcount,)]
        except OUTAGES as error:
            await self.drop(error)
            raise

    async def connection(self) -> psycopg.AsyncConnection[Row]:
        """Give the connection that stands, or make one; a single try.

        Raises:
            psycopg.OperationalError: PostgreSQL could not be reached.
        """
        if self._conn is not None and not self._conn.closed:
            return self._conn
        # No prepared statements: a plan made while the table was small must not outlive that, a plan costs
        # 0.1 ms a batch, and a transaction pooler in between keeps none.
        self._conn = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        self.generation += 1
        if self._lost:
            self._lost = False
            log_event(log, "info", "postgres.connected", "connected to PostgreSQL again", connection=self._name)
        self._on_state(True)
        return self._conn

    async def drop(self, error: Exception) -> None:
        """Throw the connection away after an error; says so once, until it stands again."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()
        if not self._lost:
            self._lost = True
            self._on_state(False)
            text = str(error).strip().splitlines()
            log_event(
                log,
                "warning",
                "postgres.lost",
                "PostgreSQL does not answer; trying again until it does",
                connection=self._name,
                error=text[0] if text else type(error).__name__,
            )
