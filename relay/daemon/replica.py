"""The daemon: put together from the configuration, started, stopped by a signal."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from relay.cancellation import SOON_S, within
from relay.cancellation import end as end_tasks
from relay.config.derived_options import agreed
from relay.daemon.outbox_check import OutboxCheck
from relay.daemon.term import Term
from relay.daemon.term_end import Drained, Unfinished
from relay.daemon.wiring import BEAT_S
from relay.errors import DatabaseChanged, Exit, LeaseLost, StreamHealed
from relay.observe.logs import event as log_event
from relay.observe.logs import keep_up
from relay.observe.metrics import Metrics
from relay.observe.snapshot import Role, Snapshot, TermView
from relay.postgres.bell_queue import BellQueue
from relay.postgres.database import Database
from relay.postgres.doorbell import Doorbell
from relay.postgres.migrate import check_schema, schema_of
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.postgres.presence import Presence
from relay.postgres.session import refuse_encoding
from relay.postgres.shard_leases import Ownership
from relay.postgres.single_value import value
from relay.postgres.tables import Tables
from relay.rules.database.database_state import Change
from relay.rules.database.table_shape import TableShape
from relay.rules.replicas.differing_settings import differing, digests
from relay.rules.settling.watermark import Watermark

if TYPE_CHECKING:
    from relay.config.settings import Settings

log = logging.getLogger(__name__)

_OBSERVE_S = 0.25
# How long a relay that could send stays ready while a new term connects to NATS and checks the streams again, seconds.
_CHANGEOVER_S = 5.0
# How often a relay without shards that is owed some asks whether they were given back, seconds: nobody sends their
# events meanwhile.
_OWED_S = 0.2

T = TypeVar("T")


class Replica:
    """One replica: claims its share of the shards, works while it holds their leases, and reports its state."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._presence = Presence(digests(agreed(settings)), settings.headers.allow_nats)
        self._stop = asyncio.Event()
        self._role: Role = "starting"
        # The connections that events and leases need, as far as they are open.
        self._databases: list[Database] = []
        self._bell: Doorbell | None = None
        self._term: Term | None = None
        # When events could be sent last, and whether a term has ended since; monotonic seconds.
        self._flowed_at = -_CHANGEOVER_S
        self._changing = False
        self._check = OutboxCheck(settings.postgres.table)
        self._reported_differing: list[str] = []
        # The origins of seqs under which some were found to be drawn again.
        self._reused_in: str | None = None
        self._snapshot = self._look()
        self.metrics = Metrics(settings.delivery.objective_s, settings.consumers.objective_s)
        self.metrics.watch(self.snapshot)

    def snapshot(self) -> Snapshot:
        """Return the state of a moment ago; safe in the threads of the HTTP server."""
        return self._snapshot

    async def observe(self) -> None:
        """Take a snapshot a few times a second, and let the log catch up; a stuck event loop shows as an old one."""
        looked_at = time.monotonic()
        while True:
            now = time.monotonic()
            self.metrics.trouble(self._snapshot.troubles(), now - looked_at)
            looked_at = now
            self._snapshot = self._look()
            self._presence.say(self._snapshot.notes())
            for component, is_up in self._snapshot.connections().items():
                self.metrics.connection(component, is_up)
            keep_up()
            await asyncio.sleep(_OBSERVE_S)

    def _look(self) -> Snapshot:
        now = time.monotonic()
        view = TermView() if self._term is None else self._term.view()
        if view.nats_trouble is None and view.paused is None:
            self._flowed_at, self._changing = now, False
        up, refusal = self._postgres()
        return Snapshot(
            role=self._role,
            postgres_up=up,
            postgres_refusal=refusal,
            bell=self._bell is not None and self._bell.hung,
            last_progress=now,
            changing_over=self._changing and now - self._flowed_at < _CHANGEOVER_S,
            outbox_fault=self._check.shard_fault,
            seqs_again=self._seqs_again(view),
            term=view,
        )

    def _seqs_again(self, view: TermView) -> bool:
        """Report whether seqs were drawn again, and no new origin has begun since; terms end meanwhile."""
        if view.seqs_again:
            self._reused_in = view.origins
        elif view.origins and view.origins != self._reused_in:
            self._reused_in = None
        return self._reused_in is not None

    def _postgres(self) -> tuple[bool, str]:
        """Report whether each connection in use works, and if not what PostgreSQL refuses; empty if it is not there.

        A standby fetches nothing. If rows are hidden from us, or the table is not as it must be, it is of no use.
        """
        used = [database for database in self._databases if database.up is not None]
        refusals = [database.refusal for database in used if not database.up]
        if not used or refusals:
            # One that is refused knows more than one that was just lost; it asks again within seconds.
            return False, next(filter(None, refusals), "")
        return not self._check.fault, self._check.fault

    def stop(self) -> None:
        """Stop after what is in flight."""
        log_event(log, "info", "relay.stopping", "stopping: nothing new is sent, what is in flight is awaited")
        self._role = "stopping"
        self._stop.set()

    async def run(self) -> Exit:
        """Work until stopped.

        Raises:
            SchemaError: The outbox is not in the database, or in another version.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            reading = await stack.enter_async_context(self._database("fetch"))
            writing = await stack.enter_async_context(self._database("settle"))
            # Whatever reads and marks wait for, the leases are renewed.
            leasing = await stack.enter_async_context(self._database("lease"))
            self._databases = [reading, writing, leasing]
            tables = await self._checked_tables(leasing)
            bell = None
            if settings.delivery.bell:
                ringing = await stack.enter_async_context(self._database("bell"))
                queue = BellQueue(await stack.enter_async_context(self._database("bell-queue")), tables)
                bell = self._bell = Doorbell(ringing, reading, tables, queue)
                stack.push_async_callback(bell.close)
            else:
                log_event(
                    log,
                    "info",
                    "bell.off",
                    "polling alone finds new events",
                    poll_max_s=settings.delivery.poll_max_s,
                )
            ownership = Ownership(
                leasing,
                tables,
                self._presence,
                settings.lease.ttl_s,
            )
            while not self._stop.is_set():
                pause_s = await self._unless_stopped(self._share(ownership))
                if pause_s == 0:
                    code = await self._work(ownership, reading, writing, bell)
                    reading.rest()
                    writing.rest()
                    if code is not None:
                        return code
                elif pause_s is not None:
                    await self._wait_for_turn(pause_s)
            if self._postgres()[0]:
                with suppress(TimeoutError):
                    await within(BEAT_S, ownership.leave(Watermark()))
        return Exit.DONE

    async def _share(self, ownership: Ownership) -> float:
        """Claim free shards up to our share; return after how many seconds to ask again, 0 if we own any."""
        try:
            beat = await ownership.beat(Watermark())
        except LeaseLost as lost:
            _say_lost(lost)
            return 0 if ownership.epochs else BEAT_S
        self._compare_settings(beat.others)
        if self._check.refuses(beat.database, beat.shape, ownership.shards):
            return BEAT_S
        if len(ownership.epochs) < beat.share and beat.free:
            await ownership.claim(beat.share - len(ownership.epochs))
        if ownership.epochs:
            self._check.claimed(was_free=False)
            return 0
        self._check.claimed(was_free=beat.free > 0 and beat.share > 0)
        return _OWED_S if beat.share else BEAT_S

    def _compare_settings(self, others: Iterable[str]) -> None:
        """Log which settings differ between the relays of this outbox; once until that changes."""
        settings = differing([str(self._presence.member), *others])
        if settings and settings != self._reported_differing:
            log_event(
                log,
                "warning",
                "settings.differ",
                "the relays of this outbox work with different settings: what becomes of an event depends on which one"
                " takes it",
                settings=settings,
            )
        self._reported_differing = settings

    async def _checked_tables(self, database: Database) -> Tables:
        table = self._settings.postgres.table
        encoding = await self._unless_stopped(database.run(Tables(table).query("connection/encoding")))
        if encoding:
            refuse_encoding(value(encoding))
        found = await self._unless_stopped(database.run(Tables(table).query("ownership/columns")))
        shape = TableShape.read(found or [])
        schema = None
        if shape is not None:
            rows = await self._unless_stopped(database.run(Tables(table).query("migrate/schema_version")))
            schema = schema_of(rows[0] if rows else None)
        if not self._stop.is_set():
            check_schema(schema, table)
        return Tables(table, (None if shape is None else shape.payload_type) or "jsonb")

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await something that may wait for the database for ever; None if the relay is to stop meanwhile."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await end_tasks(task, stopping, again_s=SOON_S)

    async def _wait_for_turn(self, pause_s: float) -> None:
        if self._stop.is_set():
            return
        if not self._check.fault and self._role != "standby":
            self._role = "standby"
            log_event(log, "info", "relay.standby", "other relays own every shard; ready to take over")
        try:
            async with asyncio.timeout(pause_s):
                await self._stop.wait()
        except TimeoutError:
            pass

    async def _work(
        self, ownership: Ownership, reading: Database, writing: Database, bell: Doorbell | None
    ) -> Exit | None:
        """Work on our shards until they change; return the exit code, or None if the relay goes on."""
        of = ownership.shards
        shape = await self._unless_stopped(ownership.table_shape())
        payload_type = None if shape is None else shape.payload_type
        tables = ownership.tables if payload_type is None else ownership.tables.with_payload(payload_type)
        shards = None if ownership.all_of_them else sorted(ownership.epochs)
        reader = OutboxReader(reading, tables, shards, of)
        # What crashed the last relay may be an event that an operator has given back.
        start = await self._unless_stopped(reader.starting_point(with_due=ownership.crashes > 0))
        if start is None:
            return None
        ownership.begin_term(start.database.identity)
        if start.set_back:
            self._reused_in = start.database.origins
            log_event(
                log,
                "error",
                "seqs.again",
                "the sequence of the outbox was set back while no relay saw it: seqs are drawn again; read models"
                " that go by seqs may pass over new events. Run `relay migrate --new-origin`, then"
                " `relay projection verify`",
                drawn=start.database.drawn,
            )
            await self._unless_stopped(ownership.lower_watermark(0))
        log_event(
            log,
            "info",
            "relay.active",
            "this relay owns the outbox" if shards is None else "this relay shares the outbox",
            shards=len(ownership.epochs),
            of=of,
            watermark=start.above,
            newest=start.database.newest,
        )
        self._role = "active"
        self._term = Term(
            self._settings,
            ownership=ownership,
            reader=reader,
            writer=OutboxWriter(writing, tables, ownership.fence),
            bell=bell,
            metrics=self.metrics,
            start=start,
        )
        try:
            end = await self._term.run(self._stop)
        finally:
            settled = self._term.settled
            self._changing = True
            self._term = None
            self.metrics.term_ended()
            if bell is not None and self._stop.is_set():
                with suppress(TimeoutError):
                    await within(SOON_S, bell.release())
            elif bell is not None:
                await bell.release()
        match end:
            case Drained():
                return await self._end_of_term(ownership, settled, None)
            case Unfinished():
                log_event(log, "warning", "relay.drained_partly", str(end))
                return await self._end_of_term(ownership, settled, Exit.DRAIN_INCOMPLETE)
            case LeaseLost():
                _say_lost(end)
            case StreamHealed():
                log_event(log, "info", "relay.again", "starting again below what was lost", reason=str(end))
            case DatabaseChanged():
                if str(end) == Change.SEQUENCE.value:
                    self._reused_in = start.database.origins
                log_event(
                    log, "error", "database.changed", "starting again from what the database says", reason=str(end)
                )
            case never:
                assert_never(never)
        return None

    async def _end_of_term(self, ownership: Ownership, settled: Watermark, code: Exit | None) -> Exit | None:
        """Hand over what is above our share, or everything if the relay is to stop."""
        try:
            if not self._stop.is_set():
                await self._unless_stopped(self._hand_over(ownership, settled))
            if not self._stop.is_set():
                return None
            await within(self._settings.delivery.shutdown_timeout_s, ownership.leave(settled))
        except LeaseLost as lost:
            _say_lost(lost)
            return None
        except TimeoutError:
            log_event(
                log,
                "warning",
                "relay.stopped",
                "PostgreSQL has not confirmed that the shards were given back: if they were not, other relays take them"
                " when our lease has run out",
            )
            return Exit.DRAIN_INCOMPLETE
        log_event(log, "info", "relay.stopped", "the shards are given back")
        return code or Exit.DONE

    async def _hand_over(self, ownership: Ownership, settled: Watermark) -> None:
        beat = await ownership.beat(settled)
        given = await ownership.hand_over(beat.share, settled)
        if given:
            log_event(log, "info", "relay.shared", "shards were handed over to other relays", shards=given)

    def _database(self, name: str) -> Database:
        postgres = self._settings.postgres
        dsn, file = postgres.dsn, postgres.dsn_file
        if name in ("bell", "bell-queue") and postgres.bell_dsn is not None:
            dsn, file = postgres.bell_dsn, postgres.bell_dsn_file
        return Database(
            dsn.get_secret_value(),
            name,
            dsn_file=file,
            connect_timeout_s=postgres.connect_timeout_s,
            statement_timeout_s=postgres.statement_timeout_s,
            # What a mark, or another write of a row, is refused for may concern that row alone.
            waits=name in ("fetch", "lease"),
            own=name == "lease",
        )


def _say_lost(lost: LeaseLost) -> None:
    log_event(log, "error", "lease.lost", "other relays took over; their shards are left", reason=str(lost))
