"""Apply events inside a transaction: a batch at once, and halved if one of its events is refused."""

import logging
from collections.abc import Sequence

import psycopg
from psycopg.pq import TransactionStatus

from relay.observe.logs import event as log_event
from relay.postgres.repeated import execute_repeated
from relay.projection.definition import Definition, Handler
from relay.projection.event import Transaction, event_of, read_json
from relay.projection.outcome import Stopped, stopped_at
from relay.projection.ports import Batch, Due, Move, Parked, Redone, Work
from relay.projection.rules.grouping import Mode, group
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.refusals import MAX_REASON, RefusalClass, classify
from relay.projection.sql_text import parameters
from relay.projection.store import Conn, Store

log = logging.getLogger(__name__)


class Refused(Exception):
    """An event cannot be applied, for a reason of its own; its text may repeat values of the event.

    Attributes:
        loggable: What of the reason may be logged; the text itself if left out.
    """

    def __init__(self, reason: str, loggable: str | None = None) -> None:
        super().__init__(reason)
        self.loggable = reason if loggable is None else loggable


class Applier:
    """Applies the events of one projection."""

    def __init__(self, definition: Definition, store: Store) -> None:
        self._definition = definition
        self._store = store

    async def apply(self, epoch: int, move: Move, work: Work) -> Batch:
        """Apply a batch in one transaction that moves the position; if an event is refused, again with care.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            Stopped: No more may be parked, or a handler has overstepped.
            psycopg.Error: The fault is not in the events. Whether it was committed is not known if the connection
                broke.
        """
        try:
            return await self._settle(epoch, move, work, careful=False)
        except (Refused, psycopg.Error) as error:
            if not is_refusal(error):
                raise
        return await self._settle(epoch, move, work, careful=True)

    async def _settle(self, epoch: int, move: Move, work: Work, *, careful: bool) -> Batch:
        batch = Batch(work.created, work.breaker.copy())
        async with self._store.moving(epoch, move) as conn:
            for event in work.behind:
                await self.park_behind(conn, event, batch)
            if careful:
                await self.with_care(conn, work.due, batch)
                await self._store.count_applied(conn, batch.applied - move.applied)
            elif work.due:
                await self.at_once(conn, work.due)
                batch.add_applied(len(work.due))
                batch.breaker.applied()
            await self._store.save_bits(conn, work.bits)
        return batch

    async def do_as_wanted(self, epoch: int, move: Move, rows: Sequence[Parked]) -> Redone:
        """Retry or skip parked events of one key in one transaction, in their order, until one is refused.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            psycopg.Error: The fault is not in the events.
        """
        applied = skipped = 0
        async with self._store.moving(epoch, move) as conn:
            for parked in rows:
                if parked.wanted is None and parked.reason is not None:
                    break
                handler, fault = self._definition.handler_of(parked.event)
                if parked.wanted != "skip" and handler is not None:
                    event = parked.event._replace(fault=fault)
                    reason = await self.again(conn, (event, handler))
                    if reason is not None:
                        await self._store.park_again(conn, parked.number, reason)
                        break
                    applied += 1
                elif parked.wanted == "skip":
                    skipped += 1
                await self._store.unpark(conn, parked.number)
            await self._store.count_applied(conn, applied)
        return Redone(applied, skipped)

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
            except Exception as error:  # a handler, or the driver about its values, may raise anything
                raise Refused(f"{type(error).__name__}: {error}", type(error).__name__) from error

    async def with_care(self, conn: Conn, due: Sequence[Due], batch: Batch) -> None:
        """Apply events of which some may be refused: halve them until those are found, and park them.

        Raises:
            Stopped: No more may be parked.
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
            async with conn.transaction():
                await self.at_once(conn, due)
                # What is checked at the commit would otherwise fail there, where nobody knows whose it is.
                await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except (Refused, psycopg.Error) as error:
            if not is_refusal(error):
                raise
            if len(due) == 1:
                await self._refuse(conn, due[0][0], error, batch)
            elif refusal_of(error) is RefusalClass.CONFLICT:
                for one in due:
                    await self.with_care(conn, [one], batch)
            else:
                middle = len(due) // 2
                await self.with_care(conn, due[:middle], batch)
                await self.with_care(conn, due[middle:], batch)
        else:
            batch.add_applied(len(due))
            batch.breaker.applied()

    async def again(self, conn: Conn, due: Due) -> str | None:
        """Apply a parked event; return why it was refused, None if it was applied.

        Raises:
            psycopg.Error: The fault is not in the event. The transaction must be rolled back.
        """
        try:
            async with conn.transaction():
                await self.at_once(conn, [due])
                await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except (Refused, psycopg.Error) as error:
            if not is_refusal(error):
                raise
            return reason_of(error)
        return None

    async def park_behind(self, conn: Conn, event: Incoming, batch: Batch) -> None:
        """Park an event whose key has parked events already.

        Raises:
            Stopped: No more may be parked.
        """
        batch.breaker.parked(event.key)
        batch.check()
        await self._store.park(conn, batch.created, event, None)

    async def _refuse(self, conn: Conn, event: Incoming, error: Refused | psycopg.Error, batch: Batch) -> None:
        policy = self._definition.on_refused
        if policy == "stop":
            raise stopped_at(event.stream_seq, loggable(error)) from error
        batch.add_refused(event, loggable(error))
        if policy == "park":
            batch.breaker.refused(event.key)
            batch.check()
            await self._store.park(conn, batch.created, event, reason_of(error))

    async def _run(self, conn: Conn, handler: Handler, events: Sequence[Incoming]) -> None:
        if handler.sql is not None:
            if handler.mode is Mode.EACH and len(events) > 1:
                await execute_repeated(conn, handler.sql, [parameters([event]) for event in events])
            else:
                await psycopg.AsyncRawCursor(conn).execute(handler.sql, parameters(events))
        elif handler.function is not None:
            made = [self._made(event) for event in events]
            for argument in [made] if handler.mode is Mode.FOLD else made:
                await handler.function(Transaction(conn), argument)
                if conn.info.transaction_status == TransactionStatus.INERROR:
                    raise Refused("the handler went on after PostgreSQL had refused a statement")
                if conn.info.transaction_status != TransactionStatus.INTRANS and not conn.closed:
                    raise Stopped(f"the handler of {handler.topic} has ended the transaction that it was given")

    def _made(self, event: Incoming) -> object:
        data = read_json(event)
        for version in range(event.version, self._definition.version_of(event)):
            data = self._definition.upcasters[event.topic, version](data)
        return event_of(event, data, self._definition.version_of(event))


def refusal_of(error: Refused | psycopg.Error) -> RefusalClass:
    """Return the class of what was raised while events were applied."""
    if isinstance(error, Refused):
        return RefusalClass.POISON
    # What the driver says before the server is asked, as that a text holds a NUL, is the parameters' fault.
    local = isinstance(error, psycopg.DataError) and error.sqlstate is None
    return RefusalClass.POISON if local else classify(error.sqlstate)


def is_refusal(error: Refused | psycopg.Error) -> bool:
    """Return whether an event is at fault, and not the database or the set-up."""
    return refusal_of(error) in (RefusalClass.POISON, RefusalClass.CONFLICT)


def loggable(error: Refused | psycopg.Error) -> str:
    """Return what was raised without any value of an event."""
    if isinstance(error, Refused):
        return error.loggable
    named = error.diag.constraint_name or error.diag.column_name or error.diag.table_name
    return f"SQLSTATE {error.sqlstate}" + (f" ({named})" if named else "")


def reason_of(error: Refused | psycopg.Error) -> str:
    """Return why an event was refused, for the table that holds its payload as well."""
    full = str(error) if isinstance(error, Refused) else f"{loggable(error)}: {error.diag.message_primary or error}"
    return full.replace("\x00", "\ufffd")[:MAX_REASON]


def log_refused(name: str, partition: int, batch: Batch, policy: str) -> None:
    """Log each event that a committed batch has parked or skipped."""
    for event, why in batch.refused:
        log_event(
            log,
            "warning",
            "projection.refused",
            "an event was refused, and is parked with everything later of its key, or skipped",
            projection=name,
            partition=partition,
            stream_seq=event.stream_seq,
            seq=event.seq,
            policy=policy,
            reason=why,
        )
