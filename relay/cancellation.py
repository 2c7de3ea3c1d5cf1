"""Let no cancellation be lost in a library that swallows it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


def heed_cancellation() -> None:
    """Leave by a cancellation if the running task was cancelled and went on all the same.

    nats-py swallows one while it waits for room in its buffer, and unsubscribing from an ended connection replaces it
    by an error; `asyncio.wait_for`, on which nats-py builds, swallows one that comes together with the answer (before
    Python 3.12). A task that goes on as if nothing had happened never ends, and nor does the relay that awaits it.

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
