"""No read takes more than twice `delivery.buffer_bytes` out of the database, whatever the rows: counted in bytes."""

from collections.abc import Sequence
from functools import partial

import pytest

from relay.postgres.database import Database, Row
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.rows import NOTHING_DUE
from relay.postgres.tables import Tables
from relay.rules.reading.read_batch_size import Read, ReadSize
from tests.support.fix_relay import Outbox

MB = 1_000_000
BUFFER = 4 * MB
# Far more in one read than the buffer, then rows that fill it nearly twice, one that is never read, and small ones.
SIZES = [10] * 300 + [MB] * 30 + [2 * BUFFER - 10_000, 100 * MB, 10, 2 * BUFFER - 10_000] + [40_000] * 300 + [10] * 300


class Counted(Database):
    """Notes how many bytes each statement has brought."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, "fetch", connect_timeout_s=5, statement_timeout_s=60)
        self.brought: list[int] = []

    async def run(
        self,
        query: bytes,
        params: Sequence[object] = (),
        *,
        patient: bool = True,
        lock_timeout_s: float | None = None,
        waits: bool = False,
        raises: bool = False,
        named: bool = False,
        changes_rows: bool = False,
    ) -> list[Row]:
        """Run it and note the bytes of all texts that came, also of those that are not kept."""
        rows = await super().run(
            query,
            params,
            patient=patient,
            lock_timeout_s=lock_timeout_s,
            waits=waits,
            raises=raises,
            named=named,
            changes_rows=changes_rows,
        )
        self.brought.append(sum(len(one) for row in rows for one in row if isinstance(one, bytes | str)))
        return rows


@pytest.mark.parametrize("way", ["fetch", "among", "gaps", "due"])
async def test_no_read_brings_more_than_twice_the_buffer_whatever_the_rows(outbox: Outbox, way: str) -> None:
    outbox.conn.execute(
        "INSERT INTO outbox_events (topic, key, payload, retry_at)"
        " SELECT 't', 'k', to_jsonb(repeat('a', size)), CASE WHEN %s THEN timestamptz '2020-01-01' END"
        " FROM unnest(%s::int[]) WITH ORDINALITY AS s (size, at) ORDER BY at",
        (way == "due", SIZES),
    )
    size = ReadSize(1000, BUFFER)
    position, after = 0, NOTHING_DUE
    found: dict[int, int] = {}
    async with Counted(outbox.dsn) as database:
        reader = OutboxReader(database, Tables(), list(range(64)) if way == "among" else None, 64)
        while True:
            if way == "due":
                read, after = await reader.due(after, size.room())
            else:
                ways = {
                    "fetch": partial(reader.fetch, position, len(SIZES)),
                    "among": partial(reader.fetch_among, position, len(SIZES)),
                    "gaps": partial(reader.reread, [position + 1], [len(SIZES)]),
                }
                read = await ways[way](size.room())
            size.took(read)
            found |= _sizes(read)
            position = max(position, *read.seqs, 0)
            if not read.is_cut:
                break
        brought = database.brought
    assert max(brought) <= 2 * BUFFER
    assert max(brought) > BUFFER, "the largest rows that are read were read"
    # Quotation marks make two bytes more; what is not read brings none.
    assert found == {seq: 0 if one == 100 * MB else one + 2 for seq, one in enumerate(SIZES, 1)}


def _sizes(read: Read) -> dict[int, int]:
    return {event.seq: len(event.payload) for event in read.events}
