"""How large a message is against what a stream takes: one rule for the doctor, explanations and the console. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from relay.rules.stream.subjects import matches

# The relay adds a message id and, in a batch, three headers; with what [headers] may add.
OWN_HEADERS_BYTES = 300
# Up to this size a limit is proposed as the next power of two, and beyond it as the next MiB.
_MIB = 1024 * 1024


class LargeDead(NamedTuple):
    """Dead letters of a topic that a stream has refused for their size.

    Attributes:
        key: That of the largest one.
        bytes: Payload and headers of the largest one, as its row has them.
        since: When the first of them was given up, Unix seconds.
    """

    topic: str
    key: str | None
    events: int
    bytes: int
    since: float


class Limited(Protocol):
    """A stream with a limit of the size of a message."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What it takes."""

    @property
    def max_msg_size(self) -> int:
        """The size, bytes; -1 without a limit."""


class TooSmall(NamedTuple):
    """A stream that refuses events for their size.

    Attributes:
        limit: Its max_msg_size, bytes.
        size: What the largest of these events takes.
        since: When the first of them was given up, Unix seconds.
    """

    stream: str
    limit: int
    size: int
    events: int
    topics: tuple[str, ...]
    since: float


def raised_to(size: int) -> int:
    """Return a limit that lets a message of `size` bytes through, with room for others of its kind."""
    if size > _MIB:
        return -(-size // _MIB) * _MIB
    limit = 1024
    while limit < size:
        limit *= 2
    return limit


def command_to_raise(stream: str, size: int) -> str:
    """Return the command that lets a stream take messages of `size` bytes."""
    return f"relay stream edit {stream} --max-msg-size {raised_to(size)}"


def too_small(
    large: Sequence[LargeDead], streams: Iterable[Limited], subject_of: Callable[[str, str | None], str | None]
) -> list[TooSmall]:
    """Return the streams whose limit still is too small for what they have refused.

    Args:
        subject_of: Returns the subject of a topic and a key, None if there is none.
    """
    found = []
    for stream in streams:
        if stream.max_msg_size <= 0:
            continue
        refused = [
            one
            for one in large
            if one.bytes + OWN_HEADERS_BYTES > stream.max_msg_size
            and (subject := subject_of(one.topic, one.key)) is not None
            and any(matches(pattern, subject) for pattern in stream.subjects)
        ]
        if refused:
            found.append(
                TooSmall(
                    stream.name,
                    stream.max_msg_size,
                    max(one.bytes for one in refused) + OWN_HEADERS_BYTES,
                    sum(one.events for one in refused),
                    tuple(one.topic for one in refused),
                    min(one.since for one in refused),
                )
            )
    return found
