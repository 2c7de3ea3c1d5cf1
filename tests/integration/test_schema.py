"""The schema: how it is made, what it holds, and who may do what with it."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from relay.errors import Exit, SchemaError
from relay.migrate import migrate, newest_version, script
from relay.sql import DEFAULT_TABLE
from tests.fix_relay import MakeRelay, Outbox, wait_until
from tests.fix_stream import Streams, assert_once_and_in_order

# The two inserts of design.md, section 3, as they stand there.
GO_INSERT = b"INSERT INTO outbox_events (id, topic, payload, created_at) VALUES ($1,$2,$3,$4)"
SQL_INSERT = b"INSERT INTO outbox_events (topic, payload) VALUES ('orders.placed', jsonb_build_object('i', 2))"

# Everything that a migration can make, in words that do not depend on when it was made.
CATALOGUE = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid), a.attacl::text, col_description(c.oid, a.attnum)
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'S')
    """,
    "relations": "SELECT relname, relkind, reloptions, relacl::text, obj_description(oid) FROM pg_class c",
    "indexes": "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_class c WHERE c.relkind = 'i'",
    "constraints": """
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE true
    """,
    "triggers": """
        SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
    """,
}
FUNCTIONS = """
    SELECT n.nspname, pg_get_functiondef(p.oid), p.proacl::text
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prokind = 'f' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1, 2
"""
SCHEMAS = "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1"


def catalogue(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """Describe all that stands in a database."""
    found: dict[str, list[tuple[object, ...]]] = {}
    with psycopg.connect(dsn) as conn:
        for name, query in CATALOGUE.items():
            where = "" if "WHERE" in query else " WHERE true"
            ours = " AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
            found[name] = (
                conn.execute(f"{query}{where}{ours} ORDER BY 1, 2, 3".encode()).fetchall()
                if (name != "indexes")
                else conn.execute(f"{query}{ours} ORDER BY 1, 2".encode()).fetchall()
            )
        found["functions"] = conn.execute(FUNCTIONS.encode()).fetchall()
        found["schemas"] = conn.execute(SCHEMAS.encode()).fetchall()
    return found
