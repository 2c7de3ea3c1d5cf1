"""Compare delivered events with their streams, and have what was lost sent again."""

import asyncio
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from relay.config.derived_options import envelopes
from relay.config.settings import Settings
from relay.integrity.comparison import Compared, Comparison
from relay.jetstream.errors import LookupForbidden, LookupRefused
from relay.operate.broker import broker
from relay.operate.changes import Audit, Changer, OnProgress
from relay.rules.order.seq_bounds import BELOW_ALL, LARGEST
from relay.rules.stream.stream_loss import DeliveredRow, Fate, Seen

SPAN = 2000
_SHOWN = 20
_CHUNK = 1000


@dataclass(frozen=True)
class Scope:
    """Which delivered events are compared.

    Attributes:
        stream: Only those of this stream.
        first_seq: Included; None: from the first.
        last_seq: Included; None: up to the newest.
        rate: Events a second at most.
    """

    stream: str | None
    first_seq: int | None
    last_seq: int | None
    rate: float

    @property
    def whole(self) -> bool:
        """Whether no seq is left out: a part of the events says nothing about the others."""
        return self.first_seq is None and self.last_seq is None


class LostRows:
    """Rows by seq, sequence in the stream and id, in ascending order of seq: 32 bytes each, since it may be all."""

    def __init__(self) -> None:
        self._seqs = array("q")
        self._stream_seqs = array("q")
        self._ids = bytearray()

    def extend(self, rows: Iterable[DeliveredRow]) -> None:
        """Take in more rows."""
        for row in rows:
            self._seqs.append(row.seq)
            self._stream_seqs.append(row.stream_seq)
            self._ids += UUID(row.event_id).bytes

    def chunks(self, size: int) -> Iterator[tuple[list[int], list[str], list[int]]]:
        """Go through them, at most `size` at a time: seqs, ids and sequences in the stream."""
        for start in range(0, len(self._seqs), size):
            seqs = self._seqs[start : start + size].tolist()
            ids = [str(UUID(bytes=bytes(self._ids[16 * at : 16 * at + 16]))) for at in range(start, start + len(seqs))]
            yield seqs, ids, self._stream_seqs[start : start + size].tolist()


@dataclass
class Losses:
    """What one stream has lost.

    Attributes:
        at_once: May be sent again now.
        later: The stream may remember their ids until `forgotten_s` seconds after their delivery.
    """

    at_once: LostRows = field(default_factory=LostRows)
    later: LostRows = field(default_factory=LostRows)
    forgotten_s: float = 0.0

    def add(self, compared: Compared) -> None:
        """Add what a comparison has found."""
        self.at_once.extend(compared.lost)
        self.later.extend(compared.removed)
        self.forgotten_s = compared.forgotten_s


