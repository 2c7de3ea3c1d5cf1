"""Apply events inside a transaction: a batch at once, and halved if one of its events is refused."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import psycopg

from relay.postgres.repeated import execute_repeated
from relay.postgres.server_error import is_raised
from relay.projection.definition import Definition, Handler
from relay.projection.event import event_of, read_json
from relay.projection.handler_call import call, upcast
from relay.projection.outcome import StatementUnfit, Stopped, stopped_at
from relay.projection.ports import Alike, Batch, Due, Move, Work
from relay.projection.refusal import (
    Refusals,
    Refused,
    is_cancelled,
    is_refusal,
    may_be_of_one,
    may_be_refusal,
    refusal_of,
    suspected,
    words_of,
)
from relay.projection.rules.grouping import Mode, group
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.refusals import Evidence, RefusalClass, judge
from relay.projection.sql_text import parameters
from relay.projection.store import STATEMENT_TIMEOUT, Conn, Store

# How many other events are tried, to learn whether a handler works.
_MOST_TRIED = 10
# What several events at once may take once a statement was cancelled: it is not waited for at each halving.
_HURRIED_TIMEOUT = "3s"


class Care(NamedTuple):
    """How a batch is applied of which an event may be refused.

    Attributes:
        whole: The batch: its other events show whether a handler works.
        hurried: Whether a statement of it has taken too long.
    """

    whole: Sequence[Due]
    hurried: bool


class Applier:
    """Applies the events of one projection."""

    def __init__(self, definition: Definition, store: Store) -> None:
        self._definition = definition
        self._store = store
        self._refusals = Refusals(definition)

    async def apply(self, epoch: int, move: Move, work: Work, *, careful: bool = False) -> Batch:
        """Apply a batch in one transaction that moves the position; if an event is refused, again with care.

        Args:
            careful: Whether it is applied with care at once: what fails then has failed at its events.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            Stopped: No more may be parked, or a handler has overstepped.
            StatementUnfit: A statement fails, and no event is known to be at fault. Nothing was changed.
            Suspected: The session or the transaction was ended, and one event may be at fault.
            psycopg.Error: The fault is not in the events. Whether it was committed is not known if the connection
                broke.
        """
        try:
            if careful:
                return await self._settle(epoch, move, work, Care(work.due, hurried=False))
            return await self._settle(epoch, move, work, None)
        except (Refused, psycopg.Error) as error:
            if not may_be_refusal(error) and not is_cancelled(error):
                raise
            care = Care(work.due, is_cancelled(error))
        return await self._settle(epoch, move, work, care)

    async def _settle(self, epoch: int, move: Move, work: Work, care: Care | None) -> Batch:
        batch = Batch(work.created, work.breaker.copy())
        async with self.moving(epoch, move, piped=care is None and _needs_no_answer(work)) as conn:
            for event in work.behind:
                await self.park_behind(conn, event, batch)
            if care is not None:
                await self.with_care(conn, work.due, batch, care)
                await _limit(conn, STATEMENT_TIMEOUT)
                await self._store.count_applied(conn, batch.applied - move.applied)
            elif work.due:
                if work.alike is not None:
                    await self.all_alike(conn, work.alike)
                else:
                    await self.at_once(conn, work.due)
                batch.add_applied(len(work.due))
                batch.breaker.applied()
            await self._store.save_bits(conn, work.bits)
            if self._definition.on_refused == "skip":
                for event, _ in batch.refused:
                    await self._store.note_skipped(conn, event)
        return batch

    @asynccontextmanager
    async def moving(self, epoch: int, move: Move, *, piped: bool = False) -> AsyncIterator[Conn]:
        """Do as `Store.moving`, and tell what fails behind its first statement.

        Raises:
            Suspected: The session or the transaction was ended there.
        """
        has_begun = False
        try:
            async with self._store.moving(epoch, move, piped=piped) as conn:
                has_begun = True
                yield conn
        except psycopg.Error as error:
            if has_begun and may_be_of_one(error):
                raise suspected(error) from error
            raise

    async def would_apply(self, epoch: int, move: Move, one: Due) -> bool:
        """Apply one event in a transaction that is rolled back; return False if it was refused or cancelled.

        Raises:
            Suspected: The session or the transaction was ended.
            Exception: As from `apply`.
        """
        is_applied = False
        async with self.moving(epoch, move) as conn:
            try:
                await self.as_one(conn, [one])
            except (Refused, psycopg.Error) as error:
                if not may_be_refusal(error) and not is_cancelled(error):
                    raise
            else:
                is_applied = True
            raise psycopg.Rollback
        return is_applied

    async def as_one(self, conn: Conn, due: Sequence[Due]) -> None:
        """Apply events, with what would fail at the commit or behind them otherwise, when nobody knew whose it is.

        Raises:
            Exception: As from `at_once`.
        """
        await self.at_once(conn, due)
        await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        shown = await (await conn.execute("SHOW transaction_read_only")).fetchone()
        if shown == ("on",):
            raise psycopg.errors.ReadOnlySqlTransaction("the transaction was made read only")

    async def at_once(self, conn: Conn, due: Sequence[Due]) -> None:
        """Apply events by as few statements as their handlers allow.

        Raises:
            Refused: A handler, or what brings a payload up to date, refused one.
            Exception: psycopg.Error or OSError: PostgreSQL refused one, or the way to it failed. The transaction must
                be rolled back.
        """
        for event, _ in due:
            if event.fault is not None:
                raise Refused(event.fault)
        for step in group((event, handler, handler.mode) for event, handler in due):
            try:
                await self._run(conn, step.handler, step.events)
            except (psycopg.Error, OSError, Refused, Stopped):
                raise
            # The driver may raise anything about values that it cannot send. It is not swallowed: it becomes the
            # refusal of the event, with the exception as its cause.
            except Exception as error:
                raise self._refusals.refused_by(error) from error

    async def all_alike(self, conn: Conn, alike: Alike) -> None:
        """Apply events of the usual form, which were not even read one by one.

        Raises:
            psycopg.Error: PostgreSQL refused one, or the way to it failed. The transaction must be rolled back.
        """
        handler = alike.handler
        if handler.sql is None:
            return
        if handler.mode is Mode.EACH and len(alike.columns.seqs) > 1:
            await execute_repeated(conn, handler.sql, alike.columns.rows())
        else:
            for values in alike.columns.steps(handler.mode):
                await psycopg.AsyncRawCursor(conn).execute(handler.sql, values)

    async def with_care(self, conn: Conn, due: Sequence[Due], batch: Batch, care: Care) -> None:
        """Apply events of which some may be refused: halve them until those are found, and park them.

        Raises:
            Stopped: No more may be parked.
            StatementUnfit: A statement fails, and no event is known to be at fault.
            psycopg.Error: The fault is not in the events. The transaction must be rolled back.
        """
        parked = batch.breaker.keys
        for event, _ in due:
            if event.key in parked:
                await self.park_behind(conn, event, batch)
        due = [(event, handler) for event, handler in due if event.key not in parked]
        if not due:
            return
        try:
            await self._try(conn, due, care)
        except (Refused, psycopg.Error) as error:
            if not may_be_refusal(error) and not is_cancelled(error):
                raise
            if len(due) == 1:
                if isinstance(error, Refused) or is_refusal(error):
                    await self._refuse(conn, due[0][0], error, batch)
                    return
                await self._check_own(conn, due[0], error, care)
                await self._once_more(conn, due[0], batch, care)
            elif refusal_of(error) is RefusalClass.CONFLICT:
                for one in due:
                    await self.with_care(conn, [one], batch, care)
            else:
                care = care._replace(hurried=care.hurried or is_cancelled(error))
                middle = len(due) // 2
                await self.with_care(conn, due[:middle], batch, care)
                await self.with_care(conn, due[middle:], batch, care)
        else:
            batch.add_applied(len(due))
            batch.breaker.applied()

    async def _try(self, conn: Conn, due: Sequence[Due], care: Care, *, undone: bool = False) -> None:
        """Apply events between savepoints; several at once take their time only if none has taken too much of it."""
        if care.hurried:
            await _limit(conn, STATEMENT_TIMEOUT if len(due) == 1 and not undone else _HURRIED_TIMEOUT)
        async with conn.transaction(force_rollback=undone):
            await self.as_one(conn, due)

    async def _once_more(self, conn: Conn, one: Due, batch: Batch, care: Care) -> None:
        """Apply an event that seems to be at fault, and refuse it if it fails again.

        What the evidence shows is of now. When the event failed, the database may have been slow, or a table away.
        """
        try:
            await self._try(conn, [one], care._replace(hurried=True))
        except (Refused, psycopg.Error) as error:
            if not may_be_refusal(error) and not is_cancelled(error):
                raise
            await self._refuse(conn, one[0], error, batch)
        else:
            batch.add_applied(1)
            batch.breaker.applied()

    async def park_behind(self, conn: Conn, event: Incoming, batch: Batch) -> None:
        """Park an event whose key has parked events already.

        Raises:
            Stopped: No more may be parked.
        """
        batch.breaker.parked(event.key)
        batch.check()
        await self._park(conn, batch, event, None)

    async def _park(self, conn: Conn, batch: Batch, event: Incoming, reason: str | None) -> None:
        """Write down a parked event.

        Raises:
            StatementUnfit: PostgreSQL does not take it; it says which event that is.
            psycopg.Error: The connection or the server failed.
        """
        try:
            await self._store.park(conn, batch.created, event, reason)
        except psycopg.Error as error:
            if refusal_of(error) is RefusalClass.OUTAGE:
                raise
            raise StatementUnfit(
                f"PostgreSQL: {self._refusals.loggable(error)}: the event at stream sequence {event.stream_seq} "
                f"({event.topic}) cannot be parked"
            ) from error

    async def _check_own(self, conn: Conn, one: Due, error: psycopg.Error, care: Care) -> None:
        """Check that an error of no class is the event's own reason.

        Raises:
            StatementUnfit: There is no evidence of that.
        """
        event, handler = one
        if is_cancelled(error):
            if not await self._applies_another(conn, one, care._replace(hurried=True)):
                raise self._unfit(error, event) from error
            return
        evidence = Evidence(is_raised(error), error.diag.context is not None)
        if not evidence.raised:
            evidence = evidence._replace(is_planned=await self.check_plan(conn, handler))
        if judge(error.sqlstate, evidence) is not RefusalClass.POISON:
            evidence = evidence._replace(others_apply=await self._applies_another(conn, one, care))
        if judge(error.sqlstate, evidence) is not RefusalClass.POISON:
            raise self._unfit(error, event) from error

    def _unfit(self, error: psycopg.Error, event: Incoming) -> StatementUnfit:
        return StatementUnfit(
            f"PostgreSQL: {self._refusals.loggable(error)} at the event at stream sequence {event.stream_seq} "
            f"({event.topic}): it waits until the cause is removed, or the same handler can apply another event"
        )

    async def check_plan(self, conn: Conn, handler: Handler) -> bool | None:
        """Plan a statement without any event; return None if it is not known.

        Raises:
            StatementUnfit: PostgreSQL cannot plan it. What it says holds no value of an event.
        """
        if handler.sql is None:
            return None
        try:
            async with conn.transaction():
                await psycopg.AsyncRawCursor(conn).execute(b"EXPLAIN " + handler.sql, parameters([]))
        except psycopg.Error as error:
            if refusal_of(error) is RefusalClass.OUTAGE:
                raise
            raise StatementUnfit(f"PostgreSQL: {words_of(error)}") from error
        return True

    async def _applies_another(self, conn: Conn, one: Due, care: Care) -> bool:
        """Return whether the handler of an event can apply another one of the batch now; nothing of that stays.

        Raises:
            psycopg.Error: The connection or the server failed.
        """
        event, handler = one
        others = [
            other for other in care.whole if other[1] is handler and other[0] is not event and other[0].fault is None
        ]
        others.sort(key=lambda other: other[0].stream_seq < event.stream_seq)
        for other in others[:_MOST_TRIED]:
            try:
                await self._try(conn, [other], care, undone=True)
            except (Refused, psycopg.Error) as error:
                if is_cancelled(error):
                    continue
                if isinstance(error, psycopg.Error) and refusal_of(error) is RefusalClass.OUTAGE:
                    raise
            else:
                return True
        return False

    async def _refuse(self, conn: Conn, event: Incoming, error: Refused | psycopg.Error, batch: Batch) -> None:
        policy, word = self._definition.on_refused, self._refusals.loggable(error)
        if policy == "stop":
            raise stopped_at(event.stream_seq, word) from error
        batch.add_refused(event, word)
        if policy == "park":
            batch.breaker.refused(event.key)
            batch.check()
            await self._park(conn, batch, event, self._refusals.reason_of(error))

    async def _run(self, conn: Conn, handler: Handler, events: Sequence[Incoming]) -> None:
        if handler.sql is not None:
            if handler.mode is Mode.EACH and len(events) > 1:
                await execute_repeated(conn, handler.sql, [parameters([event]) for event in events])
            else:
                await psycopg.AsyncRawCursor(conn).execute(handler.sql, parameters(events))
        elif handler.function is not None:
            made = [upcast(self._refusals, partial(self._made, event)) for event in events]
            for argument in [made] if handler.mode is Mode.FOLD else made:
                await call(conn, handler, argument, self._refusals)

    def _made(self, event: Incoming) -> object:
        data = read_json(event)
        for version in range(event.version, self._definition.version_of(event)):
            data = self._definition.upcasters[event.topic, version](data)
        return event_of(event, data, self._definition.version_of(event))


async def _limit(conn: Conn, time: str) -> None:
    """Set how long a statement may take, in the open transaction."""
    await conn.execute("SELECT set_config('statement_timeout', %s, true)", [time])


def _needs_no_answer(work: Work) -> bool:
    """Report whether events are applied by statements alone, a few for all of them."""
    if work.alike is not None:
        return work.alike.handler.takes_many
    return all(handler.takes_many for handler in {id(one): one for _, one in work.due}.values())
