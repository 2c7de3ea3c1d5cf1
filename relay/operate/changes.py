"""Change the outbox in small transactions of their own, each change with a line in the audit table."""

import getpass
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from relay.errors import RelayError, Unreachable
from relay.operate.access import Denied, Reader, Row, checked, connect, foreseen, telling_rights
from relay.operate.previews import RECORD, Confirmed, change_of
from relay.postgres.tables import Tables
from relay.text import of_planned

if TYPE_CHECKING:
    from relay.config.settings import Settings

OnProgress = Callable[[int], None]
"""Called with how many more events (or seqs) are done."""

Tell = Callable[[str], None]
"""Called with a line that is for the operator, such as what is waited for."""


class AuditLine(NamedTuple):
    """One line of the audit table; times in Unix seconds.

    Attributes:
        ended_at: None if the change was not finished.
        who: User and host.
        role: The role of PostgreSQL.
        filter: Which events were meant, and the options that matter, as JSON.
        planned: How many events matched when it began.
        events: How many were changed.
        position: The seq up to which all is done, for what can be resumed.
    """

    number: int
    began_at: float
    ended_at: float | None
    who: str
    role: str
    action: str
    filter: str
    planned: int
    events: int
    position: int | None


def audit_lines(reader: Reader, limit: int) -> list[AuditLine]:
    """Return what commands have changed, the newest first, at most `limit` lines."""
    return [AuditLine._make(row) for row in reader.rows("operate/audit", (limit,))]


def audit_line(reader: Reader, number: int) -> AuditLine | None:
    """Return one line of the audit table, None without one of this number."""
    rows = reader.rows("operate/audit_one", (number,))
    return AuditLine._make(rows[0]) if rows else None


class BrokenOff(RelayError):
    """A change ended before all of it was done. What the audit table counts is done; the rest can be done again."""

    def __init__(self, cause: RelayError, audit: "Audit", planned: int) -> None:
        # The answer to a commit may be lost together with the connection.
        if not audit.events and not isinstance(cause, Unreachable):
            super().__init__(f"{cause}: nothing was changed (number {audit.number} of `relay audit`)")
            self.exit_code = cause.exit_code
            return
        least = "at least " if isinstance(cause, Unreachable) else ""
        super().__init__(
            f"{cause}: {least}{of_planned(audit.events, planned)} were changed before, and number {audit.number} of "
            "`relay audit` counts them; run the command again for the rest"
        )
        self.exit_code = cause.exit_code


class Overtaken(RelayError):
    """Another process has gone on with a change. What this one had committed is counted; it did nothing more."""


