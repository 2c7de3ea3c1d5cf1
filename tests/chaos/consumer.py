"""The consumer: a read model that follows a stream by its sequence, and remembers what it was given."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from relay.cancellation import heed_cancellation
from tests.chaos.history import Seen
from tests.support.fix_cluster import connected

_BATCH = 500
_POLL_S = 0.04
_ANSWER_S = 1.0
_AGAIN_S = 0.1


class Consumer:
    """Reads everything of one stream, each sequence once and in order, from whichever node answers.

    Args:
        on_seen: Called with each message.
        expected_last: Stop after this sequence; None: go on for ever.
    """

    def __init__(
        self, urls: Sequence[str], stream: str, on_seen: Callable[[Seen], None], expected_last: int | None = None
    ) -> None:
        self._urls = itertools.cycle(urls)
        self._stream = stream
        self._on_seen = on_seen
        self._expected_last = expected_last
        self.last = 0

    async def run(self) -> None:
        """Read, over one connection after another."""
        while not self._complete:
            try:
                async with connected(next(self._urls)) as client:
                    await self._follow(client)
            except (nats.errors.Error, OSError, TimeoutError):
                await asyncio.sleep(_AGAIN_S)

    @property
    def _complete(self) -> bool:
        return self._expected_last is not None and self.last >= self._expected_last

    async def _follow(self, client: Client) -> None:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox)
        while not self._complete:
            heed_cancellation()
            question = json.dumps({"seq": self.last + 1, "batch": _BATCH}).encode()
            await client.publish(f"$JS.API.DIRECT.GET.{self._stream}", question, reply=inbox)
            while self._take(await subscription.next_msg(timeout=_ANSWER_S)):
                pass
            await asyncio.sleep(_POLL_S)

    def _take(self, message: Msg) -> bool:
        """Take one answer; return False if it ends the batch."""
        headers = message.headers or {}
        if "Status" in headers:
            return False
        seq = int(headers["Nats-Sequence"])
        if seq > self.last:
            self.last = seq
            self._on_seen(Seen(self._stream, seq, headers["Nats-Msg-Id"], time.monotonic()))
        return True
