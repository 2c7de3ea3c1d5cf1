"""The link to NATS: a connection that is made again whenever it ends, and handed to all who use it."""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from relay.cancellation import end
from relay.credentials import is_auth_error
from relay.jetstream.client import NatsOptions
from relay.jetstream.connection import UNANSWERED, Connection, connect
from relay.jetstream.errors import BrokerError
from relay.jetstream.listener import Listener
from relay.jetstream.managed_stream import ManagedStream, ensure_stream
from relay.observe.logs import event as log_event
from relay.rules.failure.ping_patience import CALM_S, PingPatience
from relay.rules.failure.retry_backoff import backoff

log = logging.getLogger(__name__)

# A connection that lives as long has proved itself, seconds. Others are made again after growing pauses.
_PROVEN_S = 10.0
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
# A stream that could not be made as configured is tried again after so many seconds: a cluster may have no leader yet.
_UNMANAGED_PAUSE_S = 5.0
# A server over which JetStream answers nothing for so long is left for the next one, if there are several: it may be
# cut off from its cluster. Longer than a connection takes to prove itself.
_SILENT_S = 15.0
_LOOK_S = 1.0
# So many in a row may live shortly before the relay is called unable to send, until an event is stored: a server that
# restarts ends one or two.
_TOLERATED = 2


class ConnectionUser(Protocol):
    """Whoever uses the connection."""

    def attach(self, connection: Connection) -> None:
        """Use this connection from now on."""

    def detach(self) -> None:
        """Use none: it has ended."""


class Reconnector:
    """Keeps a connection to NATS: one line in the log when it is lost, one when it stands again.

    Args:
        stream: The stream that each new connection makes or adjusts, and again until that is done; None leaves streams
            alone.
        listener: Hears what comes on each connection.
        users: Get each connection, in this order, and are told of its end.

    Attributes:
        trouble: Why nothing can be sent over NATS now; None while it can.
    """

    def __init__(
        self,
        options: NatsOptions,
        stream: ManagedStream | None,
        *,
        listener: Listener,
        users: Sequence[ConnectionUser],
    ) -> None:
        self._options = options
        self._patience = PingPatience(options.ping_interval_s)
        self._stream = stream
        self._listener = listener
        self._users = users
        self.trouble: str | None = "not connected"
        # Not every relay begins with the first server.
        self._servers = random.sample(options.servers, len(options.servers))
        self._lost = False
        self._told: set[str] = set()
        # Connections in a row that have lived shortly.
        self._short_lived = 0
        # Why the stream is not as configured; None if it is.
        self._unmanaged: str | None = None

    async def run(self) -> None:
        """Keep it for ever; the connection ends with the task."""
        connection: Connection | None = None
        try:
            while True:
                connection = await self._connected()
                self._lost = False
                self._told.clear()
                log_event(log, "info", "nats.connected", "connected to NATS", version=connection.server)
                for user in self._users:
                    user.attach(connection)
                reason = await self._managed_life(connection)
                for user in self._users:
                    user.detach()
                log_event(
                    log,
                    "warning",
                    "nats.lost",
                    "the connection to NATS ended; what was in flight is sent again",
                    reason=reason,
                )
                self._lost = True
                self._told.add(reason)
                await connection.close()
                connection = None
                if self._short_lived > 1:
                    await asyncio.sleep(backoff(self._short_lived - 1, _PAUSE_S, _LONGEST_PAUSE_S, random.random()))
        finally:
            self.trouble = "not connected"
            if connection is not None:
                await connection.close()

    async def _managed_life(self, connection: Connection) -> str:
        """Wait until the connection has ended, and try the stream again meanwhile; return why it has ended."""
        beside = [
            asyncio.create_task(self._manage_later(connection), name="manage"),
            asyncio.create_task(self._end_trouble(connection), name="prove"),
            asyncio.create_task(self._leave_silent(connection), name="leave"),
            asyncio.create_task(self._calm(connection), name="calm"),
        ]
        try:
            return await self._life(connection)
        finally:
            await end(*beside)

    async def _end_trouble(self, connection: Connection) -> None:
        """Call the relay able to send as soon as an event was stored: no time that a connection lives proves more."""
        await connection.proved()
        self.trouble = None

    async def _calm(self, connection: Connection) -> None:
        """Expect answers to pings in the usual time once a connection has lived for a while."""
        await asyncio.sleep(CALM_S)
        connection.ping_each(self._patience.calm())

    async def _leave_silent(self, connection: Connection) -> None:
        """End a connection over which JetStream answers nothing, if another server may do better."""
        if len(self._servers) == 1:
            return
        while True:
            left = _SILENT_S - connection.silent_s()
            if left <= 0:
                connection.give_up(f"JetStream has answered nothing over this server for {_SILENT_S:g} s")
                return
            await asyncio.sleep(max(_LOOK_S, left))

    async def _manage_later(self, connection: Connection) -> None:
        """Make the stream as configured as soon as JetStream does it, if that has failed before."""
        with suppress(BrokerError):  # the connection has ended
            while self._unmanaged is not None:
                await asyncio.sleep(_UNMANAGED_PAUSE_S)
                await self._manage(connection)

    async def _manage(self, connection: Connection) -> None:
        """Make the stream as configured, or report once for each reason that it is not.

        Raises:
            BrokerError: The connection has ended.
        """
        if self._stream is None:
            return
        try:
            await ensure_stream(connection, self._stream)
            self._unmanaged = None
        except BrokerError as error:
            if not connection.up:
                raise
            if str(error) != self._unmanaged:
                log_event(log, "error", "stream.unmanaged", "the stream is not as configured", reason=str(error))
            self._unmanaged = str(error)

    async def _life(self, connection: Connection) -> str:
        """Wait until the connection has ended; return why."""
        if self._short_lived <= _TOLERATED:
            self.trouble = None
        try:
            async with asyncio.timeout(_PROVEN_S):
                reason = await connection.ended()
            self._short_lived += 1
        except TimeoutError:
            self._short_lived = 0
            self.trouble = None
            reason = await connection.ended()
        if reason == UNANSWERED:
            self._patience.unanswered()
        ends = f"connections end soon after they are made, {self._short_lived} in a row: "
        self.trouble = f"{ends if self._short_lived > _TOLERATED else ''}{reason}"
        return reason

    async def _connected(self) -> Connection:
        """Try the servers in turn until one lets us in."""
        async for attempt in AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.2, max=2),
            retry=retry_if_exception_type(BrokerError),
            after=self._tell,
        ):
            with attempt:
                self._servers.append(self._servers.pop(0))
                return await self._connect(self._servers[-1])
        raise AssertionError("tenacity retries without end")

    async def _connect(self, server: str) -> Connection:
        options = replace(self._options, ping_interval_s=self._patience.interval_s)
        connection = await connect(options, server, self._listener)
        async with AsyncExitStack() as otherwise:
            otherwise.push_async_callback(connection.close)
            await self._manage(connection)
            otherwise.pop_all()
        return connection

    def _tell(self, state: RetryCallState) -> None:
        """Report once that NATS cannot be reached, and each new reason for which it rejects our credentials."""
        reason = "" if state.outcome is None else str(state.outcome.exception())
        self.trouble = reason
        if not self._lost or (is_auth_error(reason) and reason not in self._told):
            self._lost = True
            self._told.add(reason)
            log_event(
                log,
                "warning",
                "nats.unreachable",
                "NATS cannot be used; trying again until it can",
                reason=reason,
            )
