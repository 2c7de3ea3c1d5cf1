"""Statements with names: planned once a session, for what is to be quick.

A pooler of transactions hands such a statement on to strangers, so this is for sessions of our own alone. The driver
would number the names, the same in each session; these are drawn, so that no stranger's can pass for ours.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready, Wait

from relay.postgres.connection import Connection, resumed
from relay.postgres.tables import Tables

# An answer that was asked for longer ago is thrown away: what it says of a row may not hold any more, seconds.
_FRESH_S = 0.25
_PLAN_ONCE = Tables().query("connection/plan_once")

GONE = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
    psycopg.errors.FeatureNotSupported,
)
"""The server does not have the statement, or the types of its columns have changed since it was planned."""


class NamedStatements:
    """The statements of one session that have names."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._transformer = Transformer(conn)
        self._prefix = f"relay_{secrets.token_hex(8)}"
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        # The statement that was asked ahead and whose answer is not taken yet, with its values, and when that was,
        # monotonic seconds.
        self._asked: tuple[bytes, Sequence[object]] | None = None
        self._asked_at = 0.0
        # What has come of that answer: all of it, or so much that what reads it waits for this to go on.
        self._results: list[PGresult] | None = None
        self._begun: tuple[PQGen[list[PGresult]], Wait] | None = None
        # Who waits for that.
        self._waiter: asyncio.Future[None] | None = None

    def asking(self, query: bytes, params: Sequence[object], is_free: Callable[[], bool]) -> Callable[[], None]:
        """Return what sends a statement ahead: its answer is for whoever wants the same within a quarter of a second.

        All that can be done before is done now. It sends nothing if the statement has not run in this session, or if it
        cannot be sent; then `run` does.

        Args:
            query: The statement.
            params: Its values.
            is_free: Says whether nothing else of the session is under way; if not, nothing is sent either.
        """
        transformer, pgconn = self._transformer, self._conn.pgconn
        values = transformer.dump_sequence(params, [PyFormat.BINARY] * len(params))
        name, formats = self._names.get((query, transformer.types or ())), transformer.formats

        def ask() -> None:
            if name is None or self._asked is not None or not is_free():
                return
            if pgconn.transaction_status != TransactionStatus.IDLE:
                return
            with suppress(psycopg.OperationalError):
                pgconn.send_query_prepared(name, values, formats, Format.BINARY)
                self._asked, self._asked_at = (query, params), time.monotonic()
                self._conn.when_readable(self._read_ahead)

        return ask

    def _read_ahead(self) -> None:
        """Read what has come of the answer to what was asked ahead: as a rule, all of it."""
        if self._asked is None:
            return
        reading = execute(self._conn.pgconn)
        try:
            wanted = next(reading)
            if wanted == Wait.R:
                wanted = reading.send(Ready.R)
            self._begun = reading, wanted
        except StopIteration as end:
            self._results = end.value
        except psycopg.Error:
            self._asked = None  # `run` meets it again, and says what it is
        self._wake()

    async def ahead(self, query: bytes, params: Sequence[object]) -> list[tuple[Any, ...]] | None:
        """Return the rows of what was asked ahead, and wait for them a quarter of a second at most.

        None if that was another statement, is old, has failed, or comes in pieces: then `run` takes it or asks again.
        """
        if not self._is_fresh(query, params):
            return None
        if self._results is None and self._begun is None:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(_FRESH_S, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._results is None or not self._is_fresh(query, params):
            return None
        results, self._results, self._asked = self._results, None, None
        with suppress(psycopg.Error):  # `run` meets it again, and says what it is
            return self._loaded(results)
        return None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _is_fresh(self, query: bytes, params: Sequence[object]) -> bool:
        return self._asked == (query, params) and time.monotonic() - self._asked_at < _FRESH_S

    async def forget(self) -> None:
        """Throw away the answer to what was asked ahead, before another statement is run."""
        if self._asked is not None:
            async with self._conn.lock:
                await self._answered()

    async def _answered(self) -> list[PGresult]:
        """Return the answer to what was asked ahead, read to its end."""
        results, begun = self._results, self._begun
        self._asked = self._results = self._begun = None
        self._wake()
        if results is not None:
            return results
        return await self._conn.wait(execute(self._conn.pgconn) if begun is None else resumed(*begun))

    async def run(self, query: bytes, params: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows, in a transaction of its own; what is new to the session is planned first.

        Raises:
            psycopg.Error: As the driver's own way to run it; one of `GONE` if it is to be run without a name.
        """
        if not self._names:
            await self._conn.execute(_PLAN_ONCE)
        if self._is_fresh(query, params):
            async with self._conn.lock:
                return self._loaded(await self._answered())
        await self.forget()
        async with self._conn.lock:
            return await self._conn.wait(self._run(query, params))

    def _run(self, query: bytes, params: Sequence[object]) -> PQGen[list[tuple[Any, ...]]]:
        pgconn, transformer = self._conn.pgconn, self._transformer
        values = transformer.dump_sequence(params, [PyFormat.BINARY] * len(params))
        types = transformer.types or ()
        name = self._names.get((query, types))
        if name is None:
            name = f"{self._prefix}_{len(self._names)}".encode()
            pgconn.send_prepare(name, query, types)
            self._checked((yield from execute(pgconn)))
            self._names[query, types] = name
        pgconn.send_query_prepared(name, values, transformer.formats, Format.BINARY)
        return self._loaded((yield from execute(pgconn)))

    def _loaded(self, results: list[PGresult]) -> list[tuple[Any, ...]]:
        transformer, result = self._transformer, self._checked(results)
        transformer.set_pgresult(result, format=Format.BINARY)
        return transformer.load_rows(0, result.ntuples, tuple)

    def _checked(self, results: list[PGresult]) -> PGresult:
        if not results:
            raise psycopg.OperationalError("the connection has ended before the answer")
        if results[-1].status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(results[-1], encoding=self._conn.info.encoding)
        return results[-1]
