"""One term of the owner of some shards: wake, fetch, publish, settle, side by side, until it is to end.

Fetcher, publisher and settler are tasks of their own on two connections to the database and one to NATS, so
that the next events are fetched and the previous ones marked while others are in flight. What they share is in one
`InHand`.
"""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from relay.cancellation import SOON_S, within
from relay.cancellation import end as end_tasks
from relay.config.derived_options import deletable_dead, nats_options
from relay.config.derived_options import envelopes as envelopes_of
from relay.daemon.term_end import Drained, TermEnd, Unfinished
from relay.daemon.wiring import BEAT_S, managed_stream, new_in_hand
from relay.delivery.after_crash import AfterCrash
from relay.delivery.due_events import DueEvents
from relay.delivery.fetcher import Fetcher
from relay.delivery.probes import Probes
from relay.delivery.publisher import Publisher
from relay.delivery.refusals import Refusals
from relay.delivery.scrub_care import ScrubCare
from relay.delivery.settler import Settler
from relay.delivery.stream_lookups import StreamLookups
from relay.delivery.trial import Trial
from relay.delivery.wakeup import Wakeup
from relay.errors import DatabaseChanged, LeaseLost, StreamHealed
from relay.integrity.delivered_events import DeliveredEvents
from relay.integrity.loss_watch import LossWatch
from relay.integrity.pending_subjects import PendingSubjects
from relay.integrity.reconciler import Reconciler
from relay.integrity.reused_seqs import ReusedSeqs
from relay.integrity.tail_search import TailSearch
from relay.integrity.watched import WatchedStreams
from relay.jetstream.reconnect import Reconnector
from relay.lease_clock import lease_now
from relay.maintenance.adoption_watch import AdoptionWatch
from relay.maintenance.announcer import Announcer
from relay.maintenance.consumer_lag import ConsumerLag
from relay.maintenance.dead_letter_copies import DeadLetterCopies
from relay.maintenance.dead_letters_and_size import TableFacts
from relay.maintenance.duty import Duty, DutyRunner
from relay.maintenance.retention import Retention
from relay.observe.metrics import Metrics
from relay.observe.snapshot import HeldView, TermView
from relay.outcomes import FailureClass
from relay.postgres.doorbell import Doorbell
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.postgres.shard_leases import Ownership
from relay.rules.database.database_state import Change, DatabaseState, StartingPoint
from relay.rules.database.origins import Origins
from relay.rules.database.table_shape import TableShape
from relay.rules.reading.read_batch_size import ReadSize
from relay.rules.sending.send_gate import Gate
from relay.rules.settling.watermark import SettledClock, Watermark

if TYPE_CHECKING:
    from relay.config.settings import Settings

_TICK_S = 0.25
# So many outages are told by name on /readyz; the others are counted.
_OUTAGES = 5
_STALLED_S = 30.0


