"""Ask NATS again and again beside the database, for ``relay status --watch``."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from relay.config.settings import Settings
from relay.errors import Unreachable
from relay.operate.broker import broker
from relay.operate.nats_status import NatsView, look

_AGAIN_S = 0.5


class NatsWatch:
    """Asks again and again in a thread of its own, so that nobody waits for a NATS that is away.

    Attributes:
        view: The latest answer, None before the first one.
        streams: Which streams are asked for.
    """

    def __init__(self, settings: Settings, every_s: float) -> None:
        self.view: NatsView | None = None
        self.streams: Sequence[str] = ()
        self._settings = settings
        self._every_s = every_s
        self._answered = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="nats")

    def ask_for(self, streams: Sequence[str]) -> None:
        """Ask for these streams from the next time on."""
        self.streams = streams

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A library swallows a cancellation that comes just as its own wait ends: it is said again then.
        while self._loop is not None and self._task is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(_AGAIN_S)
        self._thread.join()

    @property
    def begun(self) -> bool:
        """Whether it asks."""
        return self._begun.is_set()

    def first(self, timeout_s: float) -> None:
        """Wait for the first answer, at most `timeout_s` seconds."""
        self._answered.wait(timeout_s)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.create_task(self._poll())
        self._begun.set()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _poll(self) -> None:
        while True:
            try:
                async with broker(self._settings) as connection:
                    while connection.up:
                        self._show(await look(connection, self.streams))
                        await asyncio.sleep(self._every_s)
                self._show(NatsView(unreachable="the connection has ended"))
            except Unreachable as error:
                self._show(NatsView(unreachable=str(error)))
            await asyncio.sleep(self._every_s)

    def _show(self, view: NatsView) -> None:
        self.view = view
        self._answered.set()
