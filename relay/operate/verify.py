"""Compare all delivered events with their streams, at a pace that leaves room for others."""

import asyncio
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.integrity.comparison import Compared, Comparison
from relay.rules.stream_loss import DeliveredRow, Fate

SPAN = 2000
_SHOWN = 20

# Gives the delivered events of a range of seqs (above, up to), each with its stream.
ReadRows = Callable[[int, int], Sequence[tuple[DeliveredRow, str]]]


@dataclass
class Losses:
    """What one stream has lost, as seqs in ascending order: eight bytes each, since it may be all.

    Attributes:
        at_once: May be sent again now.
        later: The stream may remember their ids until `forgotten_s` seconds after their delivery.
    """

    at_once: "array[int]" = field(default_factory=lambda: array("q"))
    later: "array[int]" = field(default_factory=lambda: array("q"))
    forgotten_s: float = 0.0


@dataclass
class Report:
    """What a comparison has found.

    Attributes:
        verdicts: How many events of each verdict, by stream.
        losses: What was lost, by stream.
        first_lost: The first of them, to be shown.
    """

    verdicts: dict[str, dict[Fate, int]] = field(default_factory=dict)
    losses: dict[str, Losses] = field(default_factory=lambda: defaultdict(Losses))
    first_lost: list[tuple[DeliveredRow, str]] = field(default_factory=list)

    def count(self, verdict: Fate) -> int:
        """Count the events of one verdict in all streams."""
        return sum(counts.get(verdict, 0) for counts in self.verdicts.values())

    @property
    def compared(self) -> int:
        """How many events were compared."""
        return sum(sum(counts.values()) for counts in self.verdicts.values())


async def verify(
    comparison: Comparison,
    read: ReadRows,
    next_seq: Callable[[int], int | None],
    *,
    above: int,
    up_to: int,
    rate: float,
    on_progress: Callable[[int], None],
) -> Report:
    """Compare the delivered events of a range with their streams.

    Args:
        comparison: Over the connection to be used.
        read: Reads a small range of rows.
        next_seq: Gives the first seq above one that is in the table, so that wide gaps cost nothing.
        above: Where to begin; not included.
        up_to: Where to end; included.
        rate: Events a second at most.
        on_progress: Called with how many seqs were passed.

    Raises:
        BrokerError: The connection has ended. Nothing was changed.
    """
    report = Report()
    began, compared = time.monotonic(), 0
    while above < up_to:
        upper = min(above + SPAN, up_to)
        rows = read(above, upper)
        if not rows:
            following = next_seq(upper)
            upper = up_to if following is None else min(up_to, following - 1)
        by_stream: dict[str, list[DeliveredRow]] = defaultdict(list)
        for row, stream in rows:
            by_stream[stream].append(row)
        for stream, of_stream in by_stream.items():
            _add(report, stream, of_stream, await comparison.compare(stream, of_stream))
        on_progress(upper - above)
        above = upper
        compared += len(rows)
        ahead_s = compared / rate - (time.monotonic() - began)
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
    return report


def _add(report: Report, stream: str, rows: Sequence[DeliveredRow], compared: Compared) -> None:
    counts = report.verdicts.setdefault(stream, {})
    for verdict, count in compared.verdicts.items():
        counts[verdict] = counts.get(verdict, 0) + count
    if compared.lost or compared.removed:
        losses = report.losses[stream]
        losses.at_once.extend(row.seq for row in compared.lost)
        losses.later.extend(row.seq for row in compared.removed)
        losses.forgotten_s = compared.forgotten_s
        gone = {row.seq for row in (*compared.lost, *compared.removed)}
        room = _SHOWN - len(report.first_lost)
        report.first_lost += [(row, stream) for row in rows if row.seq in gone][:room]
