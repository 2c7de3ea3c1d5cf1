"""Whether the streams hold what a watermark says is settled.

The watermark of the outbox never moves back. If a stream has lost what it had acknowledged, the watermark is true again
only when that was sent again: until then it must not be told, since a reader would take a read model for complete.
"""

import asyncio
from collections.abc import Sequence

from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.jetstream.stream_reader import StreamReader
from relay.postgres.database import Unfinished
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.stream.stream_floors import Mark
from relay.rules.stream.stream_loss import Seen, contradicts

_TIMEOUT_S = 2.0
# Marks that their owners have not saved yet lie among these seqs below the watermark.
_UNSAVED = 50_000


class HeldStreams:
    """Looks at the streams for the events of all shards, once over each connection to NATS.

    The owner of each shard does the same for its own events and repairs what was lost. It may look later than the relay
    that publishes the watermark of all.

    Args:
        reader: Reads what all owners have marked.
    """

    def __init__(self, reader: OutboxReader) -> None:
        self._reader = reader
        self._looked_over: Connection | None = None

    def hold_all(self, connection: Connection) -> bool:
        """Report whether a look over this connection has shown that no stream lacks anything.

        What an owner repairs is pending again before its stream stops to lack it: whether something is, has to be asked
        after this.
        """
        return self._looked_over is connection

    async def look(self, connection: Connection, watermark: int) -> None:
        """Look for what was marked up to a watermark.

        A stream that cannot be read proves nothing: events are sent there without a look as well.
        """
        marks = dict(await self._reader.highest_marks(watermark - _UNSAVED, watermark, of_all=True))
        try:
            seen = await self._reader.streams_seen(patient=False, of_all=True)
        except Unfinished:
            return  # somebody has locked that table
        looks = (_lacks_something(connection, one, marks.get(one.stream, Mark())) for one in seen)
        if not any(await asyncio.gather(*looks)):
            self._looked_over = connection


async def _lacks_something(connection: Connection, seen: Seen, newest: Mark) -> bool:
    try:
        state = await connection.stream_state(seen.stream, _TIMEOUT_S)
        # One that is gone, or was made again, or is another one of this name: its owner finds out which.
        if state is None or seen.created not in (None, state.created):
            return False
        return await _lacks_one(StreamReader(connection, state), (*seen.looked, seen.mark, newest))
    except BrokerError:
        return False


async def _lacks_one(reader: StreamReader, marks: Sequence[Mark]) -> bool:
    state = reader.state
    for mark in dict.fromkeys(marks):
        if not mark.stream_seq:
            continue
        is_within = max(1, state.first_seq) <= mark.stream_seq <= state.last_seq
        found = await reader.at(mark.stream_seq) if is_within else None
        if contradicts(mark, state, None if found is None else found.message_id or ""):
            return True
    return False
