"""Run one partition of a projection: claim it, stay at the stream, and begin again after whatever ended the stay."""

import asyncio
import logging
import random
from dataclasses import dataclass

import psycopg

from relay.cancellation import end, heed_cancellation
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import Connection, connect
from relay.jetstream.errors import BrokerError
from relay.jetstream.listener import Listener
from relay.jetstream.stream_look import NoSuchStream
from relay.observe.logs import event as log_event
from relay.observe.projection_progress import FailureKind, PartitionProgress
from relay.postgres.database import OUTAGES
from relay.projection.definition import Definition
from relay.projection.outcome import Fenced, StatementUnfit, Stopped, Unfit
from relay.projection.owner import has_ended
from relay.projection.ports import LEASE_S, Effects, Ledger, why_lost
from relay.projection.refusal import refusal_of, without_values, words_of
from relay.projection.rules.refusals import RefusalClass
from relay.projection.term import Term, begin_term
from relay.projection.watermark_watch import WatermarkWatch

log = logging.getLogger(__name__)

_CLAIM_PAUSE_S = 1.0
_STANDING_S = 5.0
_MAX_PAUSE_S = 5.0
_RELEASE_S = 2.0
_OUTAGES = (*OUTAGES, OSError)


@dataclass(frozen=True)
class Way:
    """How a runner reaches NATS, and where the relay publishes its watermark; empty: nowhere."""

    options: NatsOptions
    watermark: str = ""

    async def connect(self) -> Connection:
        """Connect to one of the servers, each in its turn by chance.

        Raises:
            BrokerError: It could not be reached, or let us not in.
        """
        return await connect(self.options, random.choice(self.options.servers), Listener())


