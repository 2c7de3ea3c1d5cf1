"""Apply events in Redis: one script a batch, which checks whose partition it is, applies, parks, and moves."""

import json
from collections.abc import Sequence
from typing import Any

from relay.projection.definition import Definition, Handler
from relay.projection.in_redis.client import RedisFault, RedisUnfit
from relay.projection.in_redis.ledger import LEASE_MS, RedisLedger, chunk_name
from relay.projection.outcome import stopped_at
from relay.projection.ports import Batch, Move, Parked, Redone, Work
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.seq_bits import CHUNK_SEQS, chunk_of


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
        handlers = {event.stream_seq: handler for event, handler in work.due}
        # What waits behind a parked event is told by the script as well, so that both kinds keep one order.
        events = sorted([event for event, _ in work.due] + list(work.behind), key=lambda event: event.stream_seq)
        header = {
            **self._fence(epoch, move),
            "position": str(move.position),
            "time_ns": "" if move.time_ns is None else str(move.time_ns),
            "repeats": move.repeats,
            "numbered": move.numbered,
            "created": work.created,
            "policy": self._definition.on_refused,
            "streak": work.breaker.streak,
            "in_a_row": work.breaker.in_a_row,
            "newest": {chunk_name(one): repr(chunk.newest) for one, chunk in work.bits.items() if chunk.newest},
            "events": [self._event(event, handlers.get(event.stream_seq)) for event in events],
        }
        halted, why, *answers = await self._run("apply", header, events)
        if halted == b"misuse":
            raise RedisUnfit(f"a handler cannot go on: {bytes(why).decode('utf-8', 'replace')}")
        # The last answer of a script that was halted is of the event that halted it.
        batch = Batch(work.created, work.breaker.copy())
        self._count(batch, events[: int(answers[-2])] if halted else events, answers)
        if halted == b"refused":
            event, word = batch.refused[-1]
            raise stopped_at(event.stream_seq, word)
        if halted == b"full":
            batch.check()
            raise RedisFault("somebody else has changed what is parked")
        return batch

    async def do_as_wanted(self, epoch: int, move: Move, rows: Sequence[Parked]) -> Redone:
        """Retry or skip parked events of one key in one script, in their order, until one is refused.

        What is skipped is given up wherever it stands: nothing else of the key depends on it.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            RedisFault: Redis or the way to it failed.
        """
        taken: list[dict[str, Any]] = []
        events: list[Incoming] = []
        for parked in sorted(rows, key=lambda one: one.wanted != "skip"):
            if parked.wanted is None and parked.reason is not None:
                break
            handler, fault = self._definition.handler_to_retry(parked.event)
            event = parked.event._replace(fault=fault)
            taken.append({**self._event(event, handler), "number": parked.number, "wanted": parked.wanted})
            events.append(event)
        applied, skipped, *failed = await self._run("want", {**self._fence(epoch, move), "events": taken}, events)
        if not failed:
            return Redone(applied, skipped)
        event = events[int(failed[0]) - 1]
        return Redone(applied, skipped, (event, event.fault or bytes(failed[1]).decode()))

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

    def _event(self, event: Incoming, handler: Handler | None) -> dict[str, Any]:
        chunk_id = chunk_of(event)
        found: dict[str, Any] = {
            "handler": None if handler is None else self._numbers[id(handler)],
            "key": event.key,
            "seq": None if event.seq is None else str(event.seq),
            "stream_seq": str(event.stream_seq),
            "time_ns": str(event.time_ns),
            "id": event.id,
            "topic": event.topic,
            "at": event.at,
            "version": event.version,
            "fault": event.fault,
            "headers": json.dumps(dict(event.headers)),
        }
        if chunk_id is not None and event.seq is not None:
            # Redis counts the bits of a byte from the highest; the chunks count from the lowest.
            byte, bit = divmod(event.seq % CHUNK_SEQS, 8)
            found |= {"chunk": chunk_name(chunk_id), "bit": byte * 8 + 7 - bit}
        return found

    async def _run(self, what: str, header: dict[str, Any], events: Sequence[Incoming]) -> Any:
        ledger = self._ledger
        payloads = [event.payload for event in events]
        return ledger.unfenced(
            await ledger.client.run(ledger.script, ledger.prefix, what, json.dumps(header), *payloads)
        )
