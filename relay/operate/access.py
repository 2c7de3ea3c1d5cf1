"""The way into the outbox for an operator: a connection, looks of one moment, and what PostgreSQL's errors mean."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from relay.errors import ConfigError, Exit, RelayError, SchemaError, Unreachable
from relay.postgres.migrate import check_schema, schema_of
from relay.postgres.server_error import is_of_value, words
from relay.postgres.session import address_fault, check_encoding, conninfo, pin_now
from relay.postgres.tables import Tables
from relay.rules.database.table_shape import TableShape

if TYPE_CHECKING:
    from relay.config.settings import Settings

Row = tuple[Any, ...]


# With one of these libpq knows where to go without an address.
_LIBPQ = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")


class Denied(RelayError):
    """PostgreSQL refused a statement. The transaction that it belongs to changed nothing."""

    exit_code = Exit.FAULT


def foreseen(error: psycopg.Error) -> RelayError | None:
    """Return what an error of PostgreSQL means for a command; None if it is a fault of ours."""
    text = words(error)
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return SchemaError(f"the outbox is not in this database: {text}: run `relay migrate`")
        case psycopg.errors.InsufficientPrivilege():
            return Denied(
                f"PostgreSQL does not permit it: {text}: looking takes the role outbox_reader and changing the role "
                "outbox_relay, which `relay migrate` makes: GRANT one of them to this login"
            )
        case psycopg.errors.ReadOnlySqlTransaction():
            return Denied("PostgreSQL takes no changes: this is a standby, or the login is read-only")
        case psycopg.errors.LockNotAvailable():
            return Denied("the table, or a row of it, was busy for too long: try again")
        case psycopg.errors.QueryCanceled():
            return Denied("PostgreSQL took longer than postgres.statement_timeout_s")
        case psycopg.OperationalError() | psycopg.InternalError() if is_of_value(error):
            return Denied(f"PostgreSQL cannot read a value of a row: {text}")
        case psycopg.OperationalError():
            return Unreachable(f"PostgreSQL does not answer: {text}")
        case _:
            return None


@contextmanager
def telling_rights(tables: Tables, needs: str | None = None) -> Iterator[None]:
    """Raise `Denied`, which names the roles, if PostgreSQL refuses something for want of a right.

    Args:
        tables: Of the outbox: its roles have its name.
        needs: What it takes; None: a role of the outbox.

    Raises:
        Denied: PostgreSQL refused it.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        roles = (
            f"looking takes the role {tables.name('reader')} and changing the role {tables.name('relay')}, which "
            "`relay migrate` makes for this table: GRANT one of them to this login"
        )
        raise Denied(f"PostgreSQL does not permit it: {words(error)}: {needs or roles}") from error


def check_addresses(settings: "Settings") -> None:
    """Find a malformed address before the driver does, whose own text would repeat it, password and all.

    Raises:
        ConfigError: An address is missing or malformed.
    """
    faults = []
    if not settings.postgres.dsn.get_secret_value() and not any(name in os.environ for name in _LIBPQ):
        faults.append("[postgres] dsn: is not set; set it there, in RELAY_POSTGRES__DSN or by --dsn-file")
    for name, secret in (("dsn", settings.postgres.dsn), ("bell_dsn", settings.postgres.bell_dsn)):
        try:
            conninfo_to_dict("" if secret is None else secret.get_secret_value())
        except psycopg.ProgrammingError as error:
            faults.append(f"[postgres] {name}: {address_fault(error)}")
    if faults:
        raise ConfigError(faults)


def connect(settings: "Settings", name: str = "outbox-relay cli") -> psycopg.Connection[Row]:
    """Connect to PostgreSQL, once.

    Args:
        name: Of the session, as ``pg_stat_activity`` shows it.

    Raises:
        ConfigError: The address is missing or malformed.
        psycopg.OperationalError: It does not answer.
    """
    check_addresses(settings)
    postgres = settings.postgres
    conn = psycopg.connect(
        conninfo(postgres.dsn.get_secret_value(), name, postgres.connect_timeout_s),
        autocommit=True,
        # Planned each time with the very parameters: a plan for any filter would have to read everything.
        prepare_threshold=None,
    )
    with ExitStack() as otherwise:
        otherwise.callback(conn.close)
        pin_now(conn)
        otherwise.pop_all()
    return conn


