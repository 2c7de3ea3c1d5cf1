"""Another change may come between the look at a table and the change that follows from it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from relay.operate.adopt.judge import Refused
from relay.postgres.server_error import words

# Of names that are gone or taken, of catalogue rows that two sessions change, and of sessions that wait for each other.
_OVERTAKEN = (
    psycopg.ProgrammingError,
    psycopg.IntegrityError,
    psycopg.InternalError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.ObjectInUse,
    psycopg.errors.ObjectNotInPrerequisiteState,
    # Of an event trigger that forbids it.
    psycopg.errors.RaiseException,
)
_OTHERS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@contextmanager
def overtaken() -> Iterator[None]:
    """Raise `Refused` for what PostgreSQL says if the table, its publication or its trigger is no longer as it was.

    Raises:
        Refused: Something came between; the transaction has changed nothing.
    """
    try:
        yield
    except _OTHERS:
        raise
    except _OVERTAKEN as error:
        raise Refused(
            f"another change came between, or the database forbids it: {words(error)}: nothing was changed, try again"
        ) from error
