"""How the outbox stands at one moment, from the database alone. Cheap on a table of any size."""

import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

from relay.operate.access import Reader, Row
from relay.postgres.migrate import newest_version

# So far every count is exact; beyond it says "more than". It keeps each query to tenths of a second.
COUNT_UP_TO = 100_000
# How many seqs are searched for what is pending, from the watermark on.
SCAN_SEQS = 1_000_000
# What was delivered lately lies around the watermark, and, while one event keeps that back, among the newest.
LATELY_SEQS = 50_000
LATELY_S = 60.0


@dataclass(frozen=True, slots=True)
class Count:
    """A count, and what it is where not all was counted."""

    events: int
    bound: Literal["", "more than ", "at least "] = ""

    def __str__(self) -> str:
        return f"{self.bound}{self.events:,}"


class Waiting(NamedTuple):
    """A reason for which pending events wait, and the first one that has it written on it."""

    reason: str
    noted: int
    seq: int
    topic: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says at one moment; times in Unix seconds.

    Attributes:
        known_version: The newest schema version that this relay knows.
        shards: As `cli_shards` gives them.
        oldest: As `cli_oldest` gives it.
        next_retry_at: When the first of those in retry is due.
        waiting: Why pending events wait.
        delivered: How many were delivered in the last `delivered_s` seconds.
        streams: The streams that were published to.
    """

    at: float
    table: str
    payload_type: str
    version: int
    known_version: int
    shards: list[Row]
    watermark: int
    newest: int
    backlog: Count
    oldest: Row | None
    retry: Count
    next_retry_at: float | None
    waiting: list[Waiting]
    dead: Count
    dead_by_reason: list[tuple[str, int]]
    delivered: Count
    delivered_s: float
    streams: list[str]

    @property
    def lag_s(self) -> float:
        """The age of the oldest pending event, seconds; 0 without one."""
        if self.oldest is None or abs(self.oldest[4]) > 1e15:
            return 0.0
        return max(0.0, self.at - float(self.oldest[4]))

    @property
    def owned(self) -> bool:
        """Whether some relay works."""
        return any(held(shard) for shard in self.shards)


def stand(reader: Reader, before: Standing | None = None) -> Standing:
    """Ask for everything; where there was a look `before`, deliveries are counted since then."""
    watermark, newest = reader.row("cli_range")
    at = time.time()
    upper = min(newest, watermark + SCAN_SEQS)
    (pending,) = reader.row("cli_backlog", (watermark, upper, COUNT_UP_TO + 1))
    oldest = reader.rows("cli_oldest", (watermark, upper))
    retry, next_retry_at = reader.row("cli_retrying", (COUNT_UP_TO + 1,))
    reasons = [(str(reason), int(count)) for reason, count in reader.rows("cli_dead", (COUNT_UP_TO + 1,))]
    delivered_s = LATELY_S if before is None else at - before.at
    from_seq = watermark - LATELY_SEQS if before is None else before.watermark
    return Standing(
        at=at,
        table=reader.tables.events,
        payload_type=reader.tables.payload_type,
        version=reader.version,
        known_version=newest_version(),
        shards=reader.rows("cli_shards"),
        watermark=watermark,
        newest=newest,
        backlog=_bounded(pending) if upper == newest or pending > COUNT_UP_TO else Count(pending, "at least "),
        oldest=oldest[0] if oldest else None,
        retry=_bounded(retry),
        next_retry_at=next_retry_at,
        waiting=[Waiting(*row) for row in reader.rows("cli_waiting", (watermark, upper, COUNT_UP_TO))],
        dead=_bounded(sum(count for _, count in reasons)),
        dead_by_reason=reasons[:10],
        delivered=_delivered(reader, from_seq, newest, delivered_s, settled_below=before is not None),
        delivered_s=delivered_s,
        streams=[name for name, *_ in reader.rows("cli_streams")],
    )


def _bounded(count: int) -> Count:
    return Count(count) if count <= COUNT_UP_TO else Count(COUNT_UP_TO, "more than ")


def _delivered(reader: Reader, from_seq: int, newest: int, seconds: float, *, settled_below: bool) -> Count:
    middle = from_seq + 2 * LATELY_SEQS
    ranges = [(from_seq, middle), (max(middle, newest - LATELY_SEQS), newest)]
    count = sum(reader.row("cli_delivered_lately", (*seqs, seconds))[0] for seqs in ranges if seqs[0] < seqs[1])
    all_searched = newest <= middle + LATELY_SEQS and (settled_below or count < LATELY_SEQS)
    return Count(count, "" if all_searched else "at least ")


def held(shard: Row) -> bool:
    """Tell whether somebody holds the lease of a shard, as `cli_shards` gives it."""
    lease_left = shard[3]
    return shard[1] is not None and lease_left is not None and lease_left > 0
