"""What most teams write first: lock a hundred rows, publish them one after another, mark them, commit."""

import asyncio
import sys

import nats
import psycopg

_LOCK = """
    SELECT seq, id::text, topic, payload::text FROM outbox_events WHERE delivered_at IS NULL
    ORDER BY seq LIMIT 100 FOR UPDATE SKIP LOCKED
"""
_MARK = """
    UPDATE outbox_events SET delivered_at = clock_timestamp(), stream = %s, stream_seq = d.stream_seq
    FROM unnest(%s::bigint[], %s::bigint[]) AS d (seq, stream_seq) WHERE outbox_events.seq = d.seq
"""


async def drain(dsn: str, url: str) -> None:
    """Relay until nothing is pending."""
    client = await nats.connect(url)
    js = client.jetstream()
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        while True:
            async with conn.transaction():
                rows = await (await conn.execute(_LOCK)).fetchall()
                if not rows:
                    break
                acks = [
                    await js.publish(topic, payload.encode(), headers={"Nats-Msg-Id": identity})
                    for _, identity, topic, payload in rows
                ]
                await conn.execute(_MARK, (acks[0].stream, [row[0] for row in rows], [ack.seq for ack in acks]))
    await client.close()


if __name__ == "__main__":
    asyncio.run(drain(*sys.argv[1:3]))
