"""Changes that are being made: they go on when the tab is closed, and end after a batch when the console does."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

import psycopg

from relay.errors import RelayError
from relay.observe.logs import event as log_event
from relay.operate.access import foreseen
from relay.operate.claim import Taken

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 4
_MOST_KEPT = 200


class Stopped(Exception):
    """The console is told to stop. What the audit table counts is done; the rest can be done again."""


class TooMany(RelayError):
    """Too many changes are being made at once. Nothing was begun."""


@dataclass
class Job:
    """One change; its thread writes it, and pages read it.

    Attributes:
        number: Of its line in the audit table, which knows it after this process, too.
        what: What is done, as the preview said it.
        command: The same as a command.
        planned: How many events match; None before they were looked for.
        done: How many were looked at.
        changed: How many were changed; None before the end.
        note: What it waits for.
        fault: Why it was broken off.
        page: Where the events are shown, below the base path; None if they cannot be told from others.
    """

    number: int
    what: str
    command: str
    acting: str
    page: str | None = None
    began_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    planned: int | None = None
    done: int = 0
    changed: int | None = None
    note: str = ""
    fault: str | None = None
    stop: Event = field(default_factory=Event)

    def begin(self, planned: int) -> None:
        """Take note of how many events match."""
        self.planned = planned

    def finish(self, changed: int) -> None:
        """Take note that it is done, and of how many events were changed."""
        self.changed = changed

    def end(self, fault: str | None) -> None:
        """Take note that nothing more is done, and why if it was broken off."""
        self.fault, self.ended_at = fault, time.time()

    def advance(self, events: int) -> None:
        """Take note that so many more are done, in transactions that are committed.

        Raises:
            Stopped: No further batch is to be begun.
        """
        self.done += events
        self.note = ""
        if self.stop.is_set():
            raise Stopped

    def tell(self, text: str) -> None:
        """Take note of what is waited for."""
        self.note = text


class Jobs:
    """All changes of this console, the newest last; used from the event loop."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def check_room(self, number: int | None) -> None:
        """Find out whether another change may be begun, or one gone on with.

        Raises:
            Taken: This one is being made here.
            TooMany: Others are being made.
        """
        if number is not None and number in self._tasks:
            job = self._jobs.get(number)
            who = "this console" if job is None else job.acting
            raise Taken(f"change {number} is being made by {who}: see how far it is with `relay audit`")
        if len(self._tasks) >= _MOST_AT_ONCE:
            raise TooMany(f"{_MOST_AT_ONCE} changes are being made: wait until one has ended")

    def start(self, job: Job, work: Callable[[Job], None]) -> None:
        """Do a change that was begun, in a thread of its own.

        Raises:
            Taken, TooMany: As `check_room` does; what was begun can be gone on with.
        """
        self.check_room(job.number)
        # In the order of their beginning, also if one is gone on with.
        self._jobs.pop(job.number, None)
        self._jobs[job.number] = job
        while len(self._jobs) > _MOST_KEPT:
            del self._jobs[next(iter(self._jobs))]
        self._tasks[job.number] = asyncio.create_task(self._run(job, work))

    def find(self, number: int) -> Job | None:
        """Return a change of this console, None if there is none with this number."""
        return self._jobs.get(number)

    async def close(self) -> None:
        """Have every change end after its batch, and wait for that."""
        for number in self._tasks:
            self._jobs[number].stop.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _run(self, job: Job, work: Callable[[Job], None]) -> None:
        fault: str | None = "a fault that nobody foresaw: see the log"
        try:
            await asyncio.to_thread(work, job)
            fault = None
        except Stopped:
            fault = "the console was told to stop"
        except RelayError as error:
            fault = str(error)
        except psycopg.Error as error:
            cause = foreseen(error)
            if cause is None:
                raise
            fault = str(cause)
        finally:
            job.end(fault)
            self._tasks.pop(job.number, None)
            log_event(
                log,
                "info" if job.fault is None else "error",
                "console.changed",
                "an operator changed events" if job.fault is None else "a change of an operator was broken off",
                who=job.acting,
                what=job.what,
                events=job.done if job.changed is None else job.changed,
                reason=job.fault,
            )