@dataclass
class Redelivered:
    """What was changed.

    Attributes:
        given_back: How many events are pending again, by stream.
        closed: The streams whose open loss was closed.
    """

    given_back: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events are pending again."""
        return sum(self.given_back.values())


@dataclass
class Report:
    """What a comparison has found.

    Attributes:
        began_at: When it began, Unix seconds of PostgreSQL's clock.
        seen: What the relays last saw of each stream.
        verdicts: How many events of each verdict, by stream.
        losses: What was lost, by stream.
        first_lost: The first of them, to be shown.
        unread: Why a stream could not be read, by stream.
    """

    began_at: float = 0.0
    seen: dict[str, Seen] = field(default_factory=dict)
    verdicts: dict[str, dict[Fate, int]] = field(default_factory=dict)
    losses: dict[str, Losses] = field(default_factory=lambda: defaultdict(Losses))
    first_lost: list[tuple[DeliveredRow, str]] = field(default_factory=list)
    unread: dict[str, LookupForbidden] = field(default_factory=dict)

    def count(self, verdict: Fate) -> int:
        """Count the events of one verdict in all streams."""
        return sum(counts.get(verdict, 0) for counts in self.verdicts.values())

    def why_unknown(self) -> list[str]:
        """Return a sentence for each stream of which nothing is known, the reason in it."""
        told = []
        for stream, counts in self.verdicts.items():
            error = self.unread.get(stream)
            if isinstance(error, LookupRefused):
                rights = "the relay's account needs STREAM.INFO and DIRECT.GET or STREAM.MSG.GET"
                told.append(f"stream {stream} could not be read: {error}: {rights}")
            elif error is not None:
                silent = "nobody answers, as while the stream has no leader; relay verify again later"
                told.append(f"stream {stream} could not be read: {error}: {silent}")
            elif counts.get(Fate.UNKNOWN):
                told.append(
                    f"stream {stream} is none that a relay has delivered to, or another one has its name now, or rows"
                    " were marked by hand"
                )
        return told

    @property
    def compared(self) -> int:
        """How many events were compared."""
        return sum(sum(counts.values()) for counts in self.verdicts.values())

    def add(self, stream: str, rows: Sequence[DeliveredRow], compared: Compared) -> None:
        """Add what a comparison of some rows of a stream has found."""
        counts = self.verdicts.setdefault(stream, {})
        for verdict, count in compared.verdicts.items():
            counts[verdict] = counts.get(verdict, 0) + count
        if compared.unread is not None:
            self.unread[stream] = compared.unread
        if compared.lost or compared.removed:
            self.losses[stream].add(compared)
            lost = {row.seq for row in (*compared.lost, *compared.removed)}
            room = _SHOWN - len(self.first_lost)
            self.first_lost += [(row, stream) for row in rows if row.seq in lost][:room]


async def verify(settings: Settings, changer: Changer, scope: Scope, on_progress: OnProgress) -> Report:
    """Compare the delivered events of a scope with their streams. Changes nothing.

    Args:
        on_progress: Called with how many more seqs were compared; `extent` returns how many there are.

    Raises:
        Unreachable: NATS did not answer.
    """
    with changer.step():
        (began_at,) = changer.row("ownership/clock")
        seen = {
            name: Seen(name, created=created, first_seq=first_seq, begun_at=begun_at, lost=lost)
            for name, created, first_seq, begun_at, lost in changer.rows("operate/streams")
        }
    above, up_to = extent(changer, scope)

    async with broker(settings) as connection:
        report = Report(began_at=began_at, seen=seen)
        comparison = Comparison(connection, seen, envelopes(settings), now=began_at)
        began, compared = time.monotonic(), 0
        while above < up_to:
            rows, reached = _read(changer, scope, above, min(above + SPAN, up_to))
            reached = min(reached, up_to)
            for stream, of_stream in rows.items():
                report.add(stream, of_stream, await comparison.compare(stream, of_stream))
                compared += len(of_stream)
            on_progress(reached - above)
            above = reached
            ahead_s = compared / scope.rate - (time.monotonic() - began)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
    return report


def _read(changer: Changer, scope: Scope, above: int, up_to: int) -> tuple[dict[str, list[DeliveredRow]], int]:
    """Read the delivered rows of a range of seqs.

    Returns:
        The rows by stream, and the seq up to which all were read: wide gaps cost nothing.
    """
    with changer.step():
        found = changer.rows("integrity/delivered", (above, up_to, scope.stream, 0, None, 1))
    if not found:
        with changer.step():
            following = changer.rows("delivery/next_seq", (up_to,))
        return {}, int(following[0][0]) - 1 if following else LARGEST
    by_stream: dict[str, list[DeliveredRow]] = defaultdict(list)
    for *row, stream in found:
        by_stream[stream].append(DeliveredRow(*row))
    return by_stream, up_to


def extent(changer: Changer, scope: Scope) -> tuple[int, int]:
    """Return between which seqs a scope lies: the first not included, the last included."""
    with changer.step():
        (newest,) = changer.row("delivery/newest")
        if scope.first_seq is not None:
            above = scope.first_seq - 1
        else:
            lowest = changer.rows("delivery/next_seq", (BELOW_ALL,))
            above = min(0, lowest[0][0] - 1) if lowest else 0
    return above, newest if scope.last_seq is None else min(newest, scope.last_seq)


def closable(report: Report, scope: Scope) -> list[str]:
    """Return the streams whose open loss can be closed once what they have lost is pending again."""
    if not scope.whole:
        return []
    return [
        one.stream
        for one in report.seen.values()
        if one.lost and scope.stream in (None, one.stream) and not report.verdicts.get(one.stream, {}).get(Fate.UNKNOWN)
    ]


def check(changer: Changer) -> None:
    """Find out whether this role may have events sent again, and change nothing.

    Raises:
        Denied: It may not.
    """
    changer.check(("integrity/mark_lost", ([], "", 0.0, 0.0, None, None, [], [])), ("integrity/loss_healed", ("", 0.0)))


def redeliver(changer: Changer, report: Report, scope: Scope, on_progress: OnProgress) -> Redelivered:
    """Make lost events pending again in the order of seq, and close the losses of which nothing is left.

    Each batch is a transaction with its count in the audit table.

    Raises:
        BrokenOff: PostgreSQL failed. The batches before are done, and counted in the audit table.
    """
    closing = closable(report, scope)
    record: dict[str, object] = {} if scope.stream is None else {"stream": scope.stream}
    if closing:
        record["closes"] = closing
    with changer.audited("verify --redeliver", record, report.count(Fate.LOST)) as audit:
        done = Redelivered(_give_back(changer, audit, report, on_progress))
        for stream in closing:
            if report.verdicts.get(stream, {}).get(Fate.LOST, 0) == done.given_back.get(stream, 0):
                with changer.step():
                    if changer.run("integrity/loss_healed", (stream, report.began_at)):
                        done.closed.append(stream)
    return done


def _give_back(changer: Changer, audit: Audit, report: Report, on_progress: OnProgress) -> dict[str, int]:
    given_back: dict[str, int] = {}
    with changer.step():
        (due_at,) = changer.row("ownership/clock")
    for stream, losses in report.losses.items():
        for rows, wait_s in ((losses.at_once, 0.0), (losses.later, losses.forgotten_s)):
            for seqs, ids, stream_seqs in rows.chunks(_CHUNK):
                with changer.step():
                    lost = (seqs, stream, due_at, wait_s, None, None, ids, stream_seqs)
                    changed = changer.run("integrity/mark_lost", lost)
                    audit.add(changed)
                given_back[stream] = given_back.get(stream, 0) + changed
                on_progress(len(seqs))
    return given_back
