"""Call what an author wrote in Python: what it raises by itself refuses the event, and is no fault of the database.

A handler may raise any exception, also one that elsewhere speaks of a connection or of the end of a task. So what it
raises counts for the database's only if a statement of its transaction has raised it.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from relay.cancellation import heed_cancellation
from relay.projection.definition import Handler
from relay.projection.event import Transaction
from relay.projection.outcome import Stopped
from relay.projection.refusal import Refusals, Refused, refusal_of
from relay.projection.rules.refusals import RefusalClass

T = TypeVar("T")


def upcast(refusals: Refusals, make: Callable[[], T]) -> T:
    """Return what an author's functions make of a payload.

    Raises:
        Refused: One of them has raised something.
    """
    try:
        return make()
    except asyncio.CancelledError as error:
        raise refusals.refused_by(error) from error
    # They are the application's code and may raise anything. It is not swallowed: it becomes the refusal of the event.
    except Exception as error:
        raise refusals.refused_by(error) from error


async def call(conn: psycopg.AsyncConnection[Any], handler: Handler, argument: object, refusals: Refusals) -> None:
    """Call a handler with the transaction that the position moves in.

    Raises:
        Refused: It has raised something of its own, or has forgotten to await a statement.
        Stopped: It has sent what would end the transaction.
        psycopg.Error: A statement was refused, or the connection was lost. The transaction must be rolled back.
        OSError: The way to the database failed.
    """
    if handler.function is None:
        return
    transaction = Transaction(conn)
    try:
        left = await handler.function(transaction, argument)
    except Stopped:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody ends this task: the handler has awaited something that it had cancelled itself.
        raise refusals.refused_by(error) from error
    # A handler is the application's code and may raise anything, as the driver may about a handler's values.
    # It is not swallowed: it becomes the refusal of the event, with the exception as its cause.
    except Exception as error:
        failure = transaction.failure_behind(error)
        if failure is error:
            raise
        if isinstance(failure, OSError):
            raise failure from error
        if failure is not None and refusal_of(failure) is RefusalClass.OUTAGE:
            raise failure from error
        if conn.closed:
            raise psycopg.OperationalError("the connection was lost while a handler ran") from error
        raise refusals.refused_by(error) from error
    finally:
        forgotten = transaction.end()
        # A handler may swallow it as well.
        heed_cancellation()
    if inspect.iscoroutine(left):
        left.close()
    if inspect.isawaitable(left) or forgotten is not None:
        raise Refused(_forgotten(handler, forgotten))
    if conn.info.transaction_status == TransactionStatus.INERROR:
        raise Refused("the handler went on after PostgreSQL had refused a statement")
    if conn.info.transaction_status != TransactionStatus.INTRANS and not conn.closed:
        raise Stopped(f"the handler of {handler.topic} has ended the transaction that it was given")


def _forgotten(handler: Handler, place: str | None) -> str:
    """Return what a handler has forgotten to await: it would never be carried out."""
    if place is None:
        return f"the handler of {handler.topic} returned what must be awaited in it"
    return f"the statement at {place} was not awaited to its end: write `await` before it"
