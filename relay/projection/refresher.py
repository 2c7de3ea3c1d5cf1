"""Refresh a materialised view on its schedule, whoever else runs the projection.

The schedule lies in a row of the view (``projection.refreshes``), and so does the right to refresh: the row is locked
for as long. Every runner looks, and the row decides. The view and what is written down of it change in one transaction.
"""

import asyncio
import logging
import time

import psycopg
from psycopg import sql

from relay.observe.logs import event as log_event
from relay.observe.refresh_progress import RefreshProgress
from relay.postgres.database import Database
from relay.projection.definition import Definition
from relay.projection.refusal import words_of_view
from relay.projection.rules.refreshing import LOOK_S, Known, Refresh, wait_s
from relay.projection.store import LAYOUT, query, read_model

log = logging.getLogger(__name__)

# The longest that a refresh may take, and how much longer the server may take to say that it took too long.
_LIMIT_S = 3600
_ANSWER_S = 60
_OUTAGE_PAUSE_S = 1.0
# A connection is closed for a wait that is longer.
_KEEP_S = 10.0
# The longest sleep: a schedule that another runner has changed is seen by then.
_LONGEST_WAIT_S = 60.0


class Refresher:
    """Refreshes one view of a projection, for ever.

    Args:
        database: Its connection is used by this one alone.
        progress: Is told how old the view is.
    """

    def __init__(self, database: Database, definition: Definition, refresh: Refresh, progress: RefreshProgress) -> None:
        self._database = database
        self._definition = definition
        self._refresh = refresh
        self._progress = progress
        self._generation = 0
        self._told: str | None = None

    async def run(self) -> None:
        """Look again and again, and refresh the view whenever it is due."""
        while True:
            try:
                async with asyncio.timeout(_LIMIT_S + _ANSWER_S):
                    wait = await self._look()
            except (psycopg.Error, OSError) as error:
                await self._database.drop(error)
                wait = _OUTAGE_PAUSE_S
            if wait > _KEEP_S:
                await self._database.close()
            await asyncio.sleep(min(wait, _LONGEST_WAIT_S))

    async def _look(self) -> float:
        """Refresh the view if it is due; return how many seconds to wait until the next look.

        Raises:
            Exception: psycopg.Error or OSError: PostgreSQL could not be asked, or not be told of a failure.
        """
        if not self._generation and not await self._begin():
            return _OUTAGE_PAUSE_S
        began_at = time.monotonic()
        try:
            return await self._in_turn()
        except psycopg.Error as error:
            await self._failed(error, time.monotonic() - began_at)
            return min(self._refresh.every_s, LOOK_S)

    async def _begin(self) -> bool:
        """Look for the model; return whether it is there: a runner makes it."""
        cursor = psycopg.AsyncRawCursor(await self._database.connection())
        await cursor.execute(query("layout"))
        if ((await cursor.fetchall())[0][0] or 0) < LAYOUT:
            return False
        model = await read_model(cursor, self._definition.name)
        self._generation = 0 if model is None else model.generation
        return model is not None

    @property
    def _row(self) -> tuple[str, int, str]:
        return self._definition.name, self._generation, self._refresh.view

    async def _in_turn(self) -> float:
        """Do as `_look`, if no other runner has the row.

        Raises:
            psycopg.Error: It failed. Whether it was committed is not known if the connection broke.
        """
        conn = await self._database.connection()
        cursor = psycopg.AsyncRawCursor(conn)
        await cursor.execute(query("refresh_add"), [*self._row, self._refresh.every_s])
        async with conn.transaction():
            await cursor.execute(query("refresh_take"), [*self._row, _LIMIT_S])
            if not await cursor.fetchall():
                return min(self._refresh.every_s, LOOK_S)
            await cursor.execute(query("refresh_known"), self._row)
            rows = await cursor.fetchall()
            age_s, took_s, retry_in_s, is_changed, is_populated, failures, applied, complete_up_to = rows[0]
            self._progress.seen(age_s, took_s, failures)
            wait = wait_s(self._refresh, Known(age_s, took_s, retry_in_s, is_changed, is_populated))
            began_at = time.monotonic()
            if not wait:
                await conn.execute(self._statement(concurrently=is_populated))
                await cursor.execute(
                    query("refresh_done"), [*self._row, applied, complete_up_to, self._refresh.every_s]
                )
        self._database.succeeded()
        if wait:
            return wait
        self._progress.refreshed(time.monotonic() - began_at)
        self._told = None
        if failures:
            log_event(
                log,
                "info",
                "projection.refreshed",
                "the view is refreshed again",
                projection=self._definition.name,
                view=self._refresh.view,
                failures=failures,
            )
        return self._refresh.every_s

    def _statement(self, *, concurrently: bool) -> sql.Composed:
        """Return the statement; a view that was made WITH NO DATA takes no CONCURRENTLY, and has no readers."""
        view = sql.Identifier(self._definition.name, self._refresh.view)
        how = sql.SQL("CONCURRENTLY ") if concurrently else sql.SQL("")
        return sql.SQL("REFRESH MATERIALIZED VIEW {}{}").format(how, view)

    async def _failed(self, error: psycopg.Error, took_s: float) -> None:
        """Report once why the view could not be refreshed, and write it down.

        Raises:
            Exception: psycopg.Error or OSError: PostgreSQL could not be told.
        """
        self._progress.failed()
        reason = words_of_view(error)
        if reason != self._told:
            self._told = reason
            log_event(
                log,
                "warning",
                "projection.refresh_failed",
                "the view cannot be refreshed; it is tried again",
                projection=self._definition.name,
                view=self._refresh.view,
                reason=reason,
            )
        cursor = psycopg.AsyncRawCursor(await self._database.connection())
        await cursor.execute(query("refresh_failed"), [*self._row, reason, took_s, self._refresh.every_s])
