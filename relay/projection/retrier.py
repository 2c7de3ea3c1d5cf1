"""Try parked events again, or give them up, as an operator wants: one that fails stays parked, and stops nobody."""

from collections.abc import Sequence

import psycopg

from relay.postgres.server_error import is_raised
from relay.projection.applier import Applier
from relay.projection.definition import Definition
from relay.projection.ports import Due, Move, Parked, Redone
from relay.projection.refusal import (
    Refusals,
    Refused,
    is_cancelled,
    is_refusal,
    may_be_of_one,
    may_be_refusal,
    suspected,
)
from relay.projection.store import Conn, Store


class Retrier:
    """Retries and skips the parked events of one projection."""

    def __init__(self, definition: Definition, store: Store, applier: Applier) -> None:
        self._definition = definition
        self._store = store
        self._applier = applier
        self._refusals = Refusals(definition)
        # Why parked events are refused that have ended the session when they were tried again, by number.
        self._ended: dict[int, tuple[str, str]] = {}

    async def do_as_wanted(self, epoch: int, move: Move, rows: Sequence[Parked]) -> Redone:
        """Retry or skip parked events of one key in one transaction, in their order, until one is refused.

        What is skipped is given up wherever it stands: nothing else of the key depends on it.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            psycopg.Error: The fault is not in the events.
        """
        skipped = [one for one in rows if one.wanted == "skip"]
        applied = 0
        refused = None
        async with self._applier.moving(epoch, move) as conn:
            for parked in skipped:
                await self._store.unpark(conn, parked.number)
                await self._store.note_skipped(conn, parked.event)
            for parked in rows:
                if parked.wanted == "skip":
                    continue
                if parked.wanted is None and parked.reason is not None:
                    break
                handler, fault = self._definition.handler_to_retry(parked.event)
                if handler is None:
                    why: tuple[str, str] | None = (str(fault), str(fault))
                else:
                    why = await self._again_unless_it_ends(conn, parked, (parked.event._replace(fault=fault), handler))
                if why is not None:
                    await self._store.park_again(conn, parked.number, why[0])
                    refused = (parked.event, why[1])
                    break
                applied += 1
                await self._store.unpark(conn, parked.number)
            await self._store.count_applied(conn, applied)
        return Redone(applied, len(skipped), refused)

    async def _again_unless_it_ends(self, conn: Conn, parked: Parked, due: Due) -> tuple[str, str] | None:
        """Do as `_again`; one that has ended the session is not tried a second time, but stays parked.

        Raises:
            Exception: As from `_again`.
        """
        why = self._ended.pop(parked.number, None)
        if why is not None:
            return why
        try:
            return await self._again(conn, due)
        except psycopg.Error as error:
            if conn.closed:
                words = str(suspected(error))
                self._ended[parked.number] = words, words
            raise

    async def _again(self, conn: Conn, due: Due) -> tuple[str, str] | None:
        """Apply a parked event; return why it was refused, and a word that may be logged, None if it was applied.

        An error without evidence leaves it parked, too: that stops nobody.

        Raises:
            StatementUnfit: The statement itself cannot be carried out.
            psycopg.Error: The fault is not in the event. The transaction must be rolled back.
        """
        try:
            async with conn.transaction():
                await self._applier.as_one(conn, [due])
        except (Refused, psycopg.Error) as error:
            if is_cancelled(error) or (isinstance(error, psycopg.Error) and may_be_of_one(error)):
                if conn.closed:
                    raise
                return self._refusals.reason_of(error), self._refusals.loggable(error)
            if not may_be_refusal(error):
                raise
            if isinstance(error, psycopg.Error) and not is_refusal(error) and not is_raised(error):
                await self._applier.check_plan(conn, due[1])
            return self._refusals.reason_of(error), self._refusals.loggable(error)
        return None
