"""Run one statement for many rows of values: planned once, and without a round trip for each.

The driver would do so by a statement with a name, which a pooler of transactions hands on to strangers. Ours has no
name: it lasts until the next statement, and a pooler gives no part of a transaction to somebody else. The driver has
no call for that, so this speaks to libpq through it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import fetch_many, pipeline_communicate
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_NO_NAME = b""
# So many are given to libpq before it is seen whether the server has answered.
_AT_ONCE = 50

Values = Sequence[Buffer | None]


async def execute_repeated(conn: psycopg.AsyncConnection[Any], query: bytes, rows: Sequence[Sequence[object]]) -> None:
    """Run a statement for each row of values, in their order, and pass over what it returns.

    The connection must be in a transaction. The first rows are planned by their values, and later ones may share one
    plan, as for any prepared statement.

    Args:
        query: With ``$1``, ``$2``; it must say the type of each by a cast.

    Raises:
        psycopg.Error: The first error of the server, of a value that cannot be sent, or of the way to the server. The
            transaction must be rolled back.
    """
    transformer = Transformer(conn)
    values = [transformer.dump_sequence(row, [PyFormat.TEXT] * len(row)) for row in rows]
    pgconn = conn.pgconn
    async with conn.lock:
        pgconn.enter_pipeline_mode()
        try:
            results = await conn.wait(_communicate(pgconn, query, values))
        finally:
            _leave(pgconn)
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding=conn.info.encoding)
    if not results or results[-1].status != ExecStatus.PIPELINE_SYNC:
        raise psycopg.OperationalError("the connection has ended before the last answer")


def _communicate(pgconn: PGconn, query: bytes, rows: Sequence[Values]) -> PQGen[list[PGresult]]:
    """Send all, and return every answer; an error is among them, so that no answer is left behind."""
    commands: deque[Callable[[], None]] = deque([partial(pgconn.send_prepare, _NO_NAME, query)])
    for first in range(0, len(rows), _AT_ONCE):
        commands.append(partial(_send, pgconn, rows[first : first + _AT_ONCE]))
    commands.append(pgconn.pipeline_sync)
    results = [one for answer in (yield from pipeline_communicate(pgconn, commands)) for one in answer]
    while not results or results[-1].status != ExecStatus.PIPELINE_SYNC:
        answer = yield from fetch_many(pgconn)
        if not answer and pgconn.status != ConnStatus.OK:
            break  # what has ended answers nothing, for ever
        results += answer
    return results


def _send(pgconn: PGconn, rows: Sequence[Values]) -> None:
    for row in rows:
        pgconn.send_query_prepared(_NO_NAME, row)


def _leave(pgconn: PGconn) -> None:
    """Leave the pipeline; end the connection if answers are left in it, which nobody could tell apart any more."""
    if pgconn.status != ConnStatus.OK:
        return
    try:
        pgconn.exit_pipeline_mode()
    except psycopg.OperationalError:
        pgconn.finish()
