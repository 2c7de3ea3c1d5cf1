"""A projection in a transaction that is rolled back: its tables, its state, and the messages that it is given."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

import psycopg
from psycopg import sql

from relay.errors import ConfigError
from relay.observe.projection_progress import PartitionProgress
from relay.postgres.database import Database
from relay.projection.definition import Definition
from relay.projection.effects import PostgresEffects
from relay.projection.ports import Claim, Move
from relay.projection.rules.incoming import Incoming
from relay.projection.settler import Settler
from relay.projection.store import Conn, Store, search_path

Row = tuple[Any, ...]

_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'p') AND NOT relispartition
"""
_STREAM = "1"  # the first stream; a recreated one has the next number


class Crash(OSError):
    """Rolls a transaction back, as a crash of the runner does: an outage, and so no event's fault."""


class _Held(Database):
    """The database of a store, on a connection that somebody else has opened."""

    def __init__(self, conn: Conn) -> None:
        super().__init__("", "test", connect_timeout_s=1, statement_timeout_s=1)
        self._held = conn

    async def connection(self) -> Conn:
        """Return the connection."""
        return self._held

    async def drop(self, error: Exception) -> None:
        """Keep the connection: what has failed was rolled back to a savepoint."""

    def succeeded(self) -> None:
        """Say nothing of it."""


class _Inside(Store):
    """A store whose transactions are savepoints; a crash may be planned before one of their ends."""

    crash_next = False

    @asynccontextmanager
    async def moving(self, epoch: int, move: Move, *, piped: bool = False) -> AsyncIterator[Conn]:
        """Open a savepoint that ends as the commit of a transaction does: what is checked there is checked."""
        async with super().moving(epoch, move, piped=piped) as conn:
            yield conn
            if self.crash_next:
                self.crash_next = False
                raise Crash
            await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await conn.execute("SET CONSTRAINTS ALL DEFERRED")


class Sandbox:
    """One projection, built inside the transaction of a connection; `opened` makes it."""

    def __init__(self, conn: Conn, definition: Definition) -> None:
        self._conn = conn
        # Parts of the keys would each need a runner; what they change is the order between keys, as variants do.
        self._definition = replace(definition, partitions=1)
        self._store = _Inside(_Held(conn), self._definition, 0, "test")
        self._claim: Claim | None = None
        self._settler: Settler | None = None
        self._streams = 1

    async def begin(self) -> Self:
        """Make the tables, and claim the projection.

        Raises:
            ConfigError: The database holds such a projection already.
            psycopg.Error: Its tables cannot be made.
        """
        name = self._definition.name
        if self._definition.store != "postgres":
            raise ConfigError([f"projection {name}: only models in PostgreSQL can be rolled back"])
        found = await self._conn.execute("SELECT to_regnamespace(%s) IS NULL", (name,))
        if (await found.fetchall()) != [(True,)]:
            raise ConfigError([f"projection {name}: is in this database already; a test needs one without it"])
        await self._store.prepare()
        self._claim = await self._store.claim()
        if self._claim is None:
            raise ConfigError([f"projection {name}: cannot be claimed"])
        await self.restart()
        return self

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[None]:
        """Forget at the end what was done meanwhile: the tables are as `begin` has made them."""
        async with self._conn.transaction(force_rollback=True):
            await self.restart()
            yield

    async def restart(self) -> int:
        """Go on from what is stored, as another runner does after a crash; return the position."""
        claim = await self._store.load(self._own.epoch)
        created = claim.created or _STREAM
        if claim.created is None:
            await self._store.follow_stream(claim, created, claim.position, claim.time_ns)
        self._settler = Settler(
            self._definition,
            PartitionProgress(),
            self._store,
            PostgresEffects(self._definition, self._store),
            claim,
            created,
        )
        await self._settler.begin()
        return self._settler.position

    async def set_back(self, position: int) -> None:
        """Take it that the stream was set back: it is read again from behind a position."""
        claim = await self._store.load(self._own.epoch)
        self._streams += 1
        await self._store.follow_stream(claim, str(self._streams), position, None)
        await self.restart()

    async def settle(self, events: Sequence[Incoming]) -> None:
        """Settle a batch.

        Raises:
            Stopped: The projection must not go on by itself.
            psycopg.Error: The fault is not in the events.
        """
        if self._settler is None:
            raise RuntimeError("begin was not called")
        await self._settler.settle(events)

    async def crash(self, events: Sequence[Incoming]) -> int:
        """Settle a batch, and crash before the commit; return the position from which another runner goes on."""
        self._store.crash_next = True
        try:
            await self.settle(events)
        except Crash:
            return await self.restart()
        raise AssertionError("the commit was not reached")

    async def model(self) -> dict[str, list[Row]]:
        """Return what every table of the projection holds, its rows in an order of their own."""
        tables = await (await self._conn.execute(_TABLES, (self._definition.name,))).fetchall()
        found: dict[str, list[Row]] = {}
        for (table,) in sorted(tables):
            place = sql.Identifier(self._definition.name, table)
            rows = await self._conn.execute(sql.SQL("SELECT to_jsonb(t) FROM {} t").format(place))
            found[table] = sorted(await rows.fetchall(), key=repr)
        return found

    async def query(self, query: str) -> list[Row]:
        """Run a query of the test's author, with the projection's schema first in the search path; views are fresh."""
        for one in self._definition.refreshes:
            view = sql.Identifier(self._definition.name, one.view)
            await self._conn.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view))
        await self._conn.execute("SELECT set_config('search_path', %s, true)", (search_path(self._definition),))
        return await (await self._conn.execute(query.encode())).fetchall()

    async def parked(self) -> list[tuple[int, str | None]]:
        """Return the seq of each parked event, and why it was refused; None if it waits behind another one."""
        query = "SELECT seq, reason FROM projection.parked WHERE name = %s ORDER BY seq"
        found = await self._conn.execute(query, (self._definition.name,))
        return [(seq, reason) for seq, reason in await found.fetchall()]

    @property
    def _own(self) -> Claim:
        if self._claim is None:
            raise RuntimeError("begin was not called")
        return self._claim


@asynccontextmanager
async def opened(dsn: str, definition: Definition) -> AsyncIterator[Sandbox]:
    """Build a projection in a transaction that is rolled back at its end.

    Raises:
        ConfigError: The database holds such a projection already.
        psycopg.Error: The database cannot be reached, or the tables cannot be made.
    """
    conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None)
    async with conn, conn.transaction(force_rollback=True):
        yield await Sandbox(conn, definition).begin()
