"""One stay at the stream: read on from the stored position, apply, and end at the first thing that is wrong.

Whatever fails ends the stay: the runner begins another one, from what is stored. So a commit whose answer was lost
needs no rule of its own, and nothing in memory outlives what it was read from.
"""

import logging
import time
from collections.abc import Sequence

from relay.jetstream.connection import Connection
from relay.jetstream.consumer import ConsumerLost, StreamConsumer, StreamMessage, headers_of, open_consumer
from relay.jetstream.stream_look import StreamLook, look_at, time_at
from relay.observe.logs import event as log_event
from relay.projection.applier import Applier, Batch, Due, log_refused, refusal_of
from relay.projection.definition import Definition
from relay.projection.outcome import Fenced, Stopped
from relay.projection.rules.incoming import Incoming, read
from relay.projection.rules.intake import Intake, partition_of, sort_out
from relay.projection.rules.refusals import Breaker, RefusalClass
from relay.projection.rules.seq_bits import SeqBits
from relay.projection.rules.stream_identity import Finding, Known, Seen, gap_reason, judge, jump_is_proved
from relay.projection.store import Claim, Move, Store

log = logging.getLogger(__name__)

_BATCH_EVENTS = 1_000
_BATCH_BYTES = 1024 * 1024
_BEAT_S = 1.0
_LOOK_S = 5.0


