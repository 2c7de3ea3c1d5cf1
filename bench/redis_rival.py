"""What most teams write first for Redis: for each message GET, a new average in Python, SET, an acknowledgement."""

import asyncio
import json
import sys

import nats
import nats.errors
from redis.asyncio import Redis

from bench.read_models import TOPIC
from bench.world import STREAM


async def main(redis_url: str, url: str) -> None:
    """Keep the averages for ever."""
    client = await nats.connect(url)
    subscription = await client.jetstream().pull_subscribe(TOPIC, durable="redis_rival", stream=STREAM)
    async with Redis.from_url(redis_url) as redis:
        while True:
            try:
                messages = await subscription.fetch(100, timeout=1)
            except nats.errors.TimeoutError:
                continue
            for message in messages:
                key = f"device:stats:{(message.headers or {})['Outbox-Key']}"
                event = json.loads(message.data)
                found = await redis.get(key)
                stats = {"count": 0, "temperature": 0.0, "humidity": 0.0} if found is None else json.loads(found)
                stats["count"] += 1
                for name in ("temperature", "humidity"):
                    stats[name] += (event[name] - stats[name]) / stats["count"]
                await redis.set(key, json.dumps(stats))
                await message.ack()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
