"""What NATS says of the streams that are published to, and of their consumers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay.errors import Unreachable
from relay.jetstream.connection import Connection
from relay.jetstream.consumer_info import consumers_of
from relay.jetstream.errors import NO_SUCH_STREAM, BrokerError
from relay.jetstream.stream_info import room_of
from relay.observe.snapshot import ConsumerView
from relay.operate.broker import broker
from relay.operate.create_command import StreamLimits
from relay.rules.stream.streams import may_exist, split

if TYPE_CHECKING:
    from relay.config.settings import Settings

_ANSWER_S = 2.0
_NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream.

    Attributes:
        missing: Why nothing is known of it; None: it is.
        gone: NATS has none of this name.
        since: When it was first found missing by who asks, Unix seconds.
        subjects: What it takes; of one that is missing, what it took when it was seen last.
        room: What is left of its narrowest limit, as a share of it; None without a limit.
        limit: What that limit is, such as ``max_bytes``, and `limit_at` how much.
        refuses: Whether it refuses new messages when it is full, instead of letting old ones go.
        max_msg_size: How large a message it takes, bytes; -1: no limit of its own.
        last_at: When its last message was stored, Unix seconds; None: it never held one.
        growth: By how much it grows in a second, in what its limit counts; None if that is not known.
        limits: What it was set to when it was seen last; None if it never was.
    """

    name: str
    missing: str | None = None
    gone: bool = False
    since: float | None = None
    subjects: tuple[str, ...] = ()
    messages: int = 0
    bytes: int = 0
    last_seq: int = 0
    room: float | None = None
    limit: str | None = None
    limit_at: int = 0
    refuses: bool = False
    max_msg_size: int = -1
    last_at: float | None = None
    growth: float | None = None
    limits: StreamLimits | None = None

    @property
    def used(self) -> int:
        """What it holds, in what its limit counts."""
        return self.bytes if self.limit == "max_bytes" else self.messages

    @property
    def is_full(self) -> bool:
        """Whether it refuses new messages because a limit is reached."""
        return self.missing is None and self.refuses and self.room is not None and self.room <= 0

    @property
    def full_in_s(self) -> float | None:
        """How long until it refuses new messages if it grows on like that, seconds; None if it does not, or may not."""
        if self.missing is not None or not self.refuses or self.room is None or not self.growth or self.growth < 0:
            return None
        return max(0.0, (self.limit_at - self.used) / self.growth)


@dataclass(frozen=True, slots=True)
class NatsView:
    """What NATS says at one moment.

    Attributes:
        unreachable: Why it could not be asked; None: it was.
        since: When it was first found so by who asks, Unix seconds.
        consumers: The durable ones, the furthest behind first; None if this account may not ask.
        seen_at: When streams and consumers were seen, Unix seconds, if who asks remembers them.
    """

    unreachable: str | None = None
    server: str = ""
    streams: tuple[StreamView, ...] = ()
    consumers: tuple[ConsumerView, ...] | None = ()
    since: float | None = None
    seen_at: float | None = None


async def ask_nats(settings: "Settings", streams: Sequence[str]) -> NatsView:
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
    seen = [await look_at_stream(connection, name) for name in streams]
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


async def look_at_stream(connection: Connection, name: str) -> StreamView:
    """Ask for one stream.

    Raises:
        BrokerError: The connection has ended.
    """
    if not may_exist(name):
        return StreamView(name, missing="no stream can have this name")
    try:
        info = await connection.request(f"STREAM.INFO.{split(name)[1]}", None, _ANSWER_S, connection.api_of(name))
    except BrokerError as error:
        if not connection.up:
            raise
        return StreamView(name, missing=str(error))
    if "error" in info:
        why = info["error"]
        return StreamView(name, missing=str(why.get("description")), gone=why.get("err_code") == NO_SUCH_STREAM)
    config, state = info["config"], info["state"]
    room, limit = room_of(config, state)
    return StreamView(
        name=name,
        messages=state["messages"],
        bytes=state["bytes"],
        last_seq=state["last_seq"],
        subjects=tuple(config.get("subjects") or ()),
        room=room,
        limit=limit,
        limit_at=0 if limit is None else config[limit],
        refuses=config.get("discard") == "new",
        max_msg_size=config.get("max_msg_size", -1),
        last_at=_moment(state.get("last_ts")) if state["last_seq"] else None,
        limits=_limits(config),
    )


def _limits(config: Mapping[str, Any]) -> StreamLimits:
    return StreamLimits(
        config.get("num_replicas", 1),
        config.get("duplicate_window", 0) / _NANOSECONDS,
        config.get("max_age", 0) / _NANOSECONDS,
        config.get("max_bytes", -1),
        config.get("max_msgs", -1),
        config.get("max_msg_size", -1),
    )


def _moment(text: str | None) -> float | None:
    """Read a time of JetStream's, which has nanoseconds."""
    return None if text is None else datetime.fromisoformat(text).timestamp()