class Term:
    """A stay at the stream; made by `begin_term`."""

    def __init__(
        self, definition: Definition, partition: int, store: Store, connection: Connection, claim: Claim, created: str
    ) -> None:
        self._definition = definition
        self._partition = partition
        self._store = store
        self._connection = connection
        self._epoch = claim.epoch
        self._created = created
        self._position = claim.position
        self._time_ns = claim.time_ns
        self._has_bits = claim.has_bits
        self._bits = SeqBits()
        self._breaker = Breaker()
        self._applier = Applier(definition, store)
        self._behind_looks = 0

    async def run(self) -> None:
        """Read and apply, for ever.

        Raises:
            Fenced: The partition is ours no more.
            Stopped: The projection must not go on by itself.
            BrokerError: The stream or the way to it failed.
            psycopg.Error: The database or the way to it failed.
        """
        self._breaker = await self._store.breaker()
        definition = self._definition
        prefix = f"proj_{definition.name}_{self._partition}"
        consumer = await open_consumer(
            self._connection, definition.stream, prefix, self._position + 1, definition.subjects
        )
        beat_at = look_at_s = time.monotonic()
        while True:
            messages = await consumer.batch(_BATCH_EVENTS, _BATCH_BYTES, _BEAT_S)
            if messages:
                await self._take(messages)
            now = time.monotonic()
            if now - beat_at >= _BEAT_S:
                beat_at = now
                if await self._store.beat(self._epoch, None):
                    await self._do_as_wanted()
            if not messages and now - look_at_s >= _LOOK_S:
                look_at_s = now
                await self._look_while_idle(consumer)

    async def _take(self, messages: Sequence[StreamMessage]) -> None:
        """Apply messages, up to the first one that a gap may lie before."""
        gap = await self._unproved_jump(messages)
        proved = messages if gap is None else messages[: gap[0]]
        if proved:
            events = [read(one[0], one[1], one[2], headers_of(one[3]), one[4]) for one in proved]
            await self._apply(events)
        if gap is not None:
            first_seq = min(gap[1], messages[gap[0]].stream_seq)
            raise Stopped(gap_reason(self._position, first_seq), first_seq - 1)

    async def _unproved_jump(self, messages: Sequence[StreamMessage]) -> tuple[int, int] | None:
        """Return the index of the first message that a gap may lie before, and the first sequence of the stream."""
        position = self._position
        jumps: list[tuple[int, int]] = []
        for index, message in enumerate(messages):
            if message.stream_seq != position + 1:
                jumps.append((index, position))
            position = message.stream_seq
        if not jumps:
            return None
        look = await self._look()
        for index, before in jumps:
            if not jump_is_proved(before, messages[index].stream_seq, _seen(look)):
                return index, look.first_seq
        return None

    async def _look(self) -> StreamLook:
        look = await look_at(self._connection, self._definition.stream)
        if look.created != self._created:
            raise ConsumerLost("the stream was made new")
        return look

    async def _apply(self, events: Sequence[Incoming]) -> None:
        """Apply messages that came, in one transaction that moves the position behind the last one."""
        handlers = {}
        ours: list[Incoming] = []
        for event in events:
            handler, fault = self._definition.handler_of(event)
            if handler is not None and partition_of(event, self._definition.partitions) == self._partition:
                handlers[event.stream_seq] = handler
                ours.append(event if fault == event.fault else event._replace(fault=fault))
        for chunk_id, chunk in (await self._store.chunks(self._bits.missing(ours))).items():
            self._bits.take(chunk_id, chunk)
        intake = sort_out(ours, self._bits, self._breaker.keys)
        if intake.doubt is not None:
            raise Stopped(intake.doubt)
        self._tell(intake)
        due = [(event, handlers[event.stream_seq]) for event in intake.due]
        last = events[-1]
        move = Move(
            self._position,
            last.stream_seq,
            last.time_ns,
            len(due),
            intake.repeats + intake.ignored,
            not intake.unnumbered,
        )
        await self._commit(move, due, intake)

    async def _commit(self, move: Move, due: Sequence[Due], intake: Intake) -> None:
        changed = self._bits.with_settled([*intake.due, *intake.behind])
        batch = Batch(self._created, self._breaker.copy())
        try:
            async with self._store.moving(self._epoch, move) as conn:
                for event in intake.behind:
                    await self._applier.park_behind(conn, event, batch)
                await self._applier.at_once(conn, due)
                await self._store.save_bits(conn, changed)
            if due:
                batch.breaker.applied()
        except Exception as error:
            # A handler is anybody's code. What is not the fault of an event goes on to the runner.
            if isinstance(error, Fenced | Stopped) or refusal_of(error) in (
                RefusalClass.OUTAGE,
                RefusalClass.CONFIGURATION,
            ):
                raise
            batch = Batch(self._created, self._breaker.copy())
            async with self._store.moving(self._epoch, move) as conn:
                for event in intake.behind:
                    await self._applier.park_behind(conn, event, batch)
                await self._applier.with_care(conn, due, batch)
                await self._store.save_bits(conn, changed)
        log_refused(self._definition.name, self._partition, batch, self._definition.on_refused)
        self._position, self._time_ns = move.position, move.time_ns
        self._has_bits = self._has_bits and move.numbered
        self._breaker = batch.breaker
        self._bits.accept(changed)
        self._bits.shrink()

    def _tell(self, intake: Intake) -> None:
        if intake.unnumbered and self._has_bits:
            log_event(
                log,
                "warning",
                "projection.unnumbered",
                "events carry no Outbox-Seq: repeats cannot be told after the stream was set back",
                projection=self._definition.name,
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

    async def _look_while_idle(self, consumer: StreamConsumer) -> None:
        """Move over what is not ours, and notice messages that were lost on the way to us."""
        look = await self._look()
        state = await consumer.state()
        if state.delivered != consumer.received:
            # One look may meet a message on its way.
            self._behind_looks += 1
            if self._behind_looks > 1:
                raise ConsumerLost(f"the server has sent {state.delivered} messages, and {consumer.received} came")
            return
        self._behind_looks = 0
        if state.pending or consumer.waiting or look.last_seq <= self._position:
            return
        if look.first_seq > self._position + 1:
            raise Stopped(gap_reason(self._position, look.first_seq), look.first_seq - 1)
        await self._commit(Move(self._position, look.last_seq, look.last_time_ns), (), Intake())

    async def _do_as_wanted(self) -> None:
        """Retry or skip parked events as an operator has asked, each key in its order, a transaction for each key."""
        seen: set[str] = set()
        wanted = await self._store.wanted()
        for first in wanted:
            key = first.event.key
            if key in seen:
                continue
            rows = [first] if key is None else [one for one in wanted if one.event.key == key]
            if key is not None:
                seen.add(key)
            move = Move(self._position, self._position, self._time_ns)
            async with self._store.moving(self._epoch, move) as conn:
                for parked in rows:
                    if parked.wanted is None and parked.reason is not None:
                        break
                    handler, fault = self._definition.handler_of(parked.event)
                    if parked.wanted != "skip" and handler is not None:
                        event = parked.event._replace(fault=fault)
                        reason = await self._applier.again(conn, (event, handler))
                        if reason is not None:
                            await self._store.park_again(conn, parked.number, reason)
                            break
                    await self._store.unpark(conn, parked.number)
        self._breaker = await self._store.breaker()


def _seen(look: StreamLook, time_ns: int | None = None) -> Seen:
    return Seen(look.created, look.first_seq, look.last_seq, look.by_limits, time_ns)


async def begin_term(definition: Definition, partition: int, store: Store, connection: Connection, epoch: int) -> Term:
    """Compare the stream with what is written down of it, and begin a stay where that allows.

    Raises:
        Fenced: The partition is ours no more.
        Stopped: The stream is not one that may be read on; the reason says why.
        BrokerError: The stream or the way to it failed.
        psycopg.Error: The database or the way to it failed.
    """
    claim = await store.load(epoch)
    look = await look_at(connection, definition.stream)
    in_reach = 0 < claim.position <= look.last_seq
    time_ns = await time_at(connection, definition.stream, claim.position) if in_reach else None
    known = Known(claim.position, claim.time_ns, claim.created, claim.has_bits, definition.partial)
    verdict = judge(known, _seen(look, time_ns))
    if verdict.reason is not None:
        raise Stopped(verdict.reason, verdict.gap_last)
    if verdict.finding is Finding.SET_BACK:
        log_event(
            log,
            "warning",
            "projection.set_back",
            "the stream was set back or made new; it is read again, and what was settled is passed over",
            projection=definition.name,
            partition=partition,
            position=claim.position,
            read_from=verdict.position + 1,
        )
    kept = verdict.finding is Finding.SAME
    if (claim.position, claim.created) != (verdict.position, look.created) or not kept:
        time_ns = claim.time_ns if kept else None
        await store.follow_stream(claim, look.created, verdict.position, time_ns)
        claim = claim._replace(position=verdict.position, time_ns=time_ns)
    return Term(definition, partition, store, connection, claim, look.created)
