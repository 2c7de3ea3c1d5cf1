"""What a runner needs of the place where a read model is kept. PostgreSQL is one (`store.py`, `applier.py`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from relay.observe.projection_progress import Standing
from relay.projection.definition import Handler
from relay.projection.outcome import Stopped
from relay.projection.rules.columns import Columns, Message
from relay.projection.rules.completeness import WatermarkSeen
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.refusals import Breaker
from relay.projection.rules.seq_bits import Chunk, ChunkId

LEASE_S = 10.0

Due = tuple[Incoming, Handler]


class Claim(NamedTuple):
    """What is written down of a partition that is ours.

    Attributes:
        epoch: Of this claim; fences every write.
        position: Everything up to this sequence is settled.
        time_ns: When the stream stored the message there, if that is known.
        created: When the stream was made, None before the first look.
        has_bits: Whether every event that was applied had a seq.
        crashes: How many owners in a row have ended without giving the partition back.
    """

    epoch: int
    position: int
    time_ns: int | None
    created: str | None
    has_bits: bool
    crashes: int = 0


class Move(NamedTuple):
    """How a batch changes the state of a partition.

    Attributes:
        previous: The position that must be stored.
        position: The new one.
        time_ns: When the stream stored the message there.
        applied: How many events are due; `Effects.apply` does not count those that it refuses.
        repeats: How many it passes over.
        numbered: Whether all of them have a seq.
    """

    previous: int
    position: int
    time_ns: int | None
    applied: int = 0
    repeats: int = 0
    numbered: bool = True


class Parked(NamedTuple):
    """A parked event, and what an operator wants with it: ``retry``, ``skip`` or None."""

    number: int
    event: Incoming
    reason: str | None
    wanted: str | None


class Alike(NamedTuple):
    """Events of the usual form that one handler applies: as they came, and by columns."""

    handler: Handler
    columns: Columns
    messages: Sequence[Message]


class Work(NamedTuple):
    """A batch that was told apart.

    Attributes:
        created: Which stream the events are from.
        due: To be applied, each with what applies it, in the order of the stream.
        behind: To be parked, since their keys have parked events.
        bits: The chunks of bits as they are once all of these are settled.
        breaker: What was parked before this batch; not to be changed.
        alike: What is due, by columns; None if it was read one by one.
    """

    created: str
    due: Sequence[Due]
    behind: Sequence[Incoming]
    bits: Mapping[ChunkId, Chunk]
    breaker: Breaker
    alike: Alike | None = None


@dataclass
class Batch:
    """What becomes of a batch.

    Attributes:
        created: Which stream the events are from.
        breaker: What is parked, counted as if the batch were committed.
        applied: How many events were applied.
        refused: The events that were refused by themselves, each with a word that may be logged.
    """

    created: str
    breaker: Breaker
    applied: int = 0
    refused: list[tuple[Incoming, str]] = field(default_factory=list)

    def add_applied(self, events: int) -> None:
        """Count events that were applied."""
        self.applied += events

    def add_refused(self, event: Incoming, word: str) -> None:
        """Take in an event that was refused by itself, with a word that may be logged."""
        self.refused.append((event, word))

    def check(self) -> None:
        """Check that what was counted may be parked.

        Raises:
            Stopped: It is too much.
        """
        reason = self.breaker.reason()
        if reason is not None:
            last = ""
            if self.refused:
                event, word = self.refused[-1]
                last = f", the last at sequence {event.stream_seq} ({event.topic}): {word}"
            raise Stopped(f"{reason}{last}; nothing more is parked")


def standing_of(
    paused: bool,
    status: str,
    error: str | None,
    position: int,
    parked: int,
    complete_up_to: float | None,
    owner: str | None,
) -> Standing:
    """Return how a partition that is not ours stands, from what is written down of it."""
    if paused:
        return Standing("paused", None, position, parked, complete_up_to, owner)
    if status == "stopped":
        return Standing("stopped", error, position, parked, complete_up_to, owner)
    return Standing("standby", None, position, parked, complete_up_to, owner)


def why_lost(standing: Standing | None, name: str) -> str:
    """Return why a runner has lost a partition.

    Args:
        standing: What is written down of it now; None if nothing is.
        name: The one under which the runner had it.
    """
    if standing is None:
        return "what was written down of it is gone, as after FLUSHALL, or the store is another one"
    if standing.status == "paused":
        return "an operator has paused it"
    if standing.status == "stopped":
        return "it has stopped"
    if standing.owner in (None, name):
        return "what is written down of it was changed or set back, as by a failover or a restored copy"
    return f"another runner has it: {standing.owner}"


class Redone(NamedTuple):
    """What became of parked events of a key, as an operator wanted.

    Attributes:
        applied: How many were applied after all.
        skipped: How many were given up.
        refused: The one that was refused again, with a word that may be logged; what follows of its key waits.
    """

    applied: int
    skipped: int
    refused: tuple[Incoming, str] | None = None


class Ledger(Protocol):
    """What is written down of one partition, beside its read model.

    Raises:
        psycopg.Error: From each method; or OSError. It failed; whether it was written is not known if the connection
            broke.
    """

    @property
    def owner(self) -> str:
        """The name under which this runner claims the partition."""

    async def prepare(self) -> bool:
        """Make what the projection needs if it is not there; return whether it was changed without another version.

        Raises:
            ConfigError: What is there is of another version, cut into another number of partitions, or dropped.
        """

    async def claim(self) -> Claim | None:
        """Take the partition if nobody owns it; None if it is owned, paused or stopped."""

    async def standing(self) -> Standing | None:
        """Read what is written down of a partition that is not ours; None if nothing is."""

    async def expire(self, owner: str) -> None:
        """End the lease of an owner whose process has provably ended; the next claim finds the partition free."""

    async def load(self, epoch: int) -> Claim:
        """Read how far the partition is.

        Raises:
            Fenced: It is ours no more.
        """

    async def beat(self, epoch: int, waits_for: str | None) -> bool:
        """Keep the lease, and write down what the projection waits for; return whether an operator wants something.

        Raises:
            Fenced: It is ours no more.
        """

    async def stop(self, epoch: int, reason: str, gap_last: int | None) -> None:
        """Write down that the projection has stopped; it is not claimed again until an operator resumes it."""

    async def release(self, epoch: int) -> None:
        """Give the partition back."""

    async def drop(self, error: Exception) -> None:
        """Throw the connection away after an error; the next call makes one."""

    async def follow_stream(self, claim: Claim, created: str, position: int, time_ns: int | None) -> None:
        """Count in another stream from now on.

        Raises:
            Fenced: It is ours no more.
        """

    async def accept_gap(self, first: int, last: int) -> None:
        """Write down which sequences of the stream were passed over, since the definition says `partial`."""

    async def no_crashes(self, epoch: int) -> None:
        """Write down that what ended earlier owners was passed without harm."""

    async def complete(self, epoch: int, mark: WatermarkSeen) -> None:
        """Write down that everything up to a watermark is settled here, if the partition is still ours."""

    async def chunks(self, wanted: Iterable[ChunkId]) -> dict[ChunkId, Chunk]:
        """Read chunks of bits; one that is not stored is empty."""

    async def breaker(self) -> Breaker:
        """Count what is parked."""

    async def wanted(self) -> list[Parked]:
        """Return the parked events of all keys of which an operator wants something, in their order."""


class Effects(Protocol):
    """Applies events to the read model, and moves the position with them: both happen, or neither."""

    @property
    def limit(self) -> int:
        """How many messages may be applied at once."""

    async def apply(self, epoch: int, move: Move, work: Work) -> Batch:
        """Apply a batch; what is refused for a reason of its own is parked.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            Stopped: The projection must not go on by itself.
            Exception: psycopg.Error or OSError: the fault is not in the events. Whether it was committed is not known
                if the connection broke.
        """

    async def do_as_wanted(self, epoch: int, move: Move, rows: Sequence[Parked]) -> Redone:
        """Retry or skip parked events of one key, in their order, until one is refused; the position stays.

        Raises:
            Fenced: The partition has another owner or position. Nothing was changed.
            Exception: psycopg.Error or OSError, as from `apply`.
        """
