"""Let no cancellation be lost in a library that swallows it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Longer than whoever ends well takes for its last words, such as giving a lease back.
_AGAIN_S = 5.0


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


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended; with what they end is for the caller to ask.

    Each is cancelled again every few seconds, so that one ends that has swallowed it, or waits for a silent server in
    its last words.

    Raises:
        asyncio.CancelledError: Somebody waits for the end of this task. The others have ended all the same.
    """
    is_cancelled = False
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=_AGAIN_S)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError
