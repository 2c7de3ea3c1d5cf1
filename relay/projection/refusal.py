"""What was raised while events were applied: whose fault it is, and how it is told without any value of an event."""

import inspect
import logging
import re
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg

from relay.observe.logs import event as log_event
from relay.postgres import server_error
from relay.projection.definition import Definition
from relay.projection.outcome import Suspected
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.refusals import (
    MAX_REASON,
    MISSING_RIGHT,
    RefusalClass,
    classify,
    is_undecided,
    may_be_of_one_event,
    may_be_told,
)

log = logging.getLogger(__name__)

# What PostgreSQL's text cannot hold, and Python's can: NUL, and half of a pair of UTF-16.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# What the driver raises itself about values or a statement that it cannot send; anything else of its own is an outage.
_LOCAL = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)

# What is to be done about a right that PostgreSQL says is missing.
RIGHTS = "GRANT it to this login; to make its schemas a runner needs CREATE on the database"


class Refused(Exception):
    """An event cannot be applied, for a reason of its own; its text may repeat values of the event.

    Attributes:
        loggable: What of the reason may be logged; the text itself if left out.
    """

    def __init__(self, reason: str, loggable: str | None = None) -> None:
        super().__init__(reason)
        self.loggable = reason if loggable is None else loggable


class Refusals:
    """Tells what the handlers of one projection have raised.

    Args:
        definition: Its handlers of Python say which files are the author's.
    """

    def __init__(self, definition: Definition) -> None:
        functions = [one.function for one in definition.handlers if one.function is not None]
        self._files = frozenset(_files_of([*functions, *definition.upcasters.values()]))

    def refused_by(self, error: BaseException) -> Refused:
        """Return the refusal that an exception of a handler, or of the driver about its values, is."""
        word = type(error).__name__ + self._place(error)
        return Refused(f"{word}: {error}", word)

    def loggable(self, error: Refused | psycopg.Error) -> str:
        """Return what was raised without any value of an event; of a handler in Python with its file and line."""
        if isinstance(error, Refused):
            return error.loggable
        if error.sqlstate is None:
            return type(error).__name__ + self._place(error)
        named = error.diag.constraint_name or error.diag.column_name or error.diag.table_name
        return f"SQLSTATE {error.sqlstate}" + (f" ({named})" if named else "") + self._place(error)

    def reason_of(self, error: Refused | psycopg.Error) -> str:
        """Return why an event was refused, for the table that holds its payload as well."""
        full = str(error)
        if not isinstance(error, Refused):
            full = f"{self.loggable(error)}: {error.diag.message_primary or error}"
        return _UNSTORABLE.sub("\ufffd", full)[:MAX_REASON]

    def _place(self, error: BaseException) -> str:
        """Return the innermost line of the author's own that an error has passed, as `` at model.py:42``."""
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename in self._files:
                place = f" at {Path(frame.f_code.co_filename).name}:{line}"
        return place


def _files_of(functions: Iterable[Callable[..., Any]]) -> Iterable[str]:
    for function in functions:
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is not None:
            yield code.co_filename


def refusal_of(error: Refused | psycopg.Error) -> RefusalClass:
    """Return the class of what was raised while events were applied."""
    if isinstance(error, Refused):
        return RefusalClass.POISON
    # What an author's function has raised is the event's reason whatever code it chose; a missing right never is.
    if server_error.is_raised(error) and error.sqlstate != MISSING_RIGHT:
        return RefusalClass.POISON
    # What the driver says before the server is asked, as that a text holds a NUL, is the parameters' fault.
    local = isinstance(error, _LOCAL) and error.sqlstate is None
    return RefusalClass.POISON if local else classify(error.sqlstate)


def is_refusal(error: Refused | psycopg.Error) -> bool:
    """Return whether an event is at fault, and not the database or the set-up."""
    return refusal_of(error) in (RefusalClass.POISON, RefusalClass.CONFLICT)


def may_be_refusal(error: Refused | psycopg.Error) -> bool:
    """Return whether an event is at fault, or may be: only evidence can tell."""
    return is_refusal(error) or (isinstance(error, psycopg.Error) and is_undecided(error.sqlstate))


def is_cancelled(error: Exception) -> bool:
    """Return whether a statement was cancelled: it took longer than it may, or somebody has ended it by hand."""
    return isinstance(error, psycopg.errors.QueryCanceled)


def may_be_of_one(error: psycopg.Error) -> bool:
    """Return whether what looks like an outage may be the doing of one event: only the others can tell."""
    return refusal_of(error) is RefusalClass.OUTAGE and may_be_of_one_event(error.sqlstate)


def suspected(error: psycopg.Error) -> Suspected:
    """Return how an error that may be of one event is told, without any value."""
    return Suspected(f"PostgreSQL: {words_of(error) if error.sqlstate is not None else 'the connection was lost'}")


def is_locked(error: psycopg.Error) -> bool:
    """Return whether a lock that another session holds was not to be had in time."""
    return isinstance(error, psycopg.errors.LockNotAvailable)


def words_of(error: psycopg.Error) -> str:
    """Return what may be logged of an error: what PostgreSQL says unless that may hold a value of an event."""
    if error.sqlstate is None or may_be_told(error.sqlstate, raised=server_error.is_raised(error)):
        words = error.diag.message_primary or type(error).__name__
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return f"{words}: {RIGHTS}"
        return f"{words}: another session holds a lock that is needed; pg_locks names it" if is_locked(error) else words
    return f"SQLSTATE {error.sqlstate}"


def words_of_view(error: psycopg.Error) -> str:
    """Return what may be logged of a view that cannot be refreshed."""
    if error.sqlstate is None or may_be_told(error.sqlstate, raised=server_error.is_raised(error), reads_values=True):
        return server_error.words(error)
    return (
        f"SQLSTATE {error.sqlstate}: what PostgreSQL says may hold values; REFRESH MATERIALIZED VIEW by hand shows it"
    )


def without_values(error: Exception) -> Exception:
    """Return an error that may be logged in place of one whose words may hold a value of an event."""
    if not isinstance(error, psycopg.Error) or may_be_told(error.sqlstate, raised=server_error.is_raised(error)):
        return error
    return OSError(words_of(error))


def log_refused(
    definition: Definition, partition: int, refused: Iterable[tuple[Incoming, str]], *, again: bool
) -> None:
    """Log each event that was refused, once that is committed.

    Args:
        refused: Each with a word that may be logged.
        again: Whether they were parked before, and an operator had them tried again.
    """
    group = "projection redis" if definition.store == "redis" else "projection"
    policy = "park" if again else definition.on_refused
    text = "an event was refused, and is passed over for ever"
    command = None
    if policy == "park":
        text = "an event was refused, and is parked with everything later of its key: mend what refused it, then retry"
        command = f"relay {group} retry {definition.name}"
    if again:
        text = "a parked event was tried again and refused again: it stays parked, with this reason"
    for event, why in refused:
        log_event(
            log,
            "warning",
            "projection.refused",
            text,
            projection=definition.name,
            partition=partition,
            topic=event.topic,
            key=event.key,
            seq=event.seq,
            stream_seq=event.stream_seq,
            policy=policy,
            reason=why,
            command=command,
        )
