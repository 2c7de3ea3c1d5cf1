"""What NATS says of the streams that are published to, and of their consumers, for ``relay status``."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from relay.config.settings import Settings
from relay.errors import Unreachable
from relay.jetstream.connection import BrokerError, Connection
from relay.jetstream.consumer_info import consumers_of
from relay.observe.snapshot import ConsumerView
from relay.operate.broker import broker

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream.

    Attributes:
        missing: Why nothing is known of it; None: it is.
        room: What is left of its narrowest limit, as a share of it; None without a limit.
        limit: What that limit is, such as ``max_bytes``.
        refuses: Whether it refuses new messages when it is full, instead of letting old ones go.
    """

    name: str
    missing: str | None = None
    messages: int = 0
    bytes: int = 0
    last_seq: int = 0
    room: float | None = None
    limit: str | None = None
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class NatsView:
    """What NATS says at one moment.

    Attributes:
        unreachable: Why it could not be asked; None: it was.
        consumers: The durable ones, the furthest behind first; None where this account may not ask.
    """

    unreachable: str | None = None
    server: str = ""
    streams: tuple[StreamView, ...] = ()
    consumers: tuple[ConsumerView, ...] | None = ()


async def ask(settings: Settings, streams: Sequence[str]) -> NatsView:
    """Connect, ask once, and close."""
    try:
        async with broker(settings) as connection:
            return await look(connection, streams)
    except Unreachable as error:
        return NatsView(unreachable=str(error))


async def look(connection: Connection, streams: Sequence[str]) -> NatsView:
    """Ask for some streams and their consumers.

    Raises:
        BrokerError: The connection has ended.
    """
    seen = [await _stream(connection, name) for name in streams]
    consumers: list[ConsumerView] | None = []
    for stream in seen:
        if stream.missing is None and consumers is not None:
            try:
                consumers += await consumers_of(connection, stream.name)
            except BrokerError:
                if not connection.up:
                    raise
                consumers = None
    if consumers is not None:
        consumers.sort(key=lambda one: (-(one.pending + one.unacknowledged), one.stream, one.consumer))
    return NatsView(None, connection.server, tuple(seen), None if consumers is None else tuple(consumers))


async def _stream(connection: Connection, name: str) -> StreamView:
    try:
        info = await connection.request(f"STREAM.INFO.{name}", None, _ANSWER_S)
    except BrokerError as error:
        if not connection.up:
            raise
        return StreamView(name, missing=str(error))
    if "error" in info:
        return StreamView(name, missing=str(info["error"].get("description")))
    config, state = info["config"], info["state"]
    room, limit = _room(config, state)
    return StreamView(
        name=name,
        messages=state["messages"],
        bytes=state["bytes"],
        last_seq=state["last_seq"],
        room=room,
        limit=limit,
        refuses=config.get("discard") == "new",
    )


def _room(config: dict[str, Any], state: dict[str, Any]) -> tuple[float | None, str | None]:
    shares = [
        (1 - state[held] / config[limit], limit)
        for limit, held in (("max_msgs", "messages"), ("max_bytes", "bytes"))
        if config.get(limit, -1) > 0
    ]
    return min(shares, default=(None, None))


class NatsWatch:
    """Asks again and again in a thread of its own, so that a NATS that is away keeps nobody waiting.

    Attributes:
        view: The latest answer, None before the first one.
        streams: Which streams to ask for; to be set from outside.
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

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    @property
    def begun(self) -> bool:
        """Whether it asks."""
        return self._begun.is_set()

    def first(self, timeout_s: float) -> None:
        """Wait for the first answer, so long at most."""
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
