"""Which events the stream may hold without our knowing it, and from where on to look for them. Pure: no I/O, no clock.

An event whose acknowledgement did not come is in doubt. While the stream remembers its id (the duplicate window) it is
simply sent again. Later than that it is looked for first, among the messages above the *floor*: the sequence up to
which everything of ours that a stream holds is marked delivered.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

# A stream is written down a moment after the first event that went there; so much may lie below that one.
_MARGIN = 10_000


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest sequence of a stream that was marked, and the message id there; 0 and None before the first."""

    stream_seq: int = 0
    event_id: str | None = None


class Floors:
    """How far each stream holds nothing of ours that is not marked.

    A floor rises in steps. At each one the highest marks are noted, with all that was sent and not marked by then. When
    the last of these is marked or known not to be stored, the marks noted are floors: whatever lies below them was
    stored, hence sent, before the step began.
    """

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self.floors: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._waiting: set[int] = set()
        self.regressed: set[str] = set()

    def marked(self, stream: str, lowest: int, highest: Mark, *, duplicate: bool) -> None:
        """Take a batch of marks in one stream.

        Args:
            stream: Where.
            lowest: The lowest sequence among them.
            highest: The highest, with its event.
            duplicate: Some were in the stream before, so that their sequences say nothing about its end.
        """
        known = self.marks.get(stream)
        if known is None:
            self.floors.setdefault(stream, max(0, lowest - _MARGIN))
        if known is None or highest.stream_seq > known.stream_seq:
            self.marks[stream] = highest
        elif not duplicate and highest.stream_seq < known.stream_seq:
            self.regressed.add(stream)

    def start(self, stream: str, floor: int, mark: Mark) -> None:
        """Begin with what was written down of a stream."""
        self.floors[stream] = floor
        self.marks[stream] = mark

    def step(self, unmarked: Container[int], sent: Iterable[int]) -> None:
        """Look whether floors rise.

        Args:
            unmarked: What was sent and is not marked now; asked about each event of the last step.
            sent: The same, to be noted for the next step.
        """
        self._waiting = {seq for seq in self._waiting if seq in unmarked}
        if self._waiting:
            return
        for stream, floor in self._next.items():
            self.floors[stream] = max(floor, self.floors.get(stream, 0))
        self._next = {stream: mark.stream_seq for stream, mark in self.marks.items()}
        self._waiting = set(sent)
