"""The errors that were foreseen, drawn; each class says in what state the world is then.

::

    RelayError                  what ends a command or the daemon, with its exit code
    |- ConfigError         2    nothing was started
    |- SchemaError         3    nothing was changed
    |- StatementRefused    1    nothing was changed by the statement
    |  |- BadValue              a value of a row that PostgreSQL cannot read or make
    |  `- TableRefused          a right or a table that is missing, whatever the row
    |- Unreachable         5    what was done before it stands
    `- BrokerError         5    relay.jetstream.connection: what was in flight is unknown
       |- RequestRefused        a question that was answered with an error: nothing was done
       `- LookupForbidden       a question that nobody answers
          `- LookupRefused      a question that this account may not ask
    TermEnded                   what ends a term of the daemon, which then begins another
    |- LeaseLost                other relays own some of the shards
    |- StreamHealed             lost events are pending again
    `- DatabaseChanged          the database is not the one that was read

What a command of its own adds stands beside it: `relay.cli.consent` and `relay.operate.replayer`.
"""

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of ``relay``; 130 and 143 are 128 + signal, as a shell has it."""

    DONE = 0
    FAULT = 1
    CONFIG = 2
    SCHEMA = 3
    DRAIN_INCOMPLETE = 4
    UNREACHABLE = 5
    DECLINED = 6
    LOST = 7
    UNFIT = 8


class RelayError(Exception):
    """A fault that was foreseen; its text says what happened and what the reader can do."""

    exit_code: Exit = Exit.FAULT


class ConfigError(RelayError):
    """The configuration is wrong: one line for each fault, each with its place. Nothing was started."""

    exit_code = Exit.CONFIG

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class SchemaError(RelayError):
    """The outbox is not in this database, or in a version that this relay does not know. Nothing was changed."""

    exit_code = Exit.SCHEMA


class StatementRefused(RelayError):
    """PostgreSQL refused a statement for what it says, such as by a constraint. It changed nothing.

    Its text holds nothing of the row, and may be logged.
    """


class BadValue(StatementRefused):
    """PostgreSQL failed at a value of a row: too large for it, damaged, or not of its type. It changed nothing.

    The same statement without that row may succeed; run again as it is, it fails again.
    """


class TableRefused(StatementRefused):
    """PostgreSQL refused a statement for what the database is, such as by a missing right. It changed nothing.

    So it is refused whatever rows it names.
    """


class Unreachable(RelayError):
    """PostgreSQL or NATS did not answer a command. What it had done before stands, and can be done again."""

    exit_code = Exit.UNREACHABLE


class TermEnded(Exception):
    """A term cannot go on. What was in flight stays pending until another term, or another relay, settles it."""


class LeaseLost(TermEnded):
    """Other relays own some of the shards now. They settle what was in flight; this one must stop sending."""


class StreamHealed(TermEnded):
    """A stream had lost events; they are pending again. Another term sends them in their order."""


class DatabaseChanged(TermEnded):
    """The database went back, or is another one: what was read from it must not be settled. Nothing was written."""
