"""Statements with names: planned once a session, for what is to be quick.

A pooler of transactions hands such a statement on to strangers, so this is for sessions of our own alone. The driver
would number the names, the same in each session; these are drawn, so that no stranger's can pass for ours.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from relay.postgres.tables import Tables

_PLAN_ONCE = Tables().query("connection/plan_once")

GONE = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
    psycopg.errors.FeatureNotSupported,
)
"""The server does not have the statement, or the types of its columns have changed since it was planned."""


class NamedStatements:
    """The statements of one session that have names."""

    def __init__(self, conn: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._conn = conn
        self._transformer = Transformer(conn)
        self._prefix = f"relay_{secrets.token_hex(8)}"
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}

    async def run(self, query: bytes, params: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows, in a transaction of its own; what is new to the session is planned first.

        Raises:
            psycopg.Error: As the driver's own way to run it; one of `GONE` if it is to be run without a name.
        """
        if not self._names:
            await self._conn.execute(_PLAN_ONCE)
        async with self._conn.lock:
            return await self._conn.wait(self._run(query, params))

    def _run(self, query: bytes, params: Sequence[object]) -> PQGen[list[tuple[Any, ...]]]:
        pgconn, transformer = self._conn.pgconn, self._transformer
        values = transformer.dump_sequence(params, [PyFormat.BINARY] * len(params))
        types = transformer.types or ()
        name = self._names.get((query, types))
        if name is None:
            name = f"{self._prefix}_{len(self._names)}".encode()
            pgconn.send_prepare(name, query, types)
            self._checked((yield from execute(pgconn)))
            self._names[query, types] = name
        pgconn.send_query_prepared(name, values, transformer.formats, Format.BINARY)
        result = self._checked((yield from execute(pgconn)))
        transformer.set_pgresult(result, format=Format.BINARY)
        return transformer.load_rows(0, result.ntuples, tuple)

    def _checked(self, results: list[PGresult]) -> PGresult:
        if not results:
            raise psycopg.OperationalError("the connection has ended before the answer")
        if results[-1].status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(results[-1], encoding=self._conn.info.encoding)
        return results[-1]
