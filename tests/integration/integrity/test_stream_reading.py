"""The messages of a stream are read quickly and all of them, whether it can be read in batches or not."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import Connection, connect
from relay.jetstream.listener import Listener
from relay.jetstream.stream_reader import StoredId, StreamReader
from tests.support.fix_stream import Streams

MESSAGES = 1500
# Holes of all sizes, one of them larger than what is asked for at once.
DELETED = {1, 2, *range(40, 60, 2), *range(100, 500), 700, MESSAGES - 1}


class Counted(Connection):
    """Notes how many questions were asked, and how many together."""

    most = asked = 0

    async def request(
        self, question: str, body: Mapping[str, object] | None, timeout_s: float, api: str = "$JS.API"
    ) -> dict[str, Any]:
        """Ask, and count."""
        self.asked += 1
        return await super().request(question, body, timeout_s, api)

    async def request_each(
        self, question: str, bodies: Sequence[Mapping[str, object]], timeout_s: float, api: str = "$JS.API"
    ) -> list[dict[str, Any]]:
        """Ask, and count."""
        self.asked += len(bodies)
        self.most = max(self.most, len(bodies))
        return await super().request_each(question, bodies, timeout_s, api)


def read(streams: Streams, first: int, last: int) -> tuple[list[StoredId], Counted]:
    """Read the stream, and return what was read with its connection."""

    async def run() -> tuple[list[StoredId], Counted]:
        connection = await connect(NatsOptions(servers=[streams.url]), streams.url, Listener())
        connection.__class__ = Counted
        assert isinstance(connection, Counted)
        state = await connection.stream_state("ORDERS", 2.0)
        assert state is not None
        # Newer servers say when it was so, by their clock.
        assert state.at is None or abs(state.at - time.time()) < 10
        assert state.at is not None or not streams.since(2, 10)
        pages = [page async for page in StreamReader(connection, state).pages(first, last)]
        assert all(len(page) <= 1000 for page in pages)
        await connection.close()
        return [one for page in pages for one in page], connection

    return asyncio.run(run())


@pytest.mark.parametrize("in_batches", [True, False])
def test_what_is_left_of_a_stream_is_read_in_its_order_over_all_that_was_deleted(
    streams: Streams, in_batches: bool
) -> None:
    streams.make("ORDERS", "orders.>", allow_direct=in_batches)
    streams.publish("orders.placed", *range(MESSAGES))
    for seq in sorted(DELETED):
        streams.api("STREAM.MSG.DELETE.ORDERS", {"seq": seq})
    left = [seq for seq in range(1, MESSAGES + 1) if seq not in DELETED]
    found, connection = read(streams, 1, MESSAGES)
    assert [one.seq for one in found] == left
    assert [one.seq for one in read(streams, 61, 1000)[0]] == [seq for seq in left if 61 <= seq <= 1000]
    if not in_batches:
        # A round trip for each would take twenty times as long; a hole costs no more than what was asked for at once.
        assert connection.most > 100
        assert connection.asked < MESSAGES + 300
