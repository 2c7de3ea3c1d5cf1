"""Bring the outbox in a database to the version of this relay."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from relay.errors import ConfigError, SchemaError
from relay.sql import Tables, sql_directory

PAYLOAD_TYPES = ("jsonb", "json", "text", "bytea")

_NUMBERED = re.compile(r"(\d{4})_(\w+)\.sql")
_PAYLOAD_COLUMN = "payload      jsonb       NOT NULL"


def _numbered() -> Iterator[tuple[int, Path]]:
    for path in sorted((sql_directory() / "migrations").iterdir()):
        found = _NUMBERED.fullmatch(path.name)
        if found:
            yield int(found[1]), path


def newest_version() -> int:
    """Give the version of the schema that this relay needs."""
    return max(version for version, _ in _numbered())


def _migration(path: Path, tables: Tables) -> str:
    text = path.read_text("utf-8")
    return tables.put_in(text.replace(_PAYLOAD_COLUMN, f"payload      {tables.payload_type:<11} NOT NULL"))


def _tables(table: str, payload_type: str) -> Tables:
    if payload_type not in PAYLOAD_TYPES:
        raise ConfigError([f"payload type {payload_type!r}: must be one of {', '.join(PAYLOAD_TYPES)}"])
    return Tables(table, payload_type)


def script(table: str, payload_type: str, bell: bool) -> str:
    """Give everything that `migrate` would run in an empty database, for teams that run their own tool."""
    tables = _tables(table, payload_type)
    parts = ["BEGIN;"]
    if tables.schema is not None:
        parts.append(f"CREATE SCHEMA IF NOT EXISTS {tables.schema};")
    parts.append(tables.file("migrations"))
    for version, path in _numbered():
        applied = tables.file("queries/migrate_applied").replace("$1", str(version)).replace("$2", f"'{path.stem}'")
        parts += [f"-- {path.name}", _migration(path, tables), f"{applied.rstrip()};"]
    parts += [tables.file("bell_on" if bell else "bell_off"), tables.file("roles"), "COMMIT;"]
    return "\n".join(parts) + "\n"


def migrate(conn: psycopg.Connection[Any], table: str, payload_type: str, bell: bool) -> list[str]:
    """Apply what is missing, in one transaction, one migrator at a time; doing it again changes nothing.

    Safe while producers and relays work: it waits at most 5 s for a lock on the table, so that nobody queues
    behind it for longer. `payload_type` counts only where the table is made.

    Returns:
        The names of the migrations applied, oldest first; empty where the schema was current.

    Raises:
        SchemaError: The database holds a newer version. Nothing was changed.
        psycopg.errors.LockNotAvailable: The table was busy for 5 s. Nothing was changed; try again.
    """
    tables = _tables(table, payload_type)
    applied: list[str] = []
    with conn.transaction(), psycopg.RawCursor(conn) as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute(tables.text("migrate_lock"))
        if tables.schema is not None:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {tables.schema}".encode())
        if not _value(cursor, tables.text("migrate_began")):
            cursor.execute(tables.file("migrations").encode())
        current = _value(cursor, tables.text("schema_version")) or 0
        if current > newest_version():
            check_schema(current, table)
        for version, path in _numbered():
            if version > current:
                cursor.execute(_migration(path, tables).encode())
                cursor.execute(tables.text("migrate_applied"), (version, path.stem))
                applied.append(path.stem)
        # Where the bell already is as wanted, no lock on the table is asked for.
        if _value(cursor, tables.text("migrate_bell")) != bell:
            cursor.execute(tables.file("bell_on" if bell else "bell_off").encode())
        cursor.execute(tables.file("roles").encode())
    return applied


def _value(cursor: psycopg.RawCursor[Any], query: bytes) -> Any:
    row = cursor.execute(query).fetchone()
    return row[0] if row else None


def check_schema(version: int | None, table: str) -> None:
    """Refuse to work on a schema that this relay does not know.

    Args:
        version: The newest applied migration, None where the outbox does not exist.
        table: The table of events, for the message.

    Raises:
        SchemaError: It is missing, older or newer.
    """
    if version is None:
        raise SchemaError(f"table {table} does not exist here: run `relay migrate`, or set postgres.table")
    if version < newest_version():
        raise SchemaError(f"schema version {version} of {table} is older than {newest_version()}: run `relay migrate`")
    if version > newest_version():
        raise SchemaError(f"schema version {version} of {table} is newer than {newest_version()}: use a newer relay")