class Changer(Reader):
    """The outbox, to be changed in small transactions of their own.

    Attributes:
        acting: Who changes it, for the audit table.
    """

    def __init__(
        self, conn: psycopg.Connection[Row], tables: Tables, version: int, timeout_s: float, acting: str
    ) -> None:
        super().__init__(conn, tables, version)
        self.acting = acting
        self._conn = conn
        self._timeout_s = timeout_s
        self._added: list[tuple[Audit, int]] = []

    @contextmanager
    def step(self, needs: str | None = None) -> Iterator[None]:
        """Open a transaction for some statements.

        Args:
            needs: What they take, in words; None: a role of the outbox.

        Raises:
            Denied: This login lacks a right. Nothing was changed.
        """
        try:
            with telling_rights(self.tables, needs), self._conn.transaction():
                # Of the transaction, so that nothing of it stays in a pooler's connection.
                self.cursor.execute(
                    "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', '5s', true),"
                    " set_config('enable_seqscan', 'off', true)",
                    (f"{self._timeout_s * 1000:.0f}",),
                )
                yield
            for audit, events in self._added:
                audit.committed(events)
        finally:
            self._added.clear()

    def begin(
        self,
        action: str,
        filters: Mapping[str, object],
        planned: int,
        position: int | None = None,
        preview: str | None = None,
    ) -> "Audit":
        """Write down that something is begun; a transaction of its own.

        Args:
            action: The command, such as ``dead retry``.
            filters: Which events are meant, and the options that matter; `Filters.as_record`.
            planned: How many events matched.
            position: The seq from which it goes on, for what can be resumed.
            preview: The name of the preview that is confirmed, if there was one (`relay.operate.previews`).

        Raises:
            Confirmed: That preview was confirmed before. Nothing was written.
        """
        with self.step():
            if preview is not None:
                self.rows("operate/confirming", (preview,))
                if (earlier := change_of(self, preview)) is not None:
                    raise Confirmed(earlier)
                filters = {**filters, RECORD: preview}
            (number,) = self.row(
                "operate/audit_begin",
                (self.acting, action, json.dumps(filters, ensure_ascii=False), planned, position),
            )
        return Audit(self, int(number), 0)

    def resume(self, line: AuditLine) -> "Audit":
        """Return a line of the audit table that is not ended, to go on with it from what it counts."""
        return Audit(self, line.number, line.events)

    def count(self, audit: "Audit", events: int, position: int | None) -> None:
        """Count events for a line of the audit table, in the open `step`.

        Raises:
            Overtaken: Another process has gone on with it.
        """
        before = audit.counted + sum(more for other, more in self._added if other is audit)
        if not self.run("operate/audit_add", (audit.number, events, position, before)):
            raise Overtaken(
                f"another process has gone on with change {audit.number}, or has ended it: this one has stopped, and "
                "what it did before is counted; see `relay audit`"
            )
        self._added.append((audit, events))

    @contextmanager
    def audited(self, action: str, filters: Mapping[str, object], planned: int) -> Iterator["Audit"]:
        """Begin a change as `begin` does, and end its line in the audit table after the block.

        Raises:
            BrokenOff: PostgreSQL failed inside the block. What the audit table counts is done, and nothing else.
        """
        with self.finishing(self.begin(action, filters, planned), planned) as audit:
            yield audit

    @contextmanager
    def finishing(self, audit: "Audit", planned: int) -> Iterator["Audit"]:
        """End a line in the audit table after the block that does the rest of it.

        Raises:
            BrokenOff: As `audited` does.
        """
        try:
            yield audit
        except (psycopg.Error, Denied) as error:
            cause = error if isinstance(error, Denied) else foreseen(error)
            if cause is None:
                raise
            raise BrokenOff(cause, audit, planned) from error
        audit.end()

    def check(self, *statements: tuple[str, Sequence[object]], needs: str | None = None) -> None:
        """Find out whether this role may do some statements here, and change nothing.

        PostgreSQL checks the rights of a plan before it shows it.

        Args:
            statements: Each the name of a query, and parameters of the right types.
            needs: As for `step`.

        Raises:
            Denied: A right is missing.
            psycopg.errors.ReadOnlySqlTransaction: This server accepts no changes.
        """
        audit = (
            ("operate/audit_begin", ("", "", "{}", 0, None)),
            ("operate/audit_add", (0, 0, None, 0)),
            ("operate/audit_end", (0,)),
        )
        with self.step(needs):
            (read_only,) = self.cursor.execute("SHOW transaction_read_only").fetchone() or ("off",)
            if read_only == "on":
                raise psycopg.errors.ReadOnlySqlTransaction("this server is read-only")
            for query, params in (*audit, *statements):
                self.cursor.execute(b"EXPLAIN " + self.tables.query(query), params)


class Audit:
    """One line of the audit table.

    Attributes:
        number: Its id.
        counted: How many it counts, as far as this process knows.
        events: How many of these were counted by this process, in transactions that were committed.
    """

    def __init__(self, changer: Changer, number: int, counted: int) -> None:
        self._changer = changer
        self.number = number
        self.counted = counted
        self.events = 0

    def add(self, events: int, position: int | None = None) -> None:
        """Count events that were changed; call it in the `Changer.step` that changes them.

        Args:
            events: How many more.
            position: The seq up to which all is done, for what can be resumed.

        Raises:
            Overtaken: Another process has gone on with it. The step changes nothing then.
        """
        self._changer.count(self, events, position)

    def committed(self, events: int) -> None:
        """Take note that a transaction that counted some events is committed."""
        self.counted += events
        self.events += events

    def end(self) -> None:
        """Write down that it is done; a transaction of its own."""
        with self._changer.step():
            self._changer.run("operate/audit_end", (self.number,))


def who() -> str:
    """Return who runs this command, for the record: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # a container's user without a name
    return f"{user}@{socket.gethostname()}"


@contextmanager
def changing(settings: "Settings", acting: str | None = None) -> Iterator[Changer]:
    """Open the outbox to change it.

    Args:
        acting: Who changes it, for the audit table; None: whoever runs this process.

    Raises:
        SchemaError: The outbox is not there, or of another version.
    """
    with connect(settings) as conn:
        tables, version = checked(conn, settings.postgres.table)
        yield Changer(conn, tables, version, settings.postgres.statement_timeout_s, acting or who())
