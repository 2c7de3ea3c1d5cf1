"""What all commands that change something share: say how many events, ask, and leave a line in the audit table."""

import functools
import getpass
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import click
import psycopg

from relay.cli.table import message
from relay.config.settings import Settings
from relay.errors import Exit, RelayError
from relay.operate.access import Reader, Row, checked, connect
from relay.postgres.tables import Tables

_PROGRESS_AFTER_S = 1.0


class Declined(RelayError):
    """A person said no. Nothing was changed."""

    exit_code = Exit.DECLINED


class Unasked(RelayError):
    """Nobody is there to be asked, and ``--yes`` was not given. Nothing was changed."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether a change may be made: only shown, agreed beforehand, or to be asked for."""

    dry_run: bool
    yes: bool

    def given(self, what: str) -> bool:
        """Ask whether to do `what`, such as ``discard 12 dead letters``; False for a dry run.

        Raises:
            Declined: The answer was no.
            Unasked: There is no terminal to ask on.
        """
        if self.dry_run:
            message(f"dry run, nothing is changed: would {what}")
            return False
        if self.yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Unasked(f"to {what} without a terminal to ask on, give --yes (or --dry-run to look first)")
        if not click.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
            raise Declined("nothing was changed")
        return True


def consenting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--dry-run`` and ``--yes``; it is called with ``consent``."""

    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @click.option("--yes", "-y", is_flag=True, help="Do not ask.")
    @functools.wraps(command)
    def wrapped(*args: Any, dry_run: bool, yes: bool, **params: Any) -> None:
        command(*args, consent=Consent(dry_run, yes), **params)

    return wrapped


class Changer(Reader):
    """The outbox, to be changed in small transactions of their own."""

    def __init__(self, conn: psycopg.Connection[Row], tables: Tables, version: int, timeout_s: float) -> None:
        super().__init__(conn, tables, version)
        self._conn = conn
        self._timeout_s = timeout_s

    @contextmanager
    def step(self) -> Iterator[None]:
        """Open a transaction for some statements."""
        with self._conn.transaction():
            # Of the transaction, so that nothing of it stays in a pooler's connection.
            self.cursor.execute(
                "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', '5s', true),"
                " set_config('enable_seqscan', 'off', true)",
                (f"{self._timeout_s * 1000:.0f}",),
            )
            yield

    def begin(self, action: str, filters: Mapping[str, object], planned: int, position: int | None = None) -> "Audit":
        """Write down that something is begun; a transaction of its own.

        Args:
            action: The command, such as ``dead retry``.
            filters: Which events are meant, and the options that matter; `Filters.told`.
            planned: How many events matched.
            position: The seq from which it goes on, for what can be resumed.
        """
        with self.step():
            (number,) = self.row(
                "cli_audit_begin", (_who(), action, json.dumps(filters, ensure_ascii=False), planned, position)
            )
        return Audit(self, int(number))


class Audit:
    """One line of the audit table.

    Attributes:
        number: Its id.
    """

    def __init__(self, changer: Changer, number: int) -> None:
        self._changer = changer
        self.number = number

    def add(self, events: int, position: int | None = None) -> None:
        """Count events that were changed; call it in the `Changer.step` that changes them.

        Args:
            events: How many more.
            position: The seq up to which all is done, for what can be resumed.
        """
        self._changer.run("cli_audit_add", (self.number, events, position))

    def end(self) -> None:
        """Write down that it is done; a transaction of its own."""
        with self._changer.step():
            self._changer.run("cli_audit_end", (self.number,))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # a container's user without a name
    return f"{user}@{socket.gethostname()}"


@contextmanager
def changing(settings: Settings) -> Iterator[Changer]:
    """Open the outbox to change it.

    Raises:
        SchemaError: The outbox is not there, or of another version.
    """
    with connect(settings) as conn:
        tables, version = checked(conn, settings.postgres.table)
        yield Changer(conn, tables, version, settings.postgres.statement_timeout_s)


class Progress:
    """A bar on stderr for what takes longer than a second, on a terminal only."""

    def __init__(self, total: int, label: str) -> None:
        self._total = total
        self._label = label
        self._done = 0
        self._since = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, value, trace)

    def add(self, count: int) -> None:
        """Move on by so many events."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif sys.stderr.isatty() and time.monotonic() - self._since > _PROGRESS_AFTER_S:
            bar = click.progressbar(length=self._total, label=self._label, file=sys.stderr, show_pos=True)
            self._bar = bar.__enter__()
            self._bar.update(self._done)
