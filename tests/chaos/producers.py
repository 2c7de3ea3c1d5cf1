"""Producers: transactions of all sizes and ways to end, some of them long after their events got their seqs."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable

import psycopg

from tests.chaos.history import Insert, Outcome, Transaction

_INSERT = (
    "INSERT INTO outbox_events (id, topic, key, payload) VALUES (%s, %s, %s, jsonb_build_object('n', %s::int))"
    " RETURNING seq"
)
# A standby that is promoted a moment later refuses to write.
OUTAGES = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
_BULK = 150


class Producer:
    """One application instance, with keys of its own and keys that it shares with all others.

    Args:
        number: Its own; its transactions are numbered from it.
        rate: Events a second, about.
        on_end: Called with each transaction when its outcome is known.
        may_write: Not set while an operator keeps the applications out.
        durable: False: with ``synchronous_commit = off``, so that a crash may take the newest commits.
    """

    def __init__(
        self,
        dsn: str,
        number: int,
        rng: random.Random,
        rate: float,
        on_end: Callable[[Transaction], None],
        may_write: asyncio.Event,
        *,
        durable: bool = True,
    ) -> None:
        self._dsn = dsn
        self._number = number
        self._rng = rng
        self._rate = rate
        self._on_end = on_end
        self._may_write = may_write
        self._durable = durable
        self._count = 0
        self._conn: psycopg.AsyncConnection[tuple[int]] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop."""
        try:
            while not stop.is_set():
                await self._may_write.wait()
                events = await self._transaction()
                await asyncio.sleep(self._rng.expovariate(self._rate / events))
        finally:
            if self._conn is not None:
                await self._conn.close()

    async def _transaction(self) -> int:
        """Do one transaction; return how many events it tried."""
        rng = self._rng
        events = _BULK if rng.random() < 0.003 else rng.choice((1, 1, 1, 2, 2, 3, 5))
        rolls_back = rng.random() < 0.1
        linger_s = rng.choices((0.0, rng.uniform(0.01, 0.6), rng.uniform(1, 4)), (93, 6, 1))[0]
        inserts: list[Insert] = []
        outcome: Outcome = "rolled back"
        try:
            conn = await self._connection()
            while len(inserts) < events:
                inserts.append(await self._insert(conn))
            await asyncio.sleep(linger_s)
            if rolls_back:
                await conn.rollback()
            else:
                outcome = "unknown"
                await conn.commit()
                outcome = "committed"
        except OUTAGES:
            await self._drop()
        if inserts:
            self._count += 1
            number = self._count * 1000 + self._number
            self._on_end(Transaction(number, outcome, time.monotonic(), tuple(inserts), self._durable))
        return events

    async def _insert(self, conn: psycopg.AsyncConnection[tuple[int]]) -> Insert:
        rng = self._rng
        key = rng.choices((f"p{self._number}-{rng.randrange(4)}", f"s{rng.randrange(8)}", None), (60, 30, 10))[0]
        topic = rng.choices(("orders.placed", "ledger.posted", "audit.logged"), (50, 30, 20))[0]
        id_ = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        begun_at = time.monotonic()
        row = await (await conn.execute(_INSERT, (id_, topic, key, self._count))).fetchone()
        assert row is not None
        return Insert(id_, row[0], key, begun_at)

    async def _connection(self) -> psycopg.AsyncConnection[tuple[int]]:
        while self._conn is None:
            await self._may_write.wait()
            try:
                self._conn = await psycopg.AsyncConnection.connect(
                    self._dsn,
                    connect_timeout=3,
                    options="" if self._durable else "-c synchronous_commit=off",
                )
            except OUTAGES:
                await asyncio.sleep(0.1)
        return self._conn

    async def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()
