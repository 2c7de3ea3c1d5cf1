"""A subscriber in a process of its own: notes when each event arrives, by the clock that all processes share."""

import asyncio
import json
import sys
import time

import nats
from nats.aio.msg import Msg


async def main(url: str, subject: str, expected: int) -> None:
    """Print ``ready``, and after `expected` events the arrival of each by its id, in ns of the monotonic clock."""
    arrivals: dict[str, int] = {}
    complete = asyncio.Event()

    async def on_event(msg: Msg) -> None:
        now = time.monotonic_ns()
        arrivals[(msg.headers or {})["Nats-Msg-Id"]] = now
        if len(arrivals) == expected:
            complete.set()

    client = await nats.connect(url)
    await client.subscribe(subject, cb=on_event)
    await client.flush()
    print("ready", flush=True)
    await complete.wait()
    print(json.dumps(arrivals), flush=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
