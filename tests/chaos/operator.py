"""The operator of a run: deletes, truncates, alters, locks, vacuums and retries, at the worst moments.

What is taken out of the table is written down before the transaction that does it commits. If that is broken off, the
rows are still there at the end, and what was written down of them does not count.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from typing import Any, LiteralString

import psycopg

from tests.chaos.history import Insert, Removed, Setback, Transaction, settled
from tests.chaos.producers import OUTAGES
from tests.chaos.world import World, bare
from tests.support.fix_relay import ROOT

_REMOVED: LiteralString = "id::text, seq, key, delivered_at IS NOT NULL, dead_at IS NOT NULL, stream, stream_seq"
# More than is drawn between two beats of a relay, or while all of them are gone.
_FAR = 3000
_LOCK_WAIT: LiteralString = "SET lock_timeout = '8s'"


async def deletes(world: World, rng: random.Random) -> str:
    """Delete some of the newest rows, pending or not, with a few of any age."""
    newest, any_age = rng.randrange(1, 30), rng.randrange(5)
    async with await _connect(world) as conn:
        found = await conn.execute(
            "DELETE FROM outbox_events WHERE seq IN"
            " ((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT %s)"
            " UNION ALL (SELECT seq FROM outbox_events ORDER BY random() LIMIT %s)) RETURNING " + _REMOVED,
            (newest, any_age),
        )
        rows = await found.fetchall()
        world.entries += map(_removed, rows)
    return f"{len(rows)} rows"


async def truncates(world: World, rng: random.Random) -> str:
    """Empty the table; the sequence begins again, or goes on.

    It begins again only if it was far: a relay compares it once a second, and a sequence that has come past its cursor
    again by then cannot be told from one that went on.
    """
    wants_restart = rng.random() < 0.6
    async with world.closed(), await _connect(world, closed=True) as conn:
        await conn.execute("LOCK TABLE outbox_events IN ACCESS EXCLUSIVE MODE")
        rows = await (await conn.execute("SELECT " + _REMOVED + " FROM outbox_events")).fetchall()
        world.entries += map(_removed, rows)
        restarts = wants_restart and max((row[1] for row in rows), default=0) > _FAR
        if restarts:
            now = time.monotonic()
            world.entries.append(Setback("truncated", time.time(), now, now))
        await conn.execute("TRUNCATE outbox_events RESTART IDENTITY" if restarts else "TRUNCATE outbox_events")
        await conn.commit()
        if restarts:
            await world.begin_origin()
    return f"{len(rows)} rows, the sequence {'restarts' if restarts else 'goes on'}"


async def alters(world: World, rng: random.Random) -> str:
    """Add a column to the table, and drop it again."""
    name: LiteralString = rng.choice(("note", "tenant", "trace"))
    await _hold(world, 0, "ALTER TABLE outbox_events ADD COLUMN IF NOT EXISTS " + name + " text DEFAULT 'none'")
    await asyncio.sleep(rng.uniform(0, 1))
    await _hold(world, 0, "ALTER TABLE outbox_events DROP COLUMN IF EXISTS " + name)
    return name


async def locks_rows(world: World, rng: random.Random) -> str:
    """Hold the newest rows, as an open transaction in a console does."""
    count = rng.choice((1, 10, 200))
    newest: LiteralString = "SELECT 1 FROM outbox_events ORDER BY seq DESC LIMIT %s FOR UPDATE"
    await _hold(world, rng.uniform(0.3, 4), newest, (count,))
    return f"{count} rows"


async def locks_the_table(world: World, rng: random.Random) -> str:
    """Hold the whole table, so that nobody writes, or nobody reads."""
    mode: LiteralString = rng.choice(("SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE"))
    await _hold(world, rng.uniform(0.2, 2), "LOCK TABLE outbox_events IN " + mode + " MODE")
    return mode.lower()


async def vacuums(world: World, rng: random.Random) -> str:
    """Do what a night job does."""
    work: LiteralString = rng.choice(
        ("VACUUM (ANALYZE) outbox_events", "VACUUM FULL outbox_events", "REINDEX TABLE outbox_events")
    )
    async with await psycopg.AsyncConnection.connect(world.postgres.dsn(), autocommit=True, connect_timeout=3) as conn:
        await conn.execute(_LOCK_WAIT)
        with suppress(psycopg.errors.LockNotAvailable):
            await conn.execute(work)
    return work.lower()


async def retries(world: World, _: random.Random) -> str:
    """Find a dead letter, mend its topic, and have it sent again with the command."""
    id_, begun_at = str(uuid.uuid4()), time.monotonic()
    (seq,) = await _one(
        world,
        "INSERT INTO outbox_events (id, topic, payload) VALUES (%s, 'ledger..posted', '{}')"
        " ON CONFLICT (id) DO UPDATE SET topic = excluded.topic RETURNING seq",
        id_,
    )
    insert = Insert(id_, seq, None, begun_at)
    world.entries.append(Transaction(-time.monotonic_ns(), "committed", time.monotonic(), (insert,)))
    # A failover may have lost it: then there is nothing to mend.
    while not (
        await _one(world, "SELECT bool_and(dead_at IS NOT NULL) IS NOT FALSE FROM outbox_events WHERE id = %s", id_)
    )[0]:
        await asyncio.sleep(0.1)
    mend: LiteralString = "UPDATE outbox_events SET topic = 'ledger.posted' WHERE id = %s RETURNING 1"
    await _one(world, "WITH mended AS (" + mend + ") SELECT count(*) FROM mended", id_)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    environ["RELAY_POSTGRES__DSN"] = world.postgres.dsn()
    command = [sys.executable, "-m", "relay", "dead", "retry", "--id", id_, "--yes"]
    while True:
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=environ, capture_output=True, check=False)
        if done.returncode == 0:
            return "one dead letter"
        await asyncio.sleep(0.2)


def _removed(row: tuple[Any, ...]) -> Removed:
    id_, seq, key, delivered, dead, stream, stream_seq = row
    return Removed(id_, seq, key, settled(delivered=delivered, dead=dead), bare(stream), stream_seq)


async def _hold(world: World, hold_s: float, query: LiteralString, params: tuple[object, ...] = ()) -> None:
    """Run a statement, and keep its locks for some seconds before its transaction commits."""
    async with await _connect(world) as conn:
        await conn.execute(query, params)
        await asyncio.sleep(hold_s)


async def _connect(world: World, *, closed: bool = False) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    if not closed:
        await world.may_write.wait()
    conn = await psycopg.AsyncConnection.connect(world.postgres.dsn(), connect_timeout=3)
    await conn.execute(_LOCK_WAIT)
    return conn


async def _one(world: World, query: LiteralString, id_: str) -> tuple[Any, ...]:
    """Run a statement about one event, again and again until PostgreSQL answers."""
    while True:
        await world.may_write.wait()
        try:
            async with await psycopg.AsyncConnection.connect(world.postgres.dsn(), connect_timeout=3) as conn:
                row = await (await conn.execute(query, (id_,))).fetchone()
                assert row is not None
        except OUTAGES:
            await asyncio.sleep(0.2)
        else:
            return row
