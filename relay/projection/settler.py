"""Settle the messages of one partition: tell them apart, apply what is due, and count what is settled.

Memory holds only what was read from the store. Whatever fails, throw the settler away and make another one.
"""

import logging
import time
from collections.abc import Sequence

from relay.jetstream.consumer import StreamMessage
from relay.observe.logs import event as log_event
from relay.observe.projection_progress import PartitionProgress, Settled, created_of
from relay.projection.definition import Definition, Handler
from relay.projection.outcome import Stopped
from relay.projection.ports import Alike, Batch, Claim, Effects, Ledger, Move, Redone, Work
from relay.projection.reading import Unread
from relay.projection.refusal import log_refused
from relay.projection.rules.caution import Caution
from relay.projection.rules.columns import Columns
from relay.projection.rules.completeness import WatermarkSeen
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.intake import Intake, partition_of, sort_out
from relay.projection.rules.refusals import Breaker
from relay.projection.rules.seq_bits import ChunkId, SeqBits

log = logging.getLogger(__name__)


class Settler:
    """Settles the messages of one partition, from the position of a claim on.

    Attributes:
        created: Which stream the messages are from.

    Args:
        progress: Is told what was settled; it says which partition this is.
        claim: What is written down of the partition.
        created: Which stream the messages are from.
        watermark: The subject of the relay's watermark, which is no event; empty: it is not known.
    """

    def __init__(
        self,
        definition: Definition,
        progress: PartitionProgress,
        ledger: Ledger,
        effects: Effects,
        claim: Claim,
        created: str,
        watermark: str = "",
    ) -> None:
        self._definition = definition
        self._progress = progress
        self._partition = progress.partition
        self._ledger = ledger
        self._effects = effects
        self._epoch = claim.epoch
        self.created = created
        self._watermark = watermark
        self._position = claim.position
        self._time_ns = claim.time_ns
        self._has_bits = claim.has_bits
        self._bits = SeqBits()
        self._breaker = Breaker()
        self._caution = Caution(claim.crashes)
        self._told_keyless = False
        # Whose events came in this stay at the stream, and how many watermarks in a row did not speak of all of them.
        self._origins: set[str] = set()
        self._foreign_marks = 0

    @property
    def name(self) -> str:
        """What a consumer of this partition is called."""
        return f"proj_{self._definition.name}_{self._partition}"

    @property
    def limit(self) -> int:
        """How many messages may be settled at once."""
        return min(self._caution.limit, self._effects.limit)

    @property
    def time_ns(self) -> int | None:
        """When the stream stored the message at the position, if that is known."""
        return self._time_ns

    @property
    def position(self) -> int:
        """Everything up to this sequence of the stream is settled."""
        return self._position

    async def begin(self) -> None:
        """Do what an operator wants, and read what is parked; before the first batch.

        A projection that has stopped at too much could do it later never: its next batch would stop it again.

        Raises:
            Fenced: The partition is ours no more.
        """
        await self._do_as_wanted()
        self._progress.reading(self._position, self._breaker.events)

    async def beat(self) -> None:
        """Keep the lease, and do what an operator wants.

        Raises:
            Fenced: The partition is ours no more.
        """
        is_wanted = await self._ledger.beat(self._epoch, None)
        self._progress.beat()
        if is_wanted:
            await self._do_as_wanted()

    async def passed(self, messages: int) -> None:
        """Take note that messages were settled; 0: there was nothing more."""
        if self._caution.passed(messages):
            await self._ledger.no_crashes(self._epoch)

    async def complete(self, mark: WatermarkSeen) -> None:
        """Write down that everything up to a watermark is settled here, unless events come of which it says nothing."""
        foreign = mark.foreign(self._origins)
        if foreign is not None:
            self._foreign_marks += 1
            # The first may be older than the origin of an event that came since.
            if self._foreign_marks == 2:
                log_event(
                    log,
                    "warning",
                    "projection.no_watermark",
                    "the watermark is of one outbox, and events come of another one: up to when the read model is "
                    "complete is not known; each outbox needs a stream of its own for that",
                    subject=self._watermark,
                    reason=f"origin {foreign} is none of the watermark's outbox",
                )
            return
        self._foreign_marks = 0
        await self._ledger.complete(self._epoch, mark)
        self._progress.complete(mark.at)

    async def settle_alike(self, messages: Sequence[StreamMessage], columns: Columns) -> bool:
        """Do as `settle` with messages that were read by columns, if nothing about them needs a look at each.

        Returns:
            False if something does, and nothing was done: read them one by one.
        """
        handler = self._definition.one_handler(columns.topics, columns.version)
        if handler is None or handler.function is not None or self._definition.partitions > 1:
            return False
        if self._breaker.keys or self._caution.found:
            return False
        origin, seqs, created = columns.origin, columns.seqs, columns.created
        await self._know(self._bits.missing_of(origin, seqs))
        if not self._bits.all_new_of(origin, seqs):
            return False
        changed = self._bits.with_settled_of(origin, seqs, created)
        last = messages[-1]
        move = Move(self._position, last.stream_seq, last.time_ns, len(messages))
        due = Unread(messages, handler)
        work = Work(self.created, due, (), changed, self._breaker, Alike(handler, columns, messages))
        await self._commit(move, work, Intake(), created)
        return True

    async def settle(self, events: Sequence[Incoming]) -> None:
        """Apply messages in one transaction that moves the position behind the last one.

        Args:
            events: At least one, in the order of the stream, none at or below the position.

        Raises:
            Fenced: The partition is ours no more.
            Stopped: The projection must not go on by itself.
            Exception: What `Effects.apply` raises: the fault is not in the events.
        """
        handlers: dict[int, Handler] = {}
        ours: list[Incoming] = []
        by_topic = self._definition.by_topic({event.topic for event in events})
        partitions = self._definition.partitions
        for event in events:
            if event.topic == self._watermark:
                continue
            handler = by_topic.get(event.topic)
            if handler is None:
                handler, fault = self._definition.handler_of(event)
                if fault != event.fault:
                    event = event._replace(fault=fault)
            if handler is not None and (partitions == 1 or partition_of(event, partitions) == self._partition):
                handlers[event.stream_seq] = handler
                ours.append(event)
        await self._know(self._bits.missing(ours))
        intake = sort_out(ours, self._bits, self._breaker.keys)
        if intake.doubt is not None:
            raise Stopped(intake.doubt)
        self._tell(intake)
        due = [(event, handlers[event.stream_seq]) for event in intake.due]
        ended_it = bool(due) and self._caution.found
        if ended_it:
            reason = f"{self._caution.crashes} processes in a row have ended while they applied this event"
            due[0] = (due[0][0]._replace(fault=reason), due[0][1])
        last = events[-1]
        move = Move(
            self._position,
            last.stream_seq,
            last.time_ns,
            len(due),
            intake.repeats + intake.ignored,
            not intake.unnumbered,
        )
        created = created_of(event.created for event in intake.due)
        changed = self._bits.with_settled([*intake.due, *intake.behind])
        await self._commit(move, Work(self.created, due, intake.behind, changed, self._breaker), intake, created)
        if ended_it and self._caution.refused():
            await self._ledger.no_crashes(self._epoch)

    async def _know(self, missing: set[ChunkId]) -> None:
        """Read chunks of bits."""
        for chunk_id, chunk in (await self._ledger.chunks(missing)).items():
            self._bits.take(chunk_id, chunk)

    async def pass_over(self, position: int, time_ns: int | None) -> None:
        """Move the position over messages of which none is ours.

        Raises:
            Fenced: The partition is ours no more.
        """
        work = Work(self.created, (), (), {}, self._breaker)
        await self._commit(Move(self._position, position, time_ns), work, Intake(), ())

    async def _commit(self, move: Move, work: Work, intake: Intake, created: Sequence[float]) -> None:
        began_at = time.monotonic()
        batch = await self._effects.apply(self._epoch, move, work)
        self._tell_settled(move, intake, batch, created, time.monotonic() - began_at if work.due else None)
        log_refused(self._definition, self._partition, batch.refused, again=False)
        self._position, self._time_ns = move.position, move.time_ns
        self._has_bits = self._has_bits and move.numbered
        self._breaker = batch.breaker
        self._origins.update(one.origin for one in work.bits)
        self._bits.accept(work.bits)
        self._bits.shrink()

    def _tell_settled(
        self, move: Move, intake: Intake, batch: Batch, created: Sequence[float], took_s: float | None
    ) -> None:
        refused = len(batch.refused)
        settled = Settled(
            move.position,
            batch.breaker.events,
            batch.applied,
            intake.repeats,
            intake.ignored,
            refused,
            refused if self._definition.on_refused == "skip" else 0,
            created,
        )
        self._progress.settled(settled, took_s)

    def _tell(self, intake: Intake) -> None:
        if intake.unnumbered and self._has_bits:
            log_event(
                log,
                "warning",
                "projection.unnumbered",
                "events carry no Outbox-Seq: repeats cannot be told after the stream was set back",
                projection=self._definition.name,
            )
        if intake.keyless and not self._told_keyless:
            self._told_keyless = True
            log_event(
                log,
                "warning",
                "projection.keyless",
                "events carry no Outbox-Key: their key is NULL, and they keep no order; the relay sends it with "
                "headers.key = true",
                projection=self._definition.name,
                partition=self._partition,
            )
        if intake.repeats or intake.ignored:
            log_event(
                log,
                "info",
                "projection.repeats",
                "events were settled before and are passed over",
                projection=self._definition.name,
                partition=self._partition,
                repeats=intake.repeats,
                ignored=intake.ignored,
            )

    async def _do_as_wanted(self) -> None:
        """Retry or skip parked events as an operator has asked, each key in its order, a transaction for each key."""
        seen: set[str] = set()
        done: list[Redone] = []
        wanted = await self._ledger.wanted()
        if not wanted:
            self._breaker = await self._ledger.breaker()
            return
        for first in wanted:
            key = first.event.key
            if key in seen:
                continue
            rows = [first] if key is None else [one for one in wanted if one.event.key == key]
            if key is not None:
                seen.add(key)
            move = Move(self._position, self._position, self._time_ns)
            done.append(await self._effects.do_as_wanted(self._epoch, move, rows))
        self._breaker = await self._ledger.breaker()
        refused = [one.refused for one in done if one.refused is not None]
        log_refused(self._definition, self._partition, refused, again=True)
        applied, skipped = sum(one.applied for one in done), sum(one.skipped for one in done)
        log_event(
            log,
            "info",
            "projection.retried",
            "parked events were tried again or given up, as an operator wanted",
            projection=self._definition.name,
            partition=self._partition,
            applied=applied,
            skipped=skipped,
            refused=len(refused),
            parked=self._breaker.events,
        )
        self._progress.settled(Settled(self._position, self._breaker.events, applied, skipped=skipped), None)
