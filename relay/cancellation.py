"""Let no cancellation be lost in a library that swallows it."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

# Longer than whoever ends well takes for its last words, such as giving a lease back.
_AGAIN_S = 5.0
# The same where somebody outside waits for our end, and kills us if it takes too long.
SOON_S = 1.0


def heed_cancellation() -> None:
    """Leave by a cancellation if the running task was cancelled and went on all the same.

    nats-py swallows one while it waits for room in its buffer, and unsubscribing from an ended connection replaces it
    by an error; `asyncio.wait_for`, on which nats-py and redis-py build, swallows one that comes together with the
    answer (before Python 3.12). A task that goes on as if nothing had happened never ends, and nor does the relay that
    awaits it.

    Raises:
        asyncio.CancelledError: Somebody waits for the end of this task.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def honour_cancellation() -> Iterator[None]:
    """Heed what came while the block ran, whether it ended by itself or by an error.

    Raises:
        asyncio.CancelledError: Somebody waits for the end of this task.
    """
    try:
        yield
    finally:
        heed_cancellation()


async def end(*tasks: asyncio.Task[Any], again_s: float | None = None, were_cancelled: bool = False) -> None:
    """Cancel tasks until they have ended; with what they end is for the caller to ask.

    Each is cancelled again after `again_s` seconds (None: 5), so that one ends that has swallowed it, or waits for a
    silent server in its last words. If they were cancelled before this, none is disturbed in these until then.

    Raises:
        asyncio.CancelledError: Somebody waits for the end of this task. The others have ended all the same.
    """
    is_cancelled = False
    while left := [task for task in tasks if not task.done()]:
        for task in () if were_cancelled else left:
            task.cancel()
        were_cancelled = False
        try:
            await asyncio.wait(left, timeout=_AGAIN_S if again_s is None else again_s)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError


async def all_of(*works: Coroutine[Any, Any, T]) -> list[T]:
    """Await several things at once; as soon as one fails, or this is cancelled, end the others as `end` does.

    `asyncio.TaskGroup` cancels each once, and cancels none of them again if it is cancelled again itself.

    Raises:
        Exception: What one of them has raised; the others have ended.
        asyncio.CancelledError: Somebody waits for the end of this task. Likewise.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return []
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await end(*tasks, again_s=SOON_S)
    for task in done:
        task.result()
    return [task.result() for task in tasks]


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await something for so many seconds, and have it ended soon after.

    `asyncio.timeout` cancels once. The driver of PostgreSQL then has the server end the statement, and waits for that:
    with a frozen server as long as a statement may take.

    Raises:
        TimeoutError: It was not done.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        await end(task, again_s=SOON_S)
    if task.cancelled():
        raise TimeoutError
    return task.result()
