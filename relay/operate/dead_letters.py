"""Dead letters: how many and why, and what an operator decides about them."""

from typing import Literal, NamedTuple

from relay.operate.access import Reader
from relay.operate.changes import Audit, Changer, OnProgress
from relay.operate.events import Preview, find
from relay.operate.filters import Filters
from relay.operate.steering_headers import Allowing

Decision = Literal["retry", "discard"]

# Some 20 ms each, and its locks are held as long.
_BATCH = 1000
_EXAMPLES = 10


class DeadGroup(NamedTuple):
    """Dead letters of one topic with one reason; times in Unix seconds.

    Attributes:
        reason: Of one kind: with N for numbers, and cut.
        example: The whole reason of one of them.
    """

    topic: str
    reason: str
    events: int
    first_dead_at: float
    last_dead_at: float
    example: str | None = None


def summarize(reader: Reader, filters: Filters, limit: int) -> list[DeadGroup]:
    """Return the dead letters by topic and reason, the most frequent first, at most `limit` groups."""
    return [DeadGroup._make(row) for row in reader.rows("operate/dead_summary", (*filters.params(), limit))]


def read_allowing(reader: Reader, header: str) -> Allowing:
    """Return which relays let a header through now."""
    return Allowing(header, *reader.row("operate/allowing", (header.lower(),)))


def preview(reader: Reader, filters: Filters) -> Preview:
    """Return how many dead letters match, and the newest of them."""
    return Preview(len(matching(reader, filters)), find(reader, "dead", filters, _EXAMPLES, 0).events)


def matching(reader: Reader, filters: Filters) -> list[int]:
    """Return the seqs of the dead letters that match, ascending."""
    return [seq for (seq,) in reader.rows("operate/dead_find", filters.params())]


def check(changer: Changer, decision: Decision) -> None:
    """Find out whether this role may decide, and change nothing.

    Raises:
        Denied: It may not.
    """
    changer.check((f"operate/dead_{decision}", ([],)))


def begin(changer: Changer, decision: Decision, filters: Filters, planned: int, preview: str | None = None) -> Audit:
    """Write down that something is decided about dead letters.

    Args:
        filters: What they were found by.
        planned: How many there were.
        preview: See `Changer.begin`.

    Raises:
        Confirmed: See there.
    """
    return changer.begin(f"dead {decision}", filters.as_record(), planned, preview=preview)


def decide(changer: Changer, decision: Decision, audit: Audit, seqs: list[int], on_progress: OnProgress) -> int:
    """Retry or discard dead letters, in batches, each in a transaction with its count in the audit table.

    Retried ones are due at once, in the order of seq, as if never tried. Discarded ones stay in the table; their
    keys continue without them. What is no dead letter any more is left alone.

    Args:
        audit: The line that counts them; it is ended.
        seqs: Which ones, ascending; `matching` returns them.

    Returns:
        How many were changed.

    Raises:
        BrokenOff: PostgreSQL failed. The batches before are done, and counted in the audit table.
    """
    changed = 0
    with changer.finishing(audit, len(seqs)):
        for start in range(0, len(seqs), _BATCH):
            batch = seqs[start : start + _BATCH]
            with changer.step():
                count = changer.run(f"operate/dead_{decision}", (batch,))
                audit.add(count)
            changed += count
            on_progress(len(batch))
    return changed