class Reader:
    """The outbox, read in one transaction: every answer is of the same moment."""

    def __init__(self, conn: psycopg.Connection[Row], tables: Tables, version: int) -> None:
        self.cursor = psycopg.RawCursor(conn)
        self.tables = tables
        self.version = version

    def rows(self, query: str, params: Sequence[object] = ()) -> list[Row]:
        """Run a query of ``sql/queries``."""
        return self.cursor.execute(self.tables.query(query), params or None).fetchall()

    def row(self, query: str, params: Sequence[object] = ()) -> Row:
        """Run a query that always has one row."""
        return self.rows(query, params)[0]

    def rows_or_outlines(self, query: str, params: Sequence[object] = ()) -> tuple[list[Row], str | None]:
        """Run a query whose last parameter says whether values of any size are read.

        Returns:
            The rows; and what PostgreSQL said if it failed to read such values, which are left out then.
        """
        try:
            with self.cursor.connection.transaction():
                return self.rows(query, (*params, True)), None
        except psycopg.Error as error:
            if not is_of_value(error):
                raise
            return self.rows(query, (*params, False)), words(error)

    def run(self, query: str, params: Sequence[object] = ()) -> int:
        """Run a statement without rows; return how many it changed."""
        return self.cursor.execute(self.tables.query(query), params or None).rowcount


@contextmanager
def reading(settings: "Settings") -> Iterator[Reader]:
    """Open a reader.

    Raises:
        SchemaError: The outbox is not there, or of another version.
    """
    with watching(settings) as watcher, watcher.look():
        yield watcher


class Watcher(Reader):
    """The outbox, to be looked at again and again."""

    def __init__(self, conn: psycopg.Connection[Row], tables: Tables, version: int, timeout_s: float) -> None:
        super().__init__(conn, tables, version)
        self._conn = conn
        self._timeout_s = timeout_s

    @contextmanager
    def look(self) -> Iterator[None]:
        """Open a transaction: every answer in it is of the same moment."""
        with telling_rights(self.tables), self._conn.transaction():
            # Settings of the transaction, so that nothing of them stays in a pooler's connection. Without
            # statistics of a young table the planner would read all of it; every question here has its index.
            self._conn.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('enable_seqscan', 'off', true)",
                (f"{self._timeout_s * 1000:.0f}",),
            )
            yield


@contextmanager
def watching(settings: "Settings") -> Iterator[Watcher]:
    """Open the outbox for several looks.

    Raises:
        SchemaError: The outbox is not there, or of another version.
    """
    with connect(settings) as conn:
        conn.read_only = True
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield Watcher(conn, *checked(conn, settings.postgres.table), settings.postgres.statement_timeout_s)


def checked(conn: psycopg.Connection[Row], table: str) -> tuple[Tables, int]:
    """Return the names of the outbox and the version of its schema.

    Raises:
        SchemaError: The outbox is not there, or of another version, or the database is not UTF-8.
    """
    check_encoding(conn)
    with telling_rights(Tables(table)):
        return _checked(conn, table)


def _checked(conn: psycopg.Connection[Row], table: str) -> tuple[Tables, int]:
    shape = TableShape.read(psycopg.RawCursor(conn).execute(Tables(table).query("ownership/columns")).fetchall())
    if shape is None:
        check_schema(None, table)
    tables = Tables(table, (None if shape is None else shape.payload_type) or "jsonb")
    schema = schema_of(psycopg.RawCursor(conn).execute(tables.query("migrate/schema_version")).fetchone())
    check_schema(schema, table)
    faults = [] if shape is None else shape.faults(table)
    if faults:
        raise SchemaError(f"table {table} is not as it must be: {'; '.join(faults)} (docs/reference/table.md)")
    return tables, 0 if schema is None else schema.version
