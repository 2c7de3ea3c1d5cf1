"""How far each stream is known to hold nothing of ours that is not marked. Pure: no I/O, no clock.

An event whose acknowledgement did not come may be stored. It is looked for among the messages above the *floor* of its
stream: the sequence up to which everything of ours that the stream holds is marked delivered.

Everything here is kept for each stream, and is true for the database whose marks it was made from.
"""

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass

from relay.rules.order.seq_bounds import LARGEST

# A stream is saved a moment after the first event that went there: this many messages may lie below that one.
_MARGIN = 10_000


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest sequence of a stream that was marked, and the message id there; 0 and None before the first."""

    stream_seq: int = 0
    event_id: str | None = None


@dataclass(slots=True)
class _Step:
    """A floor on its way up.

    Attributes:
        floor: What the floor will be.
        waiting: The seqs of what was sent when the step began, may be in the stream, and is not marked yet.
    """

    floor: int
    waiting: set[int]


class Floors:
    """The floor and the highest mark of each stream.

    A floor rises in steps. When a step begins, the highest mark of the stream is noted, with all that may be in that
    stream without a mark. When the last of these is marked, or known not to be stored, the noted mark is the floor:
    whatever lies below it was stored, hence sent, before the step began. So an event in doubt keeps the floor of its
    own stream down and no other.

    Attributes:
        marks: The highest mark of each stream.
        floors: The floor of each stream.
    """

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self.floors: dict[str, int] = {}
        self._steps: dict[str, _Step] = {}

    def marked(self, stream: str, lowest: int, highest: Mark) -> None:
        """Take a batch of marks in one stream.

        Args:
            stream: Which one.
            lowest: The lowest sequence among them.
            highest: The highest, with its event.
        """
        known = self.marks.get(stream)
        if known is None:
            self.floors.setdefault(stream, max(0, lowest - _MARGIN))
        if known is None or highest.stream_seq > known.stream_seq:
            self.marks[stream] = highest

    def stored(self, stream: str, lowest: int) -> None:
        """Take events that a stream has stored and that could not be marked: its floor is to lie below them.

        Args:
            stream: Which one.
            lowest: The lowest sequence among them.
        """
        if stream not in self.marks and lowest <= LARGEST:
            self.floors.setdefault(stream, max(0, lowest - _MARGIN))
            self.marks[stream] = Mark()

    def start(self, stream: str, floor: int, mark: Mark) -> None:
        """Begin with what was saved of a stream, or with what a comparison has found."""
        self.floors[stream] = floor
        self.marks[stream] = mark
        self._steps.pop(stream, None)

    def of(self, stream: str, *, otherwise: int) -> int:
        """Return the floor of a stream; if none is known it is this one from now on."""
        return self.floors.setdefault(stream, otherwise)

    def raise_mark(self, stream: str, mark: Mark) -> None:
        """Take a mark that was read back from the outbox, if it is higher than the one that is known."""
        if mark.stream_seq > self.marks[stream].stream_seq:
            self.marks[stream] = mark

    def sum_of_marks(self) -> int:
        """Return the highest marks of all streams together: it rises by what is stored and marked."""
        return sum(mark.stream_seq for mark in self.marks.values())

    def clear(self) -> None:
        """Forget everything: the database may be another one, without the marks that this was made from."""
        self.marks.clear()
        self.floors.clear()
        self._steps.clear()

    def step(self, sent: Mapping[int, str | None], unsearched: Container[str] = ()) -> None:
        """Check which floors can rise.

        Args:
            sent: The seqs of what was sent and is not marked, each with the stream that it went to; None if that is
                not known, and it may be any.
            unsearched: Streams that an earlier owner may have stored events in that nobody has looked for yet.
        """
        anywhere: set[int] = set()
        inside: defaultdict[str, set[int]] = defaultdict(set)
        for seq, stream in sent.items():
            (anywhere if stream is None else inside[stream]).add(seq)
        for stream, mark in self.marks.items():
            if stream in unsearched:
                continue
            possible = anywhere | inside[stream]
            step = self._steps.get(stream)
            if step is not None:
                step.waiting &= possible
                if step.waiting:
                    continue
                self.floors[stream] = max(step.floor, self.floors[stream])
            self._steps[stream] = _Step(mark.stream_seq, possible)
