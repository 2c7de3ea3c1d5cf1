"""Read a large result in few wakes of the loop.

The server sends 8 KiB at a time, and libpq reads 16 KiB at most. So a thousand rows of 256 bytes woke the loop thirty
times, and each wake costs more than reading. What goes on for longer than a few wakes is left alone for a millisecond,
and all that is there then is read at once.
"""

import asyncio
import select
import time
from typing import Generic, TypeVar

from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

# What ends within so many wakes has no pause in it: some 30 KiB.
_FEW_WAKES = 2
# More pauses are not made, so that they are 8 ms of a result at most.
_MOST_PAUSES = 8
_PAUSE_S = 0.001
# How long reading may keep the loop from its other work, seconds.
_BUSY_S = 0.002

T = TypeVar("T")


class Parts(Generic[T]):
    """A generator of the driver, run in parts between which there is a pause.

    Args:
        whole: What the driver would run.
        fileno: Its socket.
    """

    def __init__(self, whole: PQGen[T], fileno: int) -> None:
        self._whole = whole
        self._fileno = fileno
        self._wanted: Wait | None = None
        self._wakes = 0
        self._pauses_left = _MOST_PAUSES
        # What the generator has returned, alone in a list.
        self.result: list[T] = []

    def next_part(self) -> PQGen[bool]:
        """Go on until the next pause; return whether that was the last part."""
        whole = self._whole
        try:
            wanted = next(whole) if self._wanted is None else self._wanted
            while True:
                ready = yield wanted
                if ready is None:
                    # The driver was interrupted, has ended the statement, and reads what is left of it.
                    self._pauses_left = 0
                wanted = whole.send(ready)
                if wanted != Wait.R:
                    continue
                self._wakes += 1
                if self._wakes > _FEW_WAKES:
                    wanted = self._read_on(wanted)
                    if self._pauses_left > 0:
                        self._pauses_left -= 1
                        self._wanted = wanted
                        return False
        except StopIteration as end:
            self.result.append(end.value)
            return True

    def _read_on(self, wanted: Wait) -> Wait:
        """Read what is there already.

        Raises:
            StopIteration: That was all.
        """
        poll, until = select.poll(), time.monotonic() + _BUSY_S
        poll.register(self._fileno, select.POLLIN)
        while wanted == Wait.R and poll.poll(0) and time.monotonic() < until:
            wanted = self._whole.send(Ready.R)
        return wanted


async def pause() -> None:
    """Pause between two parts; if the task is cancelled meanwhile, have it cancelled at its next wait instead."""
    try:
        await asyncio.sleep(_PAUSE_S)
    except asyncio.CancelledError:
        cancel_at_next_wait()


def cancel_at_next_wait() -> None:
    """Have the running task, which was just cancelled, cancelled at its next wait instead.

    That is the driver's, which ends the statement at the server and reads what is left of it.

    Raises:
        asyncio.CancelledError: No task is running.
    """
    task = asyncio.current_task()
    if task is None:
        raise asyncio.CancelledError
    task.uncancel()
    task.cancel()
