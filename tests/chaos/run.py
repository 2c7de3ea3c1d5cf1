"""The course of a run: everything works, faults come, everything comes to rest, and the history is complete."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import psycopg

from relay.cancellation import end
from tests.chaos.consumer import Consumer
from tests.chaos.faults import KINDS, make_again
from tests.chaos.history import Fault, History, Row, Seen, Stored, Transaction, Watermark, settled
from tests.chaos.kind import Kind
from tests.chaos.producers import Producer
from tests.chaos.read_side import STREAM
from tests.chaos.world import STREAMS, World, bare

# Behind the name of a fault that came together with another one.
OF_TWO = " (of two)"
_PRODUCERS = 4
_BEGINS_S = 15.0
# For as long a fault may take to be made and to end, and a server to take part in the end of the run, seconds.
_COMES_BACK_S = 120.0
_ENDS_S = 30.0
_ROWS = """
    SELECT id::text, seq, key, delivered_at IS NOT NULL, dead_at IS NOT NULL, stream, stream_seq,
           extract(epoch FROM coalesce(delivered_at, dead_at))::float8
    FROM outbox_events
    ORDER BY seq
"""


@dataclass(frozen=True)
class Plan:
    """What is to happen.

    Attributes:
        seed: Of everything that comes by chance, but for the timing of the machine.
        seconds: For which faults come.
        faults: Stop after this many; None: when the time is over.
        kinds: Names of `KINDS`.
        rate: Events a second, about.
        pairs: Share of the faults that come two at a time.
        patience_s: For which is waited for the recovery from a fault, and at the end until nothing is pending; then
            the run goes on, and the checker finds what is missing.
        until_found: Whether faults end once a message was seen twice, as of a mutant: it is a finding then.
    """

    seed: int
    seconds: float
    faults: int | None = None
    kinds: Sequence[str] = tuple(KINDS)
    rate: float = 200.0
    pairs: float = 0.2
    patience_s: float = 60.0
    until_found: bool = False


class Run:
    """One run in a world that has begun."""

    def __init__(self, world: World, plan: Plan, history: History) -> None:
        self._world = world
        self._plan = plan
        self._history = history
        self._rng = random.Random(plan.seed)
        self._quiet = asyncio.Event()
        # Committed and not yet seen, with the time of the commit; the oldest first.
        self._waiting: dict[str, float] = {}
        self._seen: set[str] = set()
        self._has_seen_twice = False
        # The latest commit of which the consumer has seen an event.
        self._newest_seen = 0.0
        self._consumers = [
            Consumer([node.url for node in world.cluster.nodes], stream, self._on_seen) for stream in STREAMS
        ]
        # Faults after which the read models have yet to get what the consumer had seen by then.
        self._catching_up: list[tuple[Fault, int]] = []

    async def run(self) -> None:
        """Let it happen, come to rest, and write down how it ended."""
        world, plan = self._world, self._plan
        producers = [
            Producer(
                world.postgres.dsn(),
                number,
                random.Random(f"{plan.seed} {number}"),
                plan.rate / _PRODUCERS,
                self._ended,
                world.may_write,
                durable=number != 0,
            )
            for number in range(_PRODUCERS)
        ]
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(consumer.run()) for consumer in self._consumers]
            beside.append(group.create_task(self._watch_watermark()))
            beside.append(group.create_task(self._watch_models()))
            producing = [group.create_task(producer.run(self._quiet)) for producer in producers]
            await self._faults()
            self._quiet.set()
            if (await asyncio.wait(producing, timeout=_ENDS_S))[1]:
                self._history.note("a producer has not ended", wrong=True)
                await end(*producing)
            await self._rest()
            await end(*beside)
        await self._write_end()

    def _ended(self, transaction: Transaction) -> None:
        self._history.add(transaction)
        if transaction.outcome == "committed":
            for insert in transaction.inserts:
                if insert.id not in self._seen:
                    self._waiting[insert.id] = transaction.ended_at

    def _on_seen(self, seen: Seen) -> None:
        self._history.add(seen)
        self._has_seen_twice = self._has_seen_twice or seen.id in self._seen
        self._seen.add(seen.id)
        self._newest_seen = max(self._newest_seen, self._waiting.pop(seen.id, 0.0))

    async def _faults(self) -> None:
        rng, plan = self._rng, self._plan
        kinds = [KINDS[name] for name in plan.kinds]
        weights = [kind.weight for kind in kinds]
        made = 0
        # Everything works before anything is broken, however slowly it began; a mutant may have lost something already.
        with suppress(TimeoutError):
            async with asyncio.timeout(max(self._plan.patience_s, _BEGINS_S)):
                await self._recovered(time.monotonic())
                while not await self._models_are_at(self._orders_seen):
                    await asyncio.sleep(0.2)
        until = time.monotonic() + plan.seconds
        while time.monotonic() < until and (plan.faults is None or made < plan.faults):
            if plan.until_found and self._has_seen_twice:
                return
            count = 2 if rng.random() < plan.pairs else 1
            chosen = rng.choices(kinds, weights, k=count)
            if len({kind.component for kind in chosen}) < count:
                continue
            try:
                async with asyncio.timeout(_COMES_BACK_S + self._plan.patience_s):
                    await self._make(chosen)
            except TimeoutError:
                self._history.note(f"no end of: {', '.join(kind.name for kind in chosen)}", wrong=True)
                return
            made += count
            await asyncio.sleep(rng.uniform(0, 0.4))

    async def _make(self, kinds: list[Kind]) -> None:
        began_at = time.monotonic()
        rngs = [random.Random(self._rng.random()) for _ in kinds]
        targets = await asyncio.gather(
            *(make_again(kind, self._world, rng) for kind, rng in zip(kinds, rngs, strict=True))
        )
        back_at = time.monotonic()
        for kind, target in zip(kinds, targets, strict=True):
            if kind.of_readers:
                fault = Fault(_name(kind, kinds), target, began_at, back_at, None)
                self._catching_up.append((fault, self._orders_seen))
        if not all(kind.of_readers for kind in kinds):
            await self._forget_what_is_gone()
            recovered_at = None
            with suppress(TimeoutError):
                async with asyncio.timeout(self._plan.patience_s):
                    recovered_at = await self._recovered(back_at)
            for kind, target in zip(kinds, targets, strict=True):
                if not kind.of_readers:
                    self._history.add(Fault(_name(kind, kinds), target, began_at, back_at, recovered_at))
        self._look_after_processes()

    @property
    def _orders_seen(self) -> int:
        """The last sequence of the read models' stream that the consumer has seen."""
        return self._consumers[list(STREAMS).index(STREAM)].last

    async def _forget_what_is_gone(self) -> None:
        """Wait for no event whose commit the database has lost, or that the operator has deleted."""
        waiting = list(self._waiting)
        while True:
            with suppress(psycopg.OperationalError):
                there = await self._world.rows(
                    "SELECT id::text FROM outbox_events WHERE id = ANY(%s::uuid[])", (waiting,)
                )
                break
            await asyncio.sleep(0.2)
        for id_ in set(waiting).difference(id_ for (id_,) in there):
            self._waiting.pop(id_, None)

    async def _recovered(self, back_at: float) -> float:
        while self._newest_seen <= back_at or (self._waiting and next(iter(self._waiting.values())) <= back_at):
            await asyncio.sleep(0.01)
        return time.monotonic()

    def _look_after_processes(self) -> None:
        while self._world.wrong:
            self._history.note(self._world.wrong.pop(0), wrong=True)
        while self._world.entries:
            self._history.add(self._world.entries.pop(0))
        for process in (*self._world.replicas, *self._world.read_side.runners):
            if not process.relay.running:
                self._history.note(f"{process.name} ended by itself with {process.relay.wait()}", wrong=True)
                process.relay.start()

    async def _watch_models(self) -> None:
        """Write down when the read models have caught up after a fault."""
        while True:
            await asyncio.sleep(0.25)
            standings = await self._world.read_side.standings() if self._catching_up else None
            if standings is not None:
                seq, now = min(one.position for one in standings), time.monotonic()
                for fault, wanted in [one for one in self._catching_up if one[1] <= seq]:
                    self._catching_up.remove((fault, wanted))
                    self._history.add(replace(fault, recovered_at=now))

    async def _watch_watermark(self) -> None:
        while True:
            asked_at = time.monotonic()
            with suppress(psycopg.OperationalError, psycopg.InterfaceError, TimeoutError):
                async with asyncio.timeout(5):
                    found = await self._world.rows(
                        "SELECT min(watermark), extract(epoch FROM clock_timestamp())::float8,"
                        " CASE WHEN count(watermark_at) = count(*) THEN"
                        " extract(epoch FROM min(watermark_at) - clock_timestamp())::float8 END FROM outbox_shards"
                    )
                seq, read_at, behind = found[0]
                self._history.add(Watermark(seq, read_at, None if behind is None else asked_at + behind))
            await asyncio.sleep(0.25)

    async def _rest(self) -> None:
        """Wait until nothing is pending and the consumers have everything; if it takes too long, go on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._plan.patience_s):
                pending = 1
                while pending:
                    await asyncio.sleep(0.1)
                    pending = (
                        await self._world.rows(
                            "SELECT count(*) FROM outbox_events WHERE delivered_at IS NULL AND dead_at IS NULL"
                        )
                    )[0][0]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._plan.patience_s):
                for consumer, stream in zip(self._consumers, STREAMS, strict=True):
                    while consumer.last < (await self._last_seq(stream)):
                        await asyncio.sleep(0.1)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._plan.patience_s):
                last = await self._last_seq(STREAM)
                while self._catching_up or not await self._models_are_at(last):
                    await asyncio.sleep(0.2)

    async def _models_are_at(self, seq: int) -> bool:
        """Report whether every read model is so far, or has stopped."""
        standings = await self._world.read_side.standings()
        return standings is not None and all(one.position >= seq or one.status == "stopped" for one in standings)

    async def _last_seq(self, stream: str) -> int:
        return int((await self._world.ask(f"STREAM.INFO.{stream}"))["state"]["last_seq"])

    async def _write_end(self) -> None:
        history, world = self._history, self._world
        for fault, _ in self._catching_up:
            history.add(fault)
        for entry in await world.read_side.entries():
            history.add(entry)
        for process in (*world.all_replicas(), *world.read_side.runners):
            if process.relay.running and (why := await process.stop()) is not None:
                history.note(why, wrong=True)
            if "Traceback" in process.relay.text():
                history.note(f"{process.name} has a traceback in its log", wrong=True)
        for id_, seq, key, delivered, dead, stream, stream_seq, settled_at in await world.rows(_ROWS):
            is_now = settled(delivered=delivered, dead=dead)
            history.add(Row(id_, seq, key, is_now, bare(stream), stream_seq, settled_at))
        urls = [node.url for node in world.cluster.nodes]
        for name in STREAMS:
            try:
                async with asyncio.timeout(_ENDS_S):
                    last = await self._last_seq(name)
                    await Consumer(urls, name, _adder(history), last).run()
            except TimeoutError:
                history.note(f"stream {name} could not be read at the end", wrong=True)


def _adder(history: History) -> Callable[[Seen], None]:
    return lambda seen: history.add(Stored(seen.stream, seen.seq, seen.id))


def _name(kind: Kind, made: Sequence[Kind]) -> str:
    return kind.name if len(made) == 1 else f"{kind.name}{OF_TWO}"
