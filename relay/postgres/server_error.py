"""What PostgreSQL says of an error, fit for a log: never the row that it speaks of. Pure: no I/O."""

import psycopg

from relay.text import printable

# A trigger may raise whatever it likes.
_LONGEST = 300

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


def words(error: BaseException) -> str:
    """Return what may be logged of an error, in one line.

    Of what the server says that is its primary message, the SQLSTATE and the name of the constraint. The detail, the
    hint and the context are left out: they repeat values of the row, payload and all. Errors of the driver, such as a
    connection that could not be made, hold no row and are given whole.
    """
    if not isinstance(error, psycopg.Error) or error.diag.message_primary is None:
        return printable(" ".join(str(error).split())) or type(error).__name__
    primary = " ".join(error.diag.message_primary.split())
    if len(primary) > _LONGEST:
        primary = f"{primary[:_LONGEST]}..."
    named = [f"SQLSTATE {error.sqlstate}" if error.sqlstate else "", error.diag.constraint_name or ""]
    named[1] = f"constraint {named[1]}" if named[1] else ""
    return printable(f"{primary} ({', '.join(part for part in named if part)})" if any(named) else primary)
