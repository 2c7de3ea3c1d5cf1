"""The ceiling of latency: the barest path from a commit to the stream, in the same language and libraries.

It listens for the bell, which it holds for ever, so that every insert rings; each ring is one SELECT, and a publish of
each row. It marks nothing, keeps no order, misses rows that commit late, and hears no answer of the stream.
"""

import asyncio
import sys

import nats
import psycopg

_HOLD = b"SELECT pg_advisory_lock(1869968482, 'outbox_events'::regclass::oid::integer)"
_LAST = b"SELECT coalesce(max(seq), 0) FROM outbox_events"
_FETCH = b"""
    SELECT seq, id::text, topic, convert_to(payload::text, 'UTF8') FROM outbox_events
    WHERE seq > $1 AND delivered_at IS NULL ORDER BY seq LIMIT 1000
"""


async def main(dsn: str, url: str) -> None:
    """Print ``ready``, and send what comes until the process is killed."""
    client = await nats.connect(url, skip_subject_validation=True)
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as bell,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as reading,
    ):
        await bell.execute("LISTEN outbox_events")
        await bell.execute(_HOLD)
        async with psycopg.AsyncRawCursor(reading) as cursor:
            await cursor.execute(_LAST)
            ((last,),) = await cursor.fetchall()
            print("ready", flush=True)
            async for _ in bell.notifies():
                await cursor.execute(_FETCH, (last,), binary=True)
                for seq, identity, topic, payload in await cursor.fetchall():
                    await client.publish(topic, payload, headers={"Nats-Msg-Id": identity})
                    last = seq


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
