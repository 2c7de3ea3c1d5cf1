"""What is written down in a run: one JSON object a line, in the order in which it was seen.

Times are seconds of one monotonic clock. A transaction's outcome is ``committed`` or ``rolled back`` as its client
was told; ``unknown`` if the connection ended before the answer.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar, get_args

Outcome = Literal["committed", "rolled back", "unknown"]
Settled = Literal["delivered", "dead", "pending"]


@dataclass(frozen=True, slots=True)
class Insert:
    """One event of a transaction, as its producer wrote it."""

    id: str
    seq: int
    key: str | None
    begun_at: float


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one producer's transaction tried, and what it was told.

    Attributes:
        number: Its own, to tell which events belong together; negative for what the operator has written, and may
            have sent again once it was settled.
        ended_at: When the answer to COMMIT came; its rows are visible from then on at the latest.
        durable: Whether the answer promised that it outlives a crash; False with ``synchronous_commit = off``.
    """

    number: int
    outcome: Outcome
    ended_at: float
    inserts: tuple[Insert, ...]
    durable: bool = True


def settled(*, delivered: bool, dead: bool) -> Settled:
    """Return what became of a row, by which of its marks are set."""
    return "delivered" if delivered else "dead" if dead else "pending"


@dataclass(frozen=True, slots=True)
class _Written:
    """A row of the outbox, at one moment."""

    id: str
    seq: int
    key: str | None
    settled: Settled
    stream: str | None
    stream_seq: int | None


@dataclass(frozen=True, slots=True)
class Row(_Written):
    """A row of the outbox at the end; `settled_at` by the database's own clock, Unix seconds."""

    settled_at: float | None


@dataclass(frozen=True, slots=True)
class Removed(_Written):
    """A row that the operator has taken out of the outbox, as it was then. If it is there at the end, it was not."""


@dataclass(frozen=True, slots=True)
class Setback:
    """The outbox is not what it was: commits, marks and seqs may be gone.

    Attributes:
        kind: ``failover``: commits that were answered between `since` and `until` may be lost; ``crash``: those that
            were not durable; ``truncated``: none, and every row is gone.
        at: When it happened, Unix seconds.
        since: By the clock of the run.
        until: Likewise.
    """

    kind: Literal["failover", "crash", "truncated"]
    at: float
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stream that the relays had no right to look at for a while: what is in doubt could not be looked up.

    Attributes:
        since: By the clock of the run.
        until: When the right was given back.
    """

    stream: str
    since: float = float("-inf")
    until: float = float("inf")


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a stream at the end."""

    stream: str
    seq: int
    id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as the consumer was given it, when it was given it."""

    stream: str
    seq: int
    id: str
    at: float


@dataclass(frozen=True, slots=True)
class Watermark:
    """What the outbox called settled when it was read, at `read_at` of the database's own clock.

    Attributes:
        complete_at: Every event whose commit had returned by then was called settled; by the clock of the run, None
            if the outbox did not know yet.
    """

    seq: int
    read_at: float
    complete_at: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that was made and ended.

    Attributes:
        back_at: When the component was there again.
        recovered_at: When the consumer had seen all that was committed before `back_at`, and something that was
            committed after it; of a fault of the read side: when every read model had what the consumer had seen at
            `back_at`; None: not in time.
    """

    kind: str
    target: str
    began_at: float
    back_at: float
    recovered_at: float | None


@dataclass(frozen=True, slots=True)
class Applied:
    """An event in a read model at the end; those of one key come in the order in which they were applied."""

    projection: str
    key: str | None
    id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How one partition of a projection stands at the end.

    Attributes:
        partitions: How many the projection has.
        position: It says that everything of the stream up to this sequence is settled.
        status: ``running``, ``waiting``, ``stopped``, ...
        error: Why it waits or has stopped.
    """

    projection: str
    partition: int
    partitions: int
    position: int
    status: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Note:
    """Anything else that happened, for people; `wrong` counts as a finding."""

    at: float
    text: str
    wrong: bool = False


Entry = (
    Transaction | Row | Removed | Setback | Unreadable | Stored | Seen | Watermark | Fault | Applied | Standing | Note
)
E = TypeVar("E", bound=Entry)
_KINDS: dict[str, type[Entry]] = {kind.__name__: kind for kind in get_args(Entry)}


class History:
    """The entries of a run, in memory and, as they come, in a file."""

    def __init__(self, entries: Iterable[Entry] = (), file: TextIO | None = None) -> None:
        self._entries = list(entries)
        self._file = file

    def add(self, entry: Entry) -> None:
        """Write an entry down."""
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps({"is": type(entry).__name__, **asdict(entry)}) + "\n")

    def note(self, text: str, *, wrong: bool = False) -> None:
        """Write down something for people."""
        self.add(Note(time.monotonic(), text, wrong))

    def of(self, kind: type[E]) -> Iterator[E]:
        """Return the entries of one kind, in order."""
        return (entry for entry in self._entries if isinstance(entry, kind))


def read(path: Path) -> History:
    """Read a history that a run has written."""
    with path.open(encoding="utf-8") as file:
        return History(_entry(json.loads(line)) for line in file)


def _entry(line: dict[str, Any]) -> Entry:
    kind = _KINDS[line.pop("is")]
    if kind is Transaction:
        line["inserts"] = tuple(Insert(**insert) for insert in line["inserts"])
    return kind(**{field.name: line[field.name] for field in fields(kind) if field.name in line})
