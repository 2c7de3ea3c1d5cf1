"""Run what one relay does for all: the duties.

A duty knows its own work alone. The runner knows the rest: it waits for a connection to NATS, takes a turn only while
this relay leads, makes longer pauses while turns fail, and logs a failure once until it changes or is over.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from relay.errors import StatementRefused
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.observe.logs import Level
from relay.observe.logs import event as log_event

log = logging.getLogger(__name__)

# How soon a relay notices that it leads now, seconds.
_LOOK_S = 1.0


@dataclass(frozen=True)
class LogLine:
    """What a duty says in the log; the runner decides when."""

    level: Level
    action: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)


class DutyFailed(Exception):
    """A turn failed. What it had done until then stands; the next turn does the rest.

    Args:
        reason: Why; the same reason is logged once.
        line: How it is logged; `reason` is added to its fields.
        over: What is logged when a turn succeeds again; None logs nothing.
    """

    def __init__(self, reason: str, line: LogLine, over: LogLine | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.over = over


class Duty(Protocol):
    """One thing that one relay does for all, again and again.

    Attributes:
        every_s: The usual pause between two turns, which doubles with each turn that fails, seconds.
        longest_pause_s: The longest pause after failures, seconds; `every_s` if that is longer.
    """

    every_s: float
    longest_pause_s: float

    async def turn(self, connection: Connection) -> float:
        """Do what there is to do now.

        Returns:
            Seconds until the next turn.

        Raises:
            DutyFailed: It could not be done.
            StatementRefused: PostgreSQL refused a statement for what it says.
            BrokerError: NATS did not answer, or the connection has ended.
        """

    def stand_down(self) -> None:
        """Show nothing: there is no connection, or another relay leads. May be called again and again."""


class Leadership(Protocol):
    """Whether this relay is the one that works for all."""

    @property
    def leads(self) -> bool:
        """Whether it is, now."""


def retry_pause_s(failures: int, every_s: float, longest_s: float) -> float:
    """Return the pause after turns that failed: doubled with each, from `every_s` on.

    Args:
        failures: How many turns in a row have failed; 0 gives `every_s`.
        every_s: The usual pause, seconds.
        longest_s: The longest pause, seconds; `every_s` if that is longer.
    """
    return min(every_s * 2.0 ** min(failures, 30), max(longest_s, every_s))


class DutyRunner:
    """Runs one duty."""

    def __init__(self, duty: Duty, leadership: Leadership) -> None:
        self._duty = duty
        self._leadership = leadership
        self._connection: Connection | None = None
        self._renewed = asyncio.Event()
        self._failures = 0
        self._reported: str | None = None
        self._over: LogLine | None = None

    @property
    def name(self) -> str:
        """What it does, for the names of tasks."""
        return type(self._duty).__name__

    def attach(self, connection: Connection) -> None:
        """Work over this connection: the next turn comes at once."""
        self._connection = connection
        self._failures = 0
        self._renewed.set()

    def detach(self) -> None:
        """Take no further turn: the connection has ended."""
        self._connection = None
        self._duty.stand_down()

    async def run(self) -> None:
        """Take turns for ever."""
        try:
            while True:
                connection = self._connection
                if connection is None or not connection.up or not self._leadership.leads:
                    self._duty.stand_down()
                    await self._rest(_LOOK_S)
                    continue
                pause_s = await self._turn(connection)
                if connection is self._connection:
                    await self._rest(pause_s)
        finally:
            self._duty.stand_down()

    async def _turn(self, connection: Connection) -> float:
        try:
            pause_s = await self._duty.turn(connection)
        except DutyFailed as failed:
            self._report(failed)
            return self._failed()
        except StatementRefused as error:
            self._report(
                DutyFailed(
                    str(error),
                    LogLine(
                        "error",
                        "duty.refused",
                        "PostgreSQL refuses what the relay does in the background; it is retried",
                        {"duty": self.name},
                    ),
                )
            )
            return self._failed()
        except BrokerError as error:
            log.debug("%s: NATS did not answer: %s", self.name, error)
            return self._failed()
        self._failures = 0
        self._reported = None
        over, self._over = self._over, None
        if over is not None:
            log_event(log, over.level, over.action, over.message, **over.fields)
        return pause_s

    def _failed(self) -> float:
        self._failures += 1
        return retry_pause_s(self._failures, self._duty.every_s, self._duty.longest_pause_s)

    def _report(self, failed: DutyFailed) -> None:
        if failed.reason != self._reported:
            self._reported, self._over = failed.reason, failed.over
            line = failed.line
            log_event(log, line.level, line.action, line.message, **line.fields, reason=failed.reason)

    async def _rest(self, pause_s: float) -> None:
        """Pause, unless a new connection comes."""
        self._renewed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._renewed.wait()
