"""What a projection keeps in PostgreSQL beside its tables: position, bits, parked events, and who owns a partition."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from relay.errors import ConfigError
from relay.observe.projection_progress import Standing
from relay.postgres.database import Database
from relay.postgres.tables import sql_directory
from relay.projection.definition import Definition
from relay.projection.outcome import Fenced
from relay.projection.ports import LEASE_S, Claim, Move, Parked, standing_of
from relay.projection.rules.completeness import WatermarkSeen
from relay.projection.rules.incoming import Incoming, read
from relay.projection.rules.refusals import Breaker
from relay.projection.rules.seq_bits import Chunk, ChunkId

STATEMENT_TIMEOUT = "30s"
_FENCED = "PJ001"
# A key that cannot be written could neither be applied nor parked, and would hold up all others.
_HOLD_ALL = ("UTF8", "SQL_ASCII")
# The number at the end of sql/projection.sql: a database with a lower one is brought up to date.
LAYOUT = 6

Row = tuple[Any, ...]
Conn = psycopg.AsyncConnection[Any]


@cache
def query(name: str) -> bytes:
    """Read ``sql/queries/projection/<name>.sql``, once."""
    return (sql_directory() / "queries" / "projection" / f"{name}.sql").read_bytes()


def read_ahead() -> None:
    """Read all queries now: a runner keeps its own if its installation is replaced under it."""
    for path in (sql_directory() / "queries" / "projection").glob("*.sql"):
        query(path.stem)


class Model(NamedTuple):
    """A model that is there; `has_schema` is False if somebody has dropped its tables."""

    generation: int
    version: int
    fingerprint: str
    partitions: int
    has_schema: bool
    stream: str

    def faults(self, definition: Definition) -> list[str]:
        """Return why a definition cannot keep it; empty if it can."""
        faults = definition.faults_against(self.version, self.partitions, self.stream)
        if not self.has_schema:
            faults.append(
                "its schema was dropped, and its position was kept: restore the schema, or read the stream again after "
                f"`relay projection forget {definition.name}`"
            )
        return faults


async def encoding_fault(cursor: psycopg.AsyncRawCursor[Any]) -> str | None:
    """Return why a database cannot keep every key; None if it can."""
    await cursor.execute(query("encoding"))
    encoding = (await cursor.fetchall())[0][0]
    if encoding in _HOLD_ALL:
        return None
    return f"the database has the encoding {encoding}, in which not every key can be written: it takes one of UTF8"


async def fault_of_schema(cursor: psycopg.AsyncRawCursor[Any], name: str) -> str | None:
    """Return why the tables of a projection without a model may not be made; None if they may.

    What a schema holds of which nothing is written down is not ours: a model is made with its position, or not at all.
    """
    await cursor.execute(query("schema_used"), [name])
    if (await cursor.fetchall()) != [(True,)]:
        return None
    return (
        f"there is a schema {name} already, with something in it, and no position of this projection: give the "
        "projection another name, or drop the schema if it is what is left of an earlier model"
    )


async def read_model(cursor: psycopg.AsyncRawCursor[Any], name: str) -> Model | None:
    """Read what is written down of a projection's live model; None if there is none."""
    await cursor.execute(query("generation"), [name])
    found = await cursor.fetchall()
    return Model(*found[0]) if found else None


