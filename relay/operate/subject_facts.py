"""What NATS says now of the subject of an event. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from relay.operate.create_command import StreamLimits
from relay.operate.stream_room import Limit


class Full(NamedTuple):
    """A limit of a stream that is reached.

    Attributes:
        at: How much it is.
    """

    name: Limit
    at: int
    messages: int
    bytes: int

    @property
    def used(self) -> int:
        """What the stream holds, in what the limit counts."""
        return self.messages if self.name == "max_msgs" else self.bytes

    def sentence(self) -> str:
        """Return it in words."""
        return f"{self.used:,} of {self.at:,} {'messages' if self.name == 'max_msgs' else 'bytes'} (discard=new)"


@dataclass(frozen=True, slots=True)
class Broker:
    """What NATS says now of the event's subject.

    Attributes:
        unreachable: Why it could not be asked; None: it was.
        unknown: Why it did not say which stream takes the subject; None: it did.
        stream: The stream that takes the subject; None without one.
        limit: The limit of the stream that is reached while it refuses new messages, and `full` that in words.
        raised: The option of `relay stream edit` that makes room for what waits.
        of_subject: How many messages of the subject there are, if the stream takes no more of one subject; else None.
        sealed: The stream accepts nothing any more.
        no_ack: The stream acknowledges nothing.
        window_s: Its duplicate window, seconds.
        max_msg_size: How large a message it takes, bytes; -1: no limit of its own.
        allow_rollup: Whether the stream permits Nats-Rollup; None without one.
        gone: The stream that took the subject and is not there any more; None if none is known to have.
        took: What that one took, as far as it is known, or what `stream` takes.
        had: The limits that `gone` had, as far as they are known.
        lost: Streams that were published to and are not there; asked for if no stream takes the subject.
    """

    unreachable: str | None = None
    unknown: str | None = None
    stream: str | None = None
    limit: Full | None = None
    full: str | None = None
    raised: str = ""
    of_subject: int | None = None
    sealed: bool = False
    no_ack: bool = False
    window_s: float = 0.0
    max_msg_size: int = -1
    allow_rollup: bool | None = None
    gone: str | None = None
    took: tuple[str, ...] = ()
    had: StreamLimits | None = None
    lost: tuple[str, ...] = ()

    def refuses(self) -> list[str]:
        """Return why the stream takes nothing of the subject now, a sentence each; empty if it does."""
        found = []
        if self.sealed:
            found.append(f"Stream {self.stream} is sealed: it accepts nothing any more.")
        if self.full is not None:
            found.append(f"Stream {self.stream} is full and refuses new messages: {self.full}.")
        if self.of_subject is not None:
            found.append(
                f"Stream {self.stream} holds {self.of_subject:,} of this subject, as many as it takes "
                "(max_msgs_per_subject), and refuses more until one of them is gone."
            )
        if self.no_ack:
            found.append(f"Stream {self.stream} has no_ack: what it stores is never acknowledged.")
        return found
