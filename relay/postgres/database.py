"""One connection to PostgreSQL that comes back by itself."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from relay import credentials
from relay.cancellation import heed_cancellation, honour_cancellation
from relay.errors import BadValue, StatementRefused, TableRefused
from relay.observe.logs import event as log_event
from relay.postgres.arrays import BinaryArray, BinaryArrayDumper
from relay.postgres.connection import Connection
from relay.postgres.named import GONE, NamedStatements
from relay.postgres.server_error import answer, is_of_called_code, is_of_schema, is_of_value, words
from relay.postgres.session import address_fault, conninfo, pin

log = logging.getLogger(__name__)

# The server lets us in and refuses the statement: it is a standby, a right was taken from us, or the table is away
# while somebody works on it. An operator mends that, so it is waited for.
_REFUSALS = (
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)
OUTAGES = (psycopg.OperationalError, psycopg.InterfaceError, *_REFUSALS, TimeoutError)

# The driver tells the server to cancel a statement that took too long, and waits 10 s for it to do so: a silent one
# is given up sooner, and the statement is run again on another connection.
_CANCEL_TIMEOUT_S = 1.0

# After the first failure a statement is run again after this, seconds; then after random times, up to 2 s.
_FIRST_PAUSE_S = 0.1

# A statement that so often in a row has ended the session that was made for it is not tried again as it is.
_ENDS = 2

# How long what can be put off waits for a lock on a table: others wait behind it on the same connection.
LOCK_TIMEOUT_S = 0.1

Row = tuple[Any, ...]


class Unfinished(Exception):
    """A statement did not come to its end, and would not if it were run again as it is. Nothing was changed."""


class TooSlow(Unfinished):
    """It took longer than a statement may: the time set for it, or the one that the server allows."""


class Locked(Unfinished):
    """It met a row that somebody else has locked, and waited as long as it may."""


class _Unfit(Exception):
    """The server refuses a statement for what the database is; it is run again until somebody has mended that."""


_RUN_AGAIN = (*OUTAGES, _Unfit)


class Database:
    """Runs statements, each in its own transaction, until they succeed.

    Every statement of the relay may be run twice: reads go by the cursor, and writes say the new state and not
    the change. So a statement whose outcome is unknown is simply run again on a new connection.

    Args:
        dsn: Where to; it may hold a secret and is never logged.
        dsn_file: Holds it as well, and is read again at each connect, so that a renewed password is taken up.
        name: What the connection is for, seen in ``pg_stat_activity`` and in the log.
        connect_timeout_s: Seconds for one try to connect to each host.
        statement_timeout_s: Seconds for one statement.
        waits: Whether a statement is run again that PostgreSQL refuses for what the database is, such as the type of a
            column; else it is refused, as it may be for one row alone.
        own: Whether it is run again whatever it is refused for. What is written over this connection is the relay's
            own, and no other statement would do: whoever added a constraint or a trigger has to mend it.

    Attributes:
        generation: How many connections were made so far.
        up: Whether the first statement of the connection has succeeded; False after a try that has failed. None: it
            was not used yet, or is at rest.
        refusal: What PostgreSQL refuses, if that is why it is not up; empty if it is not there.
    """

    def __init__(
        self,
        dsn: str,
        name: str,
        *,
        dsn_file: Path | None = None,
        connect_timeout_s: float,
        statement_timeout_s: float,
        waits: bool = False,
        own: bool = False,
    ) -> None:
        self._dsn = dsn
        self._dsn_file = dsn_file
        self._name = name
        self._connect_timeout_s = connect_timeout_s
        # What takes longer is ended.
        self._limit_s = statement_timeout_s
        self._waits = waits
        self._own = own
        self._conn: Connection | None = None
        # None: the session is a pooler's, or has shown that it keeps no statements.
        self._named: NamedStatements | None = None
        self._turn = asyncio.Lock()
        # How often the statement that is run now has ended its session.
        self._ends = 0
        self._useful = False
        self._lost = False
        self._reported: set[str] = set()
        self._reported_settings: list[str] = []
        self.generation = 0
        self.up: bool | None = None
        self.refusal = ""

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

    def rest(self) -> None:
        """Note that nobody uses the connection for a while, so that nothing would notice that it works again."""
        self.up = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._conn is not None and not self._conn.closed

    async def run(
        self,
        query: bytes,
        params: Sequence[object] = (),
        *,
        patient: bool = True,
        lock_timeout_s: float | None = None,
        waits: bool = False,
        raises: bool = False,
        named: bool = False,
        changes_rows: bool = False,
    ) -> list[Row]:
        """Run one statement and return its rows, or, if it has none, one row with the count of rows touched.

        Comes back only when it has succeeded: through outages it waits and tries again.

        Args:
            query: The statement.
            params: Its values.
            patient: Whether it is run again as it is if it was too slow or met a lock.
            lock_timeout_s: How long it waits for a lock, also for one on a whole table, seconds; None: as long as the
                statement says, or else as it may take.
            waits: As for all statements of the connection.
            raises: Whether it is not run again even if a right or a table is missing: others of the connection go on.
            named: Whether it is planned once for the session, if that is ours.
            changes_rows: Whether it changes rows on which others may have put triggers, rules and constraints. What
                these raise concerns the rows, whatever SQLSTATE it has, and so does the end of the session each time.

        Raises:
            TooSlow: It took too long, and is not to be run again as it is. The connection was closed.
            Locked: It met a lock, and is not to be run again as it is.
            StatementRefused: Not the way to the database failed but the statement itself. Nothing was changed.
            BadValue: It failed at a value of a row.
            TableRefused: It failed for what the database is, whatever the row.
        """
        once = partial(
            self._once,
            query,
            params,
            patient=patient,
            lock_timeout_s=lock_timeout_s,
            waits=waits or self._waits,
            raises=raises,
            named=named,
            changes_rows=changes_rows,
        )
        async with self._turn:
            self._ends = 0
            # The way of nearly every statement has no object of the retries: making them took a fifth of it.
            with suppress(*_RUN_AGAIN), honour_cancellation():
                return await once()
            await asyncio.sleep(_FIRST_PAUSE_S)
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=0.2, max=2), retry=retry_if_exception_type(_RUN_AGAIN)
            ):
                with attempt, honour_cancellation():
                    return await once()
        raise AssertionError("tenacity retries without end")

    def asking(self, query: bytes, params: Sequence[object]) -> Callable[[], None] | None:
        """Return what sends a statement with a name ahead, if nothing else runs; None if no statement has a name."""
        if (named := self._named) is None:
            return None
        return named.asking(query, params, lambda: self._named is named and self.connected and not self._turn.locked())

    async def ahead(self, query: bytes, params: Sequence[object]) -> list[Row] | None:
        """Return the rows of a statement that was sent ahead; None if they are not here, or not good any more."""
        return None if self._named is None else await self._named.ahead(query, params)

    async def until_notified(self, at_once: Callable[[], None] | None = None) -> None:
        """Wait for notifications over the connection that stands, as `Connection.until_notified` does."""
        if self._conn is None:
            raise psycopg.OperationalError("there is no connection to listen on")
        await self._conn.until_notified(at_once)

    async def _once(
        self,
        query: bytes,
        params: Sequence[object],
        *,
        patient: bool,
        lock_timeout_s: float | None,
        waits: bool,
        raises: bool,
        named: bool,
        changes_rows: bool,
    ) -> list[Row]:
        asked = is_sent = False
        try:
            # Connecting has limits of its own: of several hosts the first may be silent.
            conn = await self.connection()
            asked, is_sent = not patient, True
            async with asyncio.timeout(self._limit_s + _CANCEL_TIMEOUT_S), asyncio.timeout(self._limit_s):
                if self._named is not None and not named:
                    await self._named.forget()
                if lock_timeout_s is None:
                    rows = await (self._executed if named else _executed)(conn, query, params)
                else:
                    async with conn.transaction():
                        # A table is locked before anything of the statement is done, so it cannot set this itself.
                        milliseconds = f"{lock_timeout_s * 1000:.0f}"
                        await conn.execute("SELECT set_config('lock_timeout', %s, true)", (milliseconds,))
                        rows = await _executed(conn, query, params)
                if not self._useful:
                    self.succeeded()
                return rows
        except OUTAGES as error:
            if is_of_value(error) and not self._own:
                raise BadValue(words(error)) from None
            if asked and isinstance(error, psycopg.errors.LockNotAvailable):
                raise Locked(words(error)) from None
            if changes_rows and is_of_called_code(error):
                raise StatementRefused(words(error)) from None
            # Of a standby no statement is taken.
            if raises and isinstance(error, _REFUSALS) and not isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                raise TableRefused(words(error)) from None
            # The driver takes it for an outage. It is how an update fails that a publication does not let happen.
            if isinstance(error, psycopg.errors.ObjectNotInPrerequisiteState) and not waits:
                raise TableRefused(words(error)) from None
            is_lost = isinstance(error, psycopg.OperationalError) and self._conn is not None and self._conn.closed
            self._ends += is_sent and is_lost
            await self.drop(error)
            if changes_rows and self._ends >= _ENDS:
                # PostgreSQL lets us in, and nobody knows when the next statement comes that would show it.
                self.rest()
                raise StatementRefused(f"the session ends each time: {words(error)}") from None
            if asked and isinstance(error, TimeoutError | psycopg.errors.QueryCanceled):
                raise TooSlow(f"not done within {self._limit_s:g} s") from None
            raise
        except psycopg.Error as error:
            is_of_all = is_of_schema(error) and not (changes_rows and is_of_called_code(error))
            if self._own or (waits and is_of_all):
                await self.drop(error)
                raise _Unfit from None
            # Its own text would repeat the row.
            kind = BadValue if is_of_value(error) else TableRefused if is_of_all else StatementRefused
            raise kind(words(error)) from None

    async def _executed(self, conn: psycopg.AsyncConnection[Row], query: bytes, params: Sequence[object]) -> list[Row]:
        if self._named is not None:
            try:
                return await self._named.run(query, params)
            except GONE:
                self._named = None
        return await _executed(conn, query, params)

    async def connection(self) -> psycopg.AsyncConnection[Row]:
        """Return the connection that stands, or make one; a single try.

        Raises:
            psycopg.OperationalError: PostgreSQL could not be reached.
        """
        if self._conn is not None and not self._conn.closed:
            return self._conn
        # The driver prepares none by itself: a plan made while the table was small must not outlive that, a plan costs
        # 0.1 ms a batch, and a transaction pooler in between keeps none.
        conn = await Connection.connect(self._conninfo(), autocommit=True, prepare_threshold=None)
        async with AsyncExitStack() as otherwise:
            otherwise.push_async_callback(conn.close)
            conn.adapters.register_dumper(BinaryArray, BinaryArrayDumper)
            heed_cancellation()
            async with asyncio.timeout(self._limit_s + _CANCEL_TIMEOUT_S), asyncio.timeout(self._limit_s):
                is_ours, different = await pin(conn)
                self._report_settings(different)
            otherwise.pop_all()
        self._named = NamedStatements(conn) if is_ours else None
        self._conn = conn
        self.generation += 1
        self._useful = False
        return conn

    def _report_settings(self, different: list[str]) -> None:
        """Report once which settings of a pooler's sessions are not what our statements expect."""
        if different and different != self._reported_settings:
            log_event(
                log,
                "warning",
                "postgres.settings",
                "a pooler is in between, so these settings stay as they are for all who share it",
                connection=self._name,
                settings=", ".join(different),
            )
        self._reported_settings = different

    def succeeded(self) -> None:
        """Take it that a statement has succeeded: being let in says little, a read-only server lets us in as well."""
        if self._useful:
            return
        self._useful = True
        if self._lost:
            self._lost = False
            self._reported.clear()
            log_event(log, "info", "postgres.connected", "connected to PostgreSQL again", connection=self._name)
        self.up = True
        self.refusal = ""

    def _conninfo(self) -> str:
        try:
            dsn = self._dsn if self._dsn_file is None else credentials.secret(self._dsn_file)
            return conninfo(dsn, f"outbox-relay {self._name}", self._connect_timeout_s)
        except credentials.IdentityError as error:
            raise psycopg.OperationalError(str(error)) from error
        except psycopg.ProgrammingError as error:
            # The driver's own text would repeat the address, password and all.
            raise psycopg.OperationalError(f"the address {address_fault(error)}") from None

    async def drop(self, error: Exception) -> None:
        """Throw the connection away after an error; log it once, and again if a new reason keeps us out."""
        conn, self._conn = self._conn, None
        stood = conn is not None and not conn.closed
        if conn is not None:
            await conn.close()
        self.up = False
        reason = words(error)
        is_refusal = isinstance(error, _REFUSALS) or is_of_schema(error) or not isinstance(error, OUTAGES)
        self.refusal = answer(error, stood=stood, is_refusal=is_refusal)
        is_new = not self._lost or ((is_refusal or credentials.is_auth_error(reason)) and reason not in self._reported)
        self._lost = True
        if is_new:
            self._reported.add(reason)
            message = "PostgreSQL cannot be used; trying again until it can"
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                message = (
                    "this login lacks a right, and `relay doctor` names the role to grant; trying again until it has it"
                )
            elif is_refusal:
                message = (
                    "PostgreSQL refuses what is asked, and `relay doctor` says why; trying again until it does not"
                )
            log_event(
                log,
                "warning",
                "postgres.lost",
                message,
                connection=self._name,
                error=reason,
            )


async def _executed(conn: psycopg.AsyncConnection[Row], query: bytes, params: Sequence[object]) -> list[Row]:
    async with psycopg.AsyncRawCursor(conn) as cursor:
        await cursor.execute(query, params or None, binary=True)
        # `description` would say it too, and make an object of each column.
        has_rows = cursor.rownumber is not None
        return await cursor.fetchall() if has_rows else [(cursor.rowcount,)]