class Term:
    """Moves the events of some shards for one term, in which they stay the same.

    Args:
        ownership: The shards.
        bell: None: polling alone.
        start: Where reading begins, and how the database was found at that moment.
    """

    def __init__(
        self,
        settings: "Settings",
        *,
        ownership: Ownership,
        reader: OutboxReader,
        writer: OutboxWriter,
        bell: Doorbell | None,
        metrics: Metrics,
        start: StartingPoint,
    ) -> None:
        origins = Origins(start.database.origins)
        envelopes = envelopes_of(settings).with_origins(origins)
        self._settings = settings
        self._metrics = metrics
        self._ownership = ownership
        self._bell = bell
        self._in_hand = new_in_hand(settings, start.above, start.database)
        self._gate = Gate(ownership, reader, self._in_hand.set_backs)
        self._settler = Settler(self._in_hand, writer, metrics)
        self._probes = Probes(self._in_hand)
        self._refusals = Refusals(
            settings.failures,
            self._in_hand,
            envelopes,
            StreamLookups(self._in_hand.streams),
            self._probes,
            self._settler,
            metrics,
        )
        self._reused = ReusedSeqs(reader, origins, metrics)
        streams = WatchedStreams(self._in_hand, reader, writer)
        delivered = DeliveredEvents(reader, writer, envelopes)
        pending = PendingSubjects(self._in_hand, reader, envelopes)
        self._reconciler = Reconciler(
            self._in_hand,
            self._gate,
            streams,
            LossWatch(settings.healing, self._in_hand, self._gate, streams, delivered, pending, metrics),
            TailSearch(self._in_hand, streams, reader, envelopes, pending, self._reused, metrics),
        )
        self._publisher = Publisher(
            settings.delivery, self._in_hand, self._gate, envelopes, self._refusals, self._settler, metrics
        )
        self._after_crash: AfterCrash | None = None
        self._scrub_care: ScrubCare | None = None
        if ownership.crashes:
            trial = Trial(self._in_hand, writer, self._refusals)
            self._after_crash = AfterCrash(ownership, self._in_hand, self._gate, reader, trial, self._refusals)
            self._scrub_care = ScrubCare(self._in_hand, self._gate, reader, trial, self._refusals)
        self._fetcher = Fetcher(
            settings.delivery,
            self._in_hand,
            reader,
            Wakeup(bell, settings.delivery.poll_max_s),
            DueEvents(
                self._in_hand,
                reader,
                settings.failures.on_dead,
                ReadSize(settings.delivery.fetch_batch, settings.delivery.buffer_bytes),
            ),
            metrics,
        )
        self._ratio = reader.ratio
        self._retention: Retention | None = None
        self._payload_type = reader.payload_type
        self._duties = [DutyRunner(duty, ownership) for duty in self._configured_duties(settings, reader, writer)]
        self._reconnector = Reconnector(
            nats_options(settings),
            managed_stream(settings),
            listener=self._publisher,
            users=(self._reconciler, *self._duties, self._publisher),
        )
        self._clock = SettledClock()
        self._change = asyncio.Event()
        self._busy_since: float | None = None
        self._stalled = False

    def _configured_duties(self, settings: "Settings", reader: OutboxReader, writer: OutboxWriter) -> list[Duty]:
        """Make the duties that the configuration asks for."""
        duties: list[Duty] = [TableFacts(reader, self._metrics), AdoptionWatch(reader, self._metrics)]
        if settings.retention.delivered_age_s or settings.retention.dead_age_s:
            self._retention = Retention(
                settings.retention,
                self._in_hand,
                self._gate,
                deletable_dead=deletable_dead(settings),
                reader=reader,
                writer=writer,
                metrics=self._metrics,
            )
            duties.append(self._retention)
        if settings.consumers.watch:
            duties.append(ConsumerLag(settings.consumers, self._in_hand.floors, self._metrics))
        if settings.failures.dead_subject:
            duties.append(
                DeadLetterCopies(settings.failures.dead_subject, reader=reader, writer=writer, metrics=self._metrics)
            )
        if settings.watermark.subject:
            origins = Origins(self._in_hand.database.origins)
            duties.append(Announcer(settings.watermark, settings.postgres.table, origins, reader, self._gate))
        return duties

    async def run(self, stop: asyncio.Event) -> TermEnd:
        """Move events until `stop` is set or the shards are to change, then await what is in flight and settle it.

        Returns:
            How it ended. After `Drained` and `Unfinished` the leases are still ours.
        """
        end: TermEnd = Drained()
        try:
            async with asyncio.TaskGroup() as group:
                fetching = group.create_task(self._fetcher.run(self._after_crash, self._scrub_care), name="fetch")
                others = [
                    group.create_task(self._publisher.run(), name="publish"),
                    group.create_task(self._refusals.run(), name="look-up"),
                    group.create_task(self._probes.run(), name="probe"),
                    group.create_task(self._settler.run(), name="settle"),
                    group.create_task(self._reconciler.run(), name="reconcile"),
                    *(group.create_task(duty.run(), name=duty.name) for duty in self._duties),
                    group.create_task(self._reconnector.run(), name="nats"),
                    group.create_task(self._sweep(), name="sweep"),
                    group.create_task(self._beat(), name="beat"),
                ]
                is_cut_short = True
                try:
                    await _first_of(stop, self._change)
                    fetching.cancel()
                    self._publisher.stop()
                    end = await self._drain()
                    is_cut_short = False
                finally:
                    # If one of them has ended the term the group has cancelled the others, once, and would wait.
                    await end_tasks(fetching, *others, again_s=SOON_S, were_cancelled=is_cut_short)
        except* (LeaseLost, StreamHealed, DatabaseChanged) as ended:
            end = _first(ended)
        return end

    async def _drain(self) -> Drained | Unfinished:
        """Await acknowledgements and marks, each up to the deadline."""
        longest_s = self._settings.delivery.shutdown_timeout_s
        with suppress(TimeoutError):
            await within(longest_s, self._publisher.drained())
        left, written = self._in_hand.in_flight_count(), False
        with suppress(TimeoutError):
            await within(longest_s, self._write_all())
            written = True
        return Drained() if written and not left else Unfinished(left, written)

    async def _write_all(self) -> None:
        await self._settler.drained()
        await self._reconciler.save()
        await self._reconciler.save()  # the second one lets floors rise to the last mark

    async def _sweep(self) -> None:
        """Handle events without an answer, and retries that are due, a few times a second."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._publisher.sweep()
            self._watch_progress(time.monotonic())

    async def _beat(self) -> None:
        """Renew the leases, persist the watermark, and end the term when the shards should be shared differently."""
        while True:
            await asyncio.sleep(min(BEAT_S, self._settings.lease.ttl_s / 3))
            beat = await self._ownership.beat(self.settled)
            await self._check_database(beat.database)
            self._check_columns(beat.shape)
            self._clock.looked(beat.at, beat.database.newest, beat.database.newest_drawn())
            self._in_hand.saw(beat.database, beat.sent_at)
            if self._bell is not None:
                self._bell.note_company(len(beat.others))
            owned = len(self._ownership.epochs)
            if owned > beat.share or (owned < beat.share and beat.free):
                self._change.set()
            self._in_hand.to_send.set()

    async def _check_database(self, now: DatabaseState) -> None:
        """End the term if the database is no longer the one that the term has read from.

        Raises:
            DatabaseChanged: The watermark of the term was not persisted in it.
        """
        change = self._in_hand.database.change_to(now)
        if change is Change.SEQUENCE:
            await self._ownership.lower_watermark(0)
        if change is not None:
            raise DatabaseChanged(change.value)

    def _check_columns(self, found: TableShape | None) -> None:
        """End the term if the table of events is no longer what its reads expect.

        Raises:
            DatabaseChanged: The payload column has another type, or the table is not as it must be.
        """
        if found is None:
            return
        faults = found.faults(self._ownership.tables.events)
        if faults:
            raise DatabaseChanged("; ".join(faults))
        if found.payload_type != self._payload_type:
            raise DatabaseChanged(f"the payload column became {found.payload_type}, and was {self._payload_type}")

    def _watch_progress(self, now: float) -> None:
        if not self._in_hand.should_flow() or not self._gate.is_open:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        since = self._busy_since
        self._stalled = since is not None and now - max(since, self._settler.last_settled) > _STALLED_S

    @property
    def settled(self) -> Watermark:
        """How far everything of our shards is settled."""
        seq = self._in_hand.watermark()
        return Watermark(seq, self._clock.settled_at(seq, self._in_hand.rows_settled_up_to()))

    def view(self) -> TermView:
        """Return how the term stands now."""
        in_hand, settled = self._in_hand, self.settled
        return TermView(
            backlog=in_hand.backlog(self._ratio),
            oldest_pending_at=in_hand.unsettled.oldest_created_at(),
            in_flight=in_hand.in_flight_count(),
            waiting=in_hand.waiting(),
            retrying=len(in_hand.unsettled.postponed),
            watermark=settled.seq,
            watermark_at=settled.at,
            shards=len(self._ownership.epochs),
            held=tuple(HeldView(str(name), *held) for name, held in in_hand.holds.held().items()),
            outages=tuple(f"{hold.scope}: {hold.reason}" for hold in in_hand.holds.some(FailureClass.OUTAGE, _OUTAGES)),
            nats_trouble=self._reconnector.trouble,
            paused=self._paused(lease_now()),
            stalled=self._stalled,
            oldest_retry_at=in_hand.unsettled.oldest_postponed_at(),
            gap_since=in_hand.gaps.oldest_since(),
            held_keys=in_hand.lanes.stuck_keys,
            blocked_keys=len(set(in_hand.unsettled.blocked.values())),
            unmarked=len(in_hand.aside),
            rooms=self._reconciler.rooms(),
            refusal=self._settler.refusal(time.monotonic()) or self._fetcher.refusal,
            refused_rows=self._settler.refused_rows(),
            unsaved_streams=self._reconciler.refused(),
            undeletable=(0, "") if self._retention is None else self._retention.undeletable(),
            in_vain=self._fetcher.in_vain,
            seqs_again=self._reused.found,
            origins=in_hand.database.origins,
        )

    def _paused(self, now: float) -> str | None:
        """Return why nothing may be sent although NATS is there."""
        if now >= self._ownership.until:
            return "the lease ran out before PostgreSQL renewed it"
        return None if self._gate.is_open else "the streams are not checked yet"


def _first(ended: BaseExceptionGroup[BaseException]) -> TermEnd:
    """Return the first that ended the term."""
    first = ended.exceptions[0]
    if isinstance(first, LeaseLost | StreamHealed | DatabaseChanged):
        return first
    raise first


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
