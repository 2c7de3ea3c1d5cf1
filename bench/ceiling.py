"""The ceiling: the barest path from the rows to the stream and back, in the same language and libraries.

Batches of 1,000 rows on their way three at a time, the next one fetched meanwhile, one UPDATE a batch. It keeps
no order through a failure, tries nothing again, misses rows that commit late, and counts nothing.
"""

import asyncio
import json
import sys
from typing import Any

import nats
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg

_BATCH = 1000
_IN_FLIGHT = 3
# A part of a batch that is on the wire while the next is made: the server stores a batch only when it is whole.
_CHUNK = 100

_FETCH = b"""
    SELECT seq, id::text, topic, convert_to(payload::text, 'UTF8') FROM outbox_events
    WHERE seq > $1 AND delivered_at IS NULL ORDER BY seq LIMIT 1000
"""
_MARK = b"""
    UPDATE outbox_events e SET delivered_at = clock_timestamp(), stream = $1, stream_seq = d.stream_seq
    FROM unnest($2::bigint[], $3::bigint[]) AS d (seq, stream_seq) WHERE e.seq = d.seq
"""

Row = tuple[int, str, str, bytes]
_decode = json.JSONDecoder().decode


class _Batch:
    """A batch on its way."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.left = len(rows)
        self.stream = ""
        self.seqs = [row[0] for row in rows]
        self.stream_seqs = [0] * len(rows)
        self.done = asyncio.get_running_loop().create_future()


class Ceiling:
    """One drain."""

    def __init__(self, client: Client, reading: psycopg.AsyncConnection, writing: psycopg.AsyncConnection) -> None:
        self._nc = client
        self._reading = reading
        self._writing = writing
        self._inbox = f"{client.new_inbox()}."
        self._skip = len(self._inbox)
        self._batches: list[_Batch] = []
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def drain(self, *, atomic: bool) -> None:
        """Send everything that is pending."""
        await self._nc.subscribe(f"{self._inbox}*", cb=self._on_batch if atomic else self._on_event)
        send = self._send_batch if atomic else self._send_events
        settled: list[asyncio.Task[None]] = []
        fetching = asyncio.create_task(self._fetch(0))
        while rows := await fetching:
            fetching = asyncio.create_task(self._fetch(rows[-1][0]))
            await self._in_flight.acquire()
            batch = _Batch(rows)
            self._batches.append(batch)
            await send(len(self._batches) - 1, batch)
            await asyncio.sleep(0)
            settled.append(asyncio.create_task(self._settle(batch)))
        await asyncio.gather(*settled)

    async def _fetch(self, above: int) -> list[Any]:
        async with psycopg.AsyncRawCursor(self._reading) as cursor:
            await cursor.execute(_FETCH, (above,), binary=True)
            return await cursor.fetchall()

    async def _send_events(self, number: int, batch: _Batch) -> None:
        publish, inbox = self._nc.publish, self._inbox
        base = number * _BATCH
        for at, (_, identity, topic, payload) in enumerate(batch.rows):
            await publish(topic, payload, f"{inbox}{base + at}", {"Nats-Msg-Id": identity})

    async def _send_batch(self, number: int, batch: _Batch) -> None:
        publish = self._nc.publish
        batch_id = f"ceiling-{number}"
        last = len(batch.rows)
        for at, (_, identity, topic, payload) in enumerate(batch.rows, 1):
            headers = {"Nats-Msg-Id": identity, "Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(at)}
            if at < last:
                await publish(topic, payload, "", headers)
            else:
                await publish(topic, payload, f"{self._inbox}{number}", {**headers, "Nats-Batch-Commit": "1"})
            if at % _CHUNK == 0:
                await asyncio.sleep(0)

    async def _on_event(self, msg: Msg) -> None:
        answer = _decode(msg.data.decode())
        number, at = divmod(int(msg.subject[self._skip :]), _BATCH)
        batch = self._batches[number]
        batch.stream_seqs[at] = answer["seq"]
        batch.left -= 1
        if not batch.left:
            batch.stream = answer["stream"]
            self._in_flight.release()
            batch.done.set_result(None)

    async def _on_batch(self, msg: Msg) -> None:
        answer = _decode(msg.data.decode())
        batch = self._batches[int(msg.subject[self._skip :])]
        batch.stream = answer["stream"]
        batch.stream_seqs = list(range(answer["seq"] - answer["count"] + 1, answer["seq"] + 1))
        self._in_flight.release()
        batch.done.set_result(None)

    async def _settle(self, batch: _Batch) -> None:
        await batch.done
        async with psycopg.AsyncRawCursor(self._writing) as cursor:
            await cursor.execute(_MARK, (batch.stream, _array(batch.seqs), _array(batch.stream_seqs)))


def _array(numbers: list[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


async def main(dsn: str, url: str, strategy: str) -> None:
    """Drain the outbox with ``singles`` or ``atomic``."""
    client = await nats.connect(url, skip_subject_validation=True)
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as reading,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as writing,
    ):
        await Ceiling(client, reading, writing).drain(atomic=strategy == "atomic")
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
