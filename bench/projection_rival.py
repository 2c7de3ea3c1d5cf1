"""What most teams write first: fetch a hundred messages, and for each one a statement, a commit, an acknowledgement."""

import asyncio
import json
import sys

import nats
import nats.errors
import psycopg

from bench.read_models import MODEL, TOPIC
from bench.world import STREAM

_APPLY = f"""
    INSERT INTO {MODEL}.customers (key, events, last_order, event_seq, updated_at) VALUES (%s, 1, %s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET
        events = customers.events + 1, last_order = excluded.last_order, event_seq = excluded.event_seq,
        updated_at = excluded.updated_at
""".encode()


async def main(dsn: str, url: str, durable: str) -> None:
    """Keep the model for ever."""
    client = await nats.connect(url)
    subscription = await client.jetstream().pull_subscribe(TOPIC, durable=durable, stream=STREAM)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        while True:
            try:
                messages = await subscription.fetch(100, timeout=1)
            except nats.errors.TimeoutError:
                continue
            for message in messages:
                headers = message.headers or {}
                order = json.loads(message.data)
                values = (headers["Outbox-Key"], order["id"], headers["Outbox-Seq"], headers["Outbox-Created-At"])
                await conn.execute(_APPLY, values)
                await conn.commit()
                await message.ack()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
