"""What can end a command or the daemon, and the exit code that says so."""

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of ``relay``; 130 and 143 are 128 + signal, as a shell has it (in the daemon, the second one)."""

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


class DrainIncomplete(RelayError):
    """The deadline of a shutdown passed with events in flight. They stay pending and are sent again."""

    exit_code = Exit.DRAIN_INCOMPLETE


class Unreachable(RelayError):
    """PostgreSQL or NATS did not answer a command. Nothing was changed."""

    exit_code = Exit.UNREACHABLE


class LeaseLost(RelayError):
    """Other relays own some of the shards now. They settle what was in flight; this one must stop sending."""


class StreamHealed(RelayError):
    """A stream had lost events; they are pending again. The term has to begin anew, to send them in their order."""