class Store:
    """One partition of a projection, in the database that holds its tables.

    Args:
        database: Its connection is used by this store alone.
        owner: A name of this runner alone.
    """

    def __init__(self, database: Database, definition: Definition, partition: int, owner: str) -> None:
        self._database = database
        self._definition = definition
        self._generation = 1
        self._partition = partition
        self.owner = owner

    @property
    def _row(self) -> tuple[str, int, int]:
        return self._definition.name, self._generation, self._partition

    async def rows(self, name: str, params: Sequence[object]) -> list[Row]:
        """Run one statement in a transaction of its own.

        Raises:
            psycopg.Error: It failed. Whether it was committed is not known if the connection broke.
        """
        cursor = psycopg.AsyncRawCursor(await self._database.connection())
        await cursor.execute(query(name), params)
        found = await cursor.fetchall() if cursor.description else []
        self._database.succeeded()
        return found

    async def drop(self, error: Exception) -> None:
        """Throw the connection away after an error; the next statement makes one."""
        await self._database.drop(error)

    async def prepare(self) -> bool:
        """Make the tables of the projections, and those of this one, if they are not there.

        Returns:
            Whether the definition was changed without another version.

        Raises:
            ConfigError: The tables are of another version or stream, cut into another number of partitions, dropped, or
                not ours.
            psycopg.Error: The database refused it. Nothing was changed.
        """
        definition = self._definition
        conn = await self._database.connection()
        async with conn.transaction():
            cursor = psycopg.AsyncRawCursor(conn)
            fault = await encoding_fault(cursor)
            if fault is not None:
                raise ConfigError(definition.located([fault]))
            await cursor.execute(query("lock"))
            await cursor.execute(query("layout"))
            if ((await cursor.fetchall())[0][0] or 0) < LAYOUT:
                await conn.execute((sql_directory() / "projection.sql").read_bytes())
            model = await read_model(cursor, definition.name)
            if model is None:
                fault = await fault_of_schema(cursor, definition.name)
                if fault is not None:
                    raise ConfigError(definition.located([fault]))
                await self._make(conn, cursor)
                return False
            self._generation = model.generation
            faults = model.faults(definition)
            if faults:
                raise ConfigError(definition.located(faults))
            views = [one.view for one in definition.refreshes]
            await cursor.execute(query("refresh_keep"), [definition.name, self._generation, views])
            changed = model.fingerprint != definition.fingerprint
            if changed:
                await cursor.execute(
                    query("set_fingerprint"), [definition.name, self._generation, definition.fingerprint]
                )
            return changed

    async def _make(self, conn: Conn, cursor: psycopg.AsyncRawCursor[Any]) -> None:
        definition = self._definition
        schema = definition.name
        await conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        await cursor.execute("SELECT set_config('search_path', $1, true)", [search_path(definition)])
        if definition.tables.strip():
            await conn.execute(definition.tables.encode())
        own = [definition.name, self._generation]
        await cursor.execute(
            query("new_generation"), [*own, definition.version, definition.fingerprint, schema, definition.partitions]
        )
        await cursor.execute(query("new_state"), [*own, definition.stream, definition.partitions])

    async def claim(self) -> Claim | None:
        """Take the partition if nobody owns it; None if it is owned, paused or stopped."""
        found = await self.rows("claim", [*self._row, self.owner, LEASE_S])
        return Claim(*found[0]) if found else None

    async def standing(self) -> Standing | None:
        """Read what is written down of a partition that is not ours; None if nothing is."""
        found = await self.rows("standing", self._row)
        return standing_of(*found[0]) if found else None

    async def expire(self, owner: str) -> None:
        """End the lease of an owner whose process has provably ended; the next claim finds the partition free."""
        await self.rows("expire", [*self._row, owner])

    async def load(self, epoch: int) -> Claim:
        """Read how far the partition is.

        Raises:
            Fenced: It is ours no more.
        """
        found = await self.rows("load", [*self._row, epoch])
        if not found:
            raise Fenced(f"partition {self._partition} of {self._definition.name} has another owner, or was paused")
        return Claim(*found[0])

    async def beat(self, epoch: int, waits_for: str | None) -> bool:
        """Keep the lease, and write down what the projection waits for; return whether an operator wants something.

        Raises:
            Fenced: It is ours no more.
        """
        status = "running" if waits_for is None else "waiting"
        found = await self.rows("beat", [*self._row, epoch, LEASE_S, status, waits_for])
        if not found:
            raise Fenced(f"partition {self._partition} of {self._definition.name} has another owner, or was paused")
        return bool(found[0][0])

    async def stop(self, epoch: int, reason: str, gap_last: int | None) -> None:
        """Write down that the projection has stopped; it is not claimed again until an operator resumes it."""
        await self.rows("stop", [*self._row, epoch, reason, gap_last])

    async def release(self, epoch: int) -> None:
        """Give the partition back."""
        await self.rows("release", [*self._row, epoch])

    async def follow_stream(self, claim: Claim, created: str, position: int, time_ns: int | None) -> None:
        """Count in another stream from now on.

        Raises:
            Fenced: It is ours no more.
        """
        params = [*self._row, claim.epoch, claim.position, created, position, time_ns]
        if not await self.rows("follow_stream", params):
            raise Fenced(f"partition {self._partition} of {self._definition.name} has another owner, or was paused")

    async def accept_gap(self, first: int, last: int) -> None:
        """Write down which sequences of the stream were passed over, since the definition says `partial`."""
        what = json.dumps({"partial": True, "gaps": [[first, last]]})
        await self.rows("audit_add", [self.owner, self._definition.name, "begin", what, 0])

    async def no_crashes(self, epoch: int) -> None:
        """Write down that what ended earlier owners was passed without harm."""
        await self.rows("no_crashes", [*self._row, epoch])

    async def complete(self, epoch: int, mark: WatermarkSeen) -> None:
        """Write down that everything up to a watermark is settled here, if the partition is still ours."""
        await self.rows("complete", [*self._row, epoch, mark.origin, mark.seq, mark.at])

    async def chunks(self, wanted: Iterable[ChunkId]) -> dict[ChunkId, Chunk]:
        """Read chunks of bits; one that is not stored is empty."""
        found = {chunk_id: Chunk() for chunk_id in wanted}
        if found:
            params = [*self._row, [one.origin for one in found], [one.number for one in found]]
            for origin, number, bits, newest in await self.rows("chunks", params):
                found[ChunkId(origin, number)] = Chunk(bytes(bits), newest)
        return found

    async def breaker(self) -> Breaker:
        """Count what is parked."""
        breaker = Breaker()
        for key, count in await self.rows("parked_keys", self._row):
            breaker.found(key, count)
        return breaker

    async def wanted(self) -> list[Parked]:
        """Return the parked events of all keys of which an operator wants something, in their order."""
        return [
            Parked(number, _unparked(stream_seq, time_ns, subject, key, headers, bytes(payload)), reason, wanted)
            for number, stream_seq, time_ns, subject, key, headers, payload, reason, wanted in await self.rows(
                "wanted", self._row
            )
        ]

    @asynccontextmanager
    async def moving(self, epoch: int, move: Move, *, piped: bool = False) -> AsyncIterator[Conn]:
        """Open the transaction that applies a batch; its first statement moves the position, and fences it.

        Args:
            piped: Whether the block needs no answer of its statements: they are sent at once, and the first error is
                raised at its end.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            psycopg.Error: It failed. Whether it was committed is not known if the connection broke.
        """
        conn = await self._database.connection()
        try:
            # The pipeline ends before the commit, so an error is rolled back like any other.
            async with conn.transaction(), conn.pipeline() if piped else nullcontext():
                params = [search_path(self._definition), STATEMENT_TIMEOUT, *self._row, epoch, LEASE_S, *move]
                await psycopg.AsyncRawCursor(conn).execute(query("move"), params)
                yield conn
        except psycopg.Error as error:
            if error.sqlstate == _FENCED:
                raise Fenced(str(error.diag.message_primary)) from error
            raise
        self._database.succeeded()

    async def save_bits(self, conn: Conn, changed: Mapping[ChunkId, Chunk]) -> None:
        """Write chunks in the transaction of `moving`."""
        rows = [(*self._row, one.origin, one.number, chunk.bits, chunk.newest) for one, chunk in changed.items()]
        if rows:
            await psycopg.AsyncRawCursor(conn).executemany(query("save_chunk"), rows)

    async def park(self, conn: Conn, created: str, event: Incoming, reason: str | None) -> None:
        """Park an event in the transaction of `moving`; without a reason it only waits behind an earlier one."""
        place = [created, event.stream_seq, event.time_ns, event.topic, event.key, event.origin, event.seq]
        params = [*self._row, *place, json.dumps(dict(event.headers)), event.payload, reason]
        await psycopg.AsyncRawCursor(conn).execute(query("park"), params)

    async def count_applied(self, conn: Conn, more: int) -> None:
        """Correct how many events were applied, in the transaction of `moving`; `more` may be negative."""
        if more:
            await psycopg.AsyncRawCursor(conn).execute(query("count_applied"), [*self._row, more])

    async def unpark(self, conn: Conn, number: int) -> None:
        """Take a parked event away, in the transaction of `moving`."""
        await psycopg.AsyncRawCursor(conn).execute(query("unpark"), [number])

    async def note_skipped(self, conn: Conn, event: Incoming) -> None:
        """Write down that an event was given up, in the transaction of `moving`, behind `save_bits`."""
        if event.seq is not None:
            await psycopg.AsyncRawCursor(conn).execute(query("note_skipped"), [*self._row, event.origin, event.seq])

    async def park_again(self, conn: Conn, number: int, reason: str) -> None:
        """Leave an event parked that was refused again, in the transaction of `moving`."""
        await psycopg.AsyncRawCursor(conn).execute(query("park_again"), [number, reason])


def search_path(definition: Definition) -> str:
    """Return where the statements of a projection look for tables: in its schema, then in the usual one."""
    return f"{definition.name}, public"


def _unparked(stream_seq: int, time_ns: int, subject: str, key: str | None, headers: str, payload: bytes) -> Incoming:
    return read(stream_seq, time_ns, subject, json.loads(headers), payload)._replace(key=key)
