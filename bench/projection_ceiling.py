"""The ceiling of a projection: the barest script that keeps the same model by the same statements.

It reads by the relay's own reader, a thousand events at a time, and applies each batch in a transaction of the same
shape: its settings, the position, the statements. It looks at no header but those that it writes, tells no repeats,
sorts nothing by keys, owns no lease, and knows of no event that could be refused.
"""

import asyncio
import sys
from typing import Any

import psycopg

from bench.read_models import MODEL, STATEMENT, TOPIC
from bench.world import STREAM
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import connect
from relay.jetstream.consumer import StreamMessage, headers_of, open_consumer
from relay.jetstream.listener import Listener
from relay.projection.sql_text import statement

_BATCH = 1_000
_BATCH_BYTES = 1024 * 1024
_SEPARATOR = "\x1e"
_STATEMENT = statement(STATEMENT)
_MOVE = f"""
    SELECT set_config('search_path', '{MODEL}', true), set_config('synchronous_commit', 'off', true),
           set_config('statement_timeout', '30s', true), {MODEL}.move($1)
""".encode()
_POSITION = f"""
    CREATE TABLE {MODEL}.position (position bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO {MODEL}.position VALUES (0);
    CREATE FUNCTION {MODEL}.move(next bigint) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN UPDATE {MODEL}.position SET position = next; END $$;
""".encode()


def _parameters(messages: list[StreamMessage]) -> list[object]:
    columns: list[list[str]] = [[], [], [], [], [], [], [], []]
    for stream_seq, _, subject, block, payload in messages:
        headers = headers_of(block)
        values = (
            headers["Outbox-Seq"],
            str(stream_seq),
            headers["Nats-Msg-Id"],
            headers["Outbox-Key"],
            subject,
            headers["Outbox-Created-At"],
            "1",
            payload.decode(),
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return [*(_SEPARATOR.join(column) + _SEPARATOR for column in columns), len(messages)]


async def main(dsn: str, url: str, mode: str) -> None:
    """Keep the model for ever, by ``set`` or by ``each``."""
    connection = await connect(NatsOptions([url]), url, Listener())
    async with await psycopg.AsyncConnection[tuple[Any, ...]].connect(dsn, autocommit=True) as conn:
        await conn.execute(_POSITION)
        consumer = await open_consumer(connection, STREAM, "ceiling", 1, [TOPIC])
        while True:
            messages = await consumer.batch(_BATCH, _BATCH_BYTES, 1.0)
            if not messages:
                continue
            async with conn.transaction():
                cursor = psycopg.AsyncRawCursor(conn)
                await cursor.execute(_MOVE, [messages[-1].stream_seq])
                if mode == "set":
                    await cursor.execute(_STATEMENT, _parameters(messages))
                else:
                    await cursor.executemany(_STATEMENT, [_parameters([one]) for one in messages])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
