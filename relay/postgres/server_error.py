"""What PostgreSQL says of an error, fit for a log: never the row that it speaks of. Pure: no I/O."""

import re

import psycopg

from relay.credentials import is_auth_error
from relay.text import printable

# So many characters of what the server says are kept.
_LONGEST = 300

# What PostgreSQL's own languages call, in the server, to raise what an author has written.
_RAISING = frozenset({"exec_stmt_raise", "PLy_output", "do_util_elog", "pltcl_elog"})
# The last line of a context, of what the statement itself has called: a name, types of arguments and no value. Lines
# before it may quote a statement.
_PLACE = re.compile(r"(?:PL/\w+ function (?:\S+\(.*?\)|\"\S+\")|SQL function \S+)(?: .*?line \d+)?")
# A division by zero has the same words whatever is divided.
_FIXED_WORDS = frozenset({"22012"})
# Within a function these speak of rights, of constraints by name, or of the server.
_CLASSES_OF_NO_VALUES = frozenset({"08", "23", "40", "53", "55", "57"})
_MISSING_RIGHT = "42501"
# A statement that takes too long, and a lock that is not to be had in time, are no faults of what they concern.
_STATES_OF_TIME = frozenset({"55P03", "57014"})

# Data exceptions (an encoding, a number, a date) and program limits (a text of more than 1 GB, a nesting too deep).
_CLASSES_OF_VALUES = frozenset({"22", "54"})
# A size that no allocation may have is an internal error. The others are damage: chunks of a large value that are not
# there, or an index that is broken.
_STATES_OF_VALUES = frozenset({"XX000", "XX001", "XX002"})

# What a statement names is missing, of another kind or type, or not permitted.
_CLASSES_OF_SCHEMA = frozenset({"42", "3F"})
# What a statement does is not done with such a relation: it is a view, or rows cannot be named for a publication.
_STATES_OF_SCHEMA = frozenset({"0A000", "55000"})


def is_of_schema(error: BaseException) -> bool:
    """Report whether the server refused a statement for what the database is: its tables, functions and rights."""
    sqlstate = (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
    return sqlstate[:2] in _CLASSES_OF_SCHEMA or sqlstate in _STATES_OF_SCHEMA


def is_of_value(error: BaseException) -> bool:
    """Report whether a statement failed at a value of a row: neither an outage, nor the fault of its text."""
    sqlstate = (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
    return sqlstate[:2] in _CLASSES_OF_VALUES or sqlstate in _STATES_OF_VALUES


def is_raised(error: psycopg.Error) -> bool:
    """Report whether the author of a function chose an error and its words."""
    return error.diag.source_function in _RAISING


def is_of_called_code(error: BaseException) -> bool:
    """Report whether an error comes from code that a statement has called, and the session goes on.

    What a statement of the relay calls when it changes rows are the triggers, rules and checks of others. So it says
    something of these rows, whatever SQLSTATE it has: a trigger that lacks a right or reaches for another server has
    the code of an outage.
    """
    return (
        isinstance(error, psycopg.Error)
        and error.diag.context is not None
        and error.diag.severity_nonlocalized == "ERROR"
        and error.sqlstate not in _STATES_OF_TIME
    )


def _may_hold_values(error: psycopg.Error) -> bool:
    """Report whether what PostgreSQL says may repeat a value of a row: a CHECK may cast it, a trigger quote it."""
    sqlstate = error.sqlstate or ""
    if is_raised(error):
        return True
    if sqlstate in _FIXED_WORDS or sqlstate == _MISSING_RIGHT:
        return False
    if error.diag.context is not None:
        return sqlstate[:2] not in _CLASSES_OF_NO_VALUES
    return sqlstate[:2] == "22"


def _condition(error: psycopg.Error) -> str:
    """Return the name of an SQLSTATE as words: "invalid text representation"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


def words(error: BaseException) -> str:
    """Return what may be logged of an error, in one line.

    Of what the server says that is its primary message, the SQLSTATE and the name of the constraint. The detail, the
    hint and the context are left out: they repeat values of the row, payload and all. If the message itself may do so
    it is left out as well; the name of its condition and the function that it comes from stand for it. Errors of the
    driver, such as a connection that could not be made, hold no row and are returned whole.
    """
    if not isinstance(error, psycopg.Error) or error.diag.message_primary is None:
        return printable(" ".join(str(error).split())) or type(error).__name__
    if _may_hold_values(error):
        primary = f"{_condition(error)}{_place(error)}: PostgreSQL's own log has the words, which may hold values"
    else:
        primary = " ".join(error.diag.message_primary.split())
        primary = f"{primary[:_LONGEST]}..." if len(primary) > _LONGEST else primary
        primary += _place(error)
    named = [f"SQLSTATE {error.sqlstate}" if error.sqlstate else "", error.diag.constraint_name or ""]
    named[1] = f"constraint {named[1]}" if named[1] else ""
    return printable(f"{primary} ({', '.join(part for part in named if part)})" if any(named) else primary)


def answer(error: BaseException, *, stood: bool, is_refusal: bool) -> str:
    """Return what PostgreSQL answered to a statement that failed, for who asks why nothing flows; empty if it did not.

    Args:
        error: Why it failed.
        stood: Whether the session stood after it.
        is_refusal: Whether an operator has to change something in the database.
    """
    if is_refusal:
        return f"PostgreSQL answers, and refuses what the relay asks of it: {words(error)}; see `relay doctor`"
    if stood and isinstance(error, psycopg.Error) and error.sqlstate:
        return f"PostgreSQL answers, and cannot do what the relay asks of it: {words(error)}"
    if is_auth_error(words(error)):
        return f"PostgreSQL does not let the relay in: {words(error)}"
    return ""


def _place(error: psycopg.Error) -> str:
    lines = (error.diag.context or "").splitlines()
    found = _PLACE.match(lines[-1]) if lines else None
    return "" if found is None else f" in {found.group()[:_LONGEST]}"
