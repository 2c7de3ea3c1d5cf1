"""Apply events in Redis: one script a batch, which checks whose partition it is, applies, parks, and moves."""

import json
from collections.abc import Sequence
from typing import Any

from relay.projection.definition import Definition
from relay.projection.in_redis.client import RedisFault, RedisUnfit
from relay.projection.in_redis.ledger import LEASE_MS, RedisLedger
from relay.projection.in_redis.packing import Packed, chunk_name, of_columns, of_events, whole_chunks
from relay.projection.outcome import stopped_at
from relay.projection.ports import Batch, Move, Parked, Redone, Work
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.suspects import FULL


class RedisEffects:
    """Applies the events of one partition."""

    def __init__(self, definition: Definition, ledger: RedisLedger) -> None:
        self._definition = definition
        self._ledger = ledger
        self._numbers = {id(handler): number for number, handler in enumerate(definition.handlers, 1)}

    async def apply(self, epoch: int, move: Move, work: Work) -> Batch:
        """Apply a batch in one script.

        A script that must stop halfway has settled the events before, and moved the position behind the last of them:
        so load the position again after any error.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            Stopped: No more may be parked, or the projection stops at an event that is refused.
            RedisFault: Redis or the way to it failed, or a handler calls what it may not.
        """
        header = {
            **self._fence(epoch, move),
            "position": str(move.position),
            "position_time_ns": "" if move.time_ns is None else str(move.time_ns),
            "repeats": move.repeats,
            "numbered": move.numbered,
            "created": work.created,
            "policy": self._definition.on_refused,
            "streak": work.breaker.streak,
            "in_a_row": work.breaker.in_a_row,
            "newest": {chunk_name(one): repr(chunk.newest) for one, chunk in work.bits.items() if chunk.newest},
        }
        count = len(work.due) + len(work.behind)
        chunks = whole_chunks(work.bits, count)
        halted, why, *answers = await self._run("apply", header, self._packed(work), *chunks)
        if halted == b"misuse":
            raise RedisUnfit(f"a handler cannot go on: {bytes(why).decode('utf-8', 'replace')}")
        batch = Batch(work.created, work.breaker.copy())
        if count and not answers:
            batch.add_applied(count)
            batch.breaker.applied()
            return batch
        # The last answer of a script that was halted is of the event that halted it.
        self._count(batch, _in_order(work)[: int(answers[-2]) if halted else count], answers)
        if halted == b"refused":
            event, word = batch.refused[-1]
            raise stopped_at(event.stream_seq, word)
        if halted == b"full":
            batch.check()
            raise RedisFault("somebody else has changed what is parked")
        return batch

    @property
    def limit(self) -> int:
        """How many messages may be applied at once."""
        return FULL

    async def do_as_wanted(self, epoch: int, move: Move, rows: Sequence[Parked]) -> Redone:
        """Retry or skip parked events of one key in one script, in their order, until one is refused.

        What is skipped is given up wherever it stands: nothing else of the key depends on it.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            RedisFault: Redis or the way to it failed.
        """
        events: list[Incoming] = []
        handlers: list[int | None] = []
        taken: list[Parked] = []
        for parked in sorted(rows, key=lambda one: one.wanted != "skip"):
            if parked.wanted is None and parked.reason is not None:
                break
            handler, fault = self._definition.handler_to_retry(parked.event)
            events.append(parked.event._replace(fault=fault))
            handlers.append(None if handler is None else self._numbers[id(handler)])
            taken.append(parked)
        header = {
            **self._fence(epoch, move),
            "number": [one.number for one in taken],
            "wanted": [one.wanted for one in taken],
        }
        applied, skipped, *failed = await self._run("want", header, of_events(events, handlers))
        if not failed:
            return Redone(applied, skipped)
        event = events[int(failed[0]) - 1]
        return Redone(applied, skipped, (event, event.fault or bytes(failed[1]).decode()))

    def _packed(self, work: Work) -> Packed:
        """Return the events of a batch for the script, in the order of `_in_order`."""
        if work.alike is not None:
            return of_columns(work.alike, self._numbers[id(work.alike.handler)])
        handlers = {event.stream_seq: self._numbers[id(handler)] for event, handler in work.due}
        events = _in_order(work)
        return of_events(events, [handlers.get(event.stream_seq) for event in events])

    def _count(self, batch: Batch, events: Sequence[Incoming], answers: Sequence[Any]) -> None:
        """Count what the script has answered: pairs of a place, and a word that says why that event was not applied."""
        words = {int(place): bytes(word).decode() for place, word in zip(answers[::2], answers[1::2], strict=True)}
        for place, event in enumerate(events, 1):
            word = words.get(place)
            if word is None:
                batch.add_applied(1)
                batch.breaker.applied()
            elif not word:
                batch.breaker.parked(event.key)
            else:
                if self._definition.on_refused == "park":
                    batch.breaker.refused(event.key)
                batch.add_refused(event, event.fault or word)

    def _fence(self, epoch: int, move: Move) -> dict[str, Any]:
        return {
            "epoch": str(epoch),
            "owner": self._ledger.owner,
            "previous": str(move.previous),
            "lease_ms": LEASE_MS,
        }

    async def _run(self, what: str, header: dict[str, Any], packed: Packed, *chunks: str | bytes) -> Any:
        ledger = self._ledger
        text = json.dumps({**header, **packed.header})
        args = (text, packed.payloads, *packed.texts, *chunks)
        return ledger.unfenced(await ledger.client.run(ledger.script, ledger.prefix, what, *args))


def _in_order(work: Work) -> list[Incoming]:
    """Return the events of a batch as the script takes them: what only waits behind a parked event in its own place."""
    return sorted([event for event, _ in work.due] + list(work.behind), key=lambda event: event.stream_seq)