class Runner:
    """One partition of one projection, kept up to date for ever.

    Args:
        progress: Is told what becomes of it; it says which partition this is.
    """

    def __init__(
        self, definition: Definition, progress: PartitionProgress, ledger: Ledger, effects: Effects, way: Way
    ) -> None:
        self._definition = definition
        self._progress = progress
        self._ledger = ledger
        self._effects = effects
        self._way = way
        self._place = {"projection": definition.name, "partition": progress.partition}
        self._told: set[str] = set()

    async def run(self) -> None:
        """Claim the partition whenever it is free, and keep it up to date.

        Raises:
            ConfigError: The tables do not fit the definition.
        """
        await self._prepare()
        while True:
            epoch = await self._claimed()
            self._progress.claimed()
            log_event(log, "info", "projection.claimed", "the partition is ours", epoch=epoch, **self._place)
            try:
                await self._own(epoch)
            except Fenced as error:
                reason = await self._why_lost(error)
                log_event(
                    log, "warning", "projection.lost", "the partition is ours no more", reason=reason, **self._place
                )
                await self._release(epoch)
            except asyncio.CancelledError:
                await self._release(epoch)
                raise
            except BaseException as error:
                # It ends the process. The partition is not given back: the next claim counts a crash, so that an event
                # that does this each time is found.
                log_event(
                    log,
                    "error",
                    "projection.crashed",
                    "what nobody has foreseen ends the runner; an event that does so each time is refused in the end",
                    reason=type(error).__name__,
                    **self._place,
                )
                raise
            finally:
                self._progress.released()

    async def _why_lost(self, fenced: Fenced) -> str:
        """Return what became of the partition, as far as the store says now."""
        if isinstance(fenced.__cause__, Stopped):
            return str(fenced)
        try:
            return why_lost(await self._ledger.standing(), self._ledger.owner)
        except _OUTAGES as error:
            await self._ledger.drop(error)
            return str(fenced)

    async def _prepare(self) -> None:
        pause_s = 0.2
        while True:
            try:
                if await self._ledger.prepare():
                    log_event(
                        log,
                        "warning",
                        "projection.changed",
                        "the definition was changed without another version: it is for new events and for retries of "
                        "parked ones, not for what was applied",
                        **self._place,
                    )
            except (psycopg.Error, OSError) as error:
                await self._failed(error, None)
                pause_s = await _pause(pause_s)
            else:
                return

    async def _claimed(self) -> int:
        pause_s = 0.2
        looked_at: float | None = None
        owner: str | None = None
        while True:
            now = asyncio.get_running_loop().time()
            try:
                claim = await self._ledger.claim()
                if claim is None and (looked_at is None or now - looked_at >= _STANDING_S):
                    looked_at = now
                    standing = await self._ledger.standing()
                    owner = None if standing is None else standing.owner
                    if standing is not None:
                        self._progress.not_ours(standing)
                if claim is None and owner is not None and has_ended(owner):
                    await self._ledger.expire(owner)
                    claim = await self._ledger.claim()
                    owner, looked_at = None, None
            except (psycopg.Error, OSError) as error:
                await self._failed(error, None)
                looked_at = None
                pause_s = await _pause(pause_s)
                continue
            if claim is not None:
                return claim.epoch
            await asyncio.sleep(_CLAIM_PAUSE_S)

    async def _own(self, epoch: int) -> None:
        """Stay at the stream again and again.

        Raises:
            Fenced: The partition is ours no more.
        """
        pause_s = 0.2
        while True:
            began_at = asyncio.get_running_loop().time()
            try:
                await self._stay(epoch)
            except Stopped as error:
                log_event(
                    log, "error", "projection.stopped", "the projection has stopped", reason=str(error), **self._place
                )
                self._progress.stopped(str(error))
                await self._stop(epoch, error)
                raise Fenced("it has stopped") from error
            except (BrokerError, psycopg.Error, OSError) as error:
                if asyncio.get_running_loop().time() - began_at > LEASE_S:
                    pause_s = 0.2
                    self._told.clear()
                await self._failed(error, epoch)
                pause_s = await _pause(pause_s)

    async def _stay(self, epoch: int) -> None:
        connection = await self._way.connect()
        topics = [one.topic for one in self._definition.handlers]
        watch = WatermarkWatch(connection, self._definition.stream, topics, self._way.watermark)
        watching = asyncio.create_task(watch.run(), name="watermark")
        try:
            settler = await begin_term(
                self._definition, self._progress, self._ledger, self._effects, connection, epoch, self._way.watermark
            )
            await Term(self._definition, connection, settler, watch, self._progress).run()
        finally:
            try:
                await end(watching)
            finally:
                await connection.close()
            if not watching.cancelled():
                watching.result()

    async def _failed(self, error: Exception, epoch: int | None) -> None:
        """Report once why the projection waits, in the log and in its state, and keep the lease meanwhile.

        Raises:
            Fenced: The partition is ours no more.
        """
        if isinstance(error, psycopg.Error):
            reason = f"PostgreSQL: {words_of(error)}"
        else:
            reason = f"NATS: {error}" if isinstance(error, BrokerError) else str(error) or type(error).__name__
        self._progress.fails(_kind_of(error), reason)
        if reason not in self._told:
            self._told.add(reason)
            log_event(
                log,
                "warning",
                "projection.waiting",
                "the projection waits, and tries again",
                reason=reason,
                **self._place,
            )
        broken = isinstance(error, _OUTAGES) and not isinstance(error, BrokerError | StatementUnfit)
        if broken and (not isinstance(error, psycopg.Error) or refusal_of(error) is RefusalClass.OUTAGE):
            await self._ledger.drop(without_values(error))
        if epoch is None:
            return
        try:
            await self._ledger.beat(epoch, reason)
        except _OUTAGES as second:
            await self._ledger.drop(second)

    async def _stop(self, epoch: int, stopped: Stopped) -> None:
        """Write down why the projection has stopped, through outages."""
        pause_s = 0.2
        while True:
            try:
                await self._ledger.stop(epoch, str(stopped), stopped.gap_last)
            except _OUTAGES as error:
                await self._ledger.drop(error)
                pause_s = await _pause(pause_s)
            else:
                return

    async def _release(self, epoch: int) -> None:
        """Give the partition back, so that the next owner need not wait; the lease ends by itself if this fails."""
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._ledger.release(epoch)
        except _OUTAGES as error:
            await self._ledger.drop(error)
        heed_cancellation()


def _kind_of(error: Exception) -> FailureKind:
    """Return whether an error waits for something to come back, or for somebody to correct a setting."""
    if isinstance(error, psycopg.Error) and refusal_of(error) is not RefusalClass.OUTAGE:
        return "configuration"
    return "configuration" if isinstance(error, NoSuchStream | Unfit) else "outage"


async def _pause(pause_s: float) -> float:
    """Wait about so long; return how long to wait the next time."""
    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
    return min(_MAX_PAUSE_S, pause_s * 2)
