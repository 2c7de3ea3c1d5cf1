"""Whether a stream is the one that a position was counted in, and what is missing from it. Pure: no I/O.

A name proves nothing. The message at the position does: the same sequence with the same time of storage, to the
nanosecond, is the same history, also after a restore. If that message is gone, the time at which the stream was made
has to do. A stream that was set back or made new hands out the same sequences again, for other events; then only the
bits of the outbox's seqs (`relay.projection.rules.seq_bits`) tell which events are due.

| seen | means | done |
|---|---|---|
| position 0 | nothing was read yet | from the first message; what is already gone is a gap |
| same time at the position | same history | go on behind it |
| message gone, same stream, last_seq not below the position | aged out behind us | go on |
| last_seq below the position, another time there, or another stream with nothing to compare | set back, or made new | \
with bits from the first message, dropping what is settled; without: stop |
| the same, and its first message is younger than the position | what was dropped since may be unread | gap: stop |
| first_seq above the next sequence | what lay between is gone, maybe ours | gap: stop |
| it keeps only the newest of each subject | what it drops from its middle is missing unseen | stop, unless accepted |
| retention not ``limits`` | a reader without acknowledgements is refused, or deletes | stop |
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Known:
    """What is written down of the stream.

    Attributes:
        position: Everything up to this sequence is settled; 0: nothing was read.
        time_ns: When the stream stored the message at `position`; None if there was none, or it was not ours.
        created: When the stream was made, in the server's words; None before the first look, and after an operator has
            accepted a gap.
        has_bits: Whether every event that was applied had a seq.
        from_first: Whether the definition accepts that what the stream no longer holds is missing.
    """

    position: int
    time_ns: int | None
    created: str | None
    has_bits: bool = True
    from_first: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stream says of itself now.

    Attributes:
        created: When it was made.
        first_seq: Nothing is stored below it; last_seq + 1 if it is empty.
        last_seq: The last sequence that it gave.
        by_limits: Whether its retention is ``limits``.
        time_ns: When it stored the message at our position; None if it has none there.
        thins: Whether it drops messages from its middle, to keep the newest of each subject.
        first_time_ns: When it stored its first message; None if it is empty, or that was not asked.
    """

    created: str
    first_seq: int
    last_seq: int
    by_limits: bool = True
    time_ns: int | None = None
    thins: bool = False
    first_time_ns: int | None = None


class Finding(StrEnum):
    """What the comparison says."""

    SAME = "same"
    BEGIN = "begin"
    SET_BACK = "set_back"
    GAP = "gap"
    UNFIT = "unfit"
    DOUBT = "doubt"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a stream.

    Attributes:
        finding: What was found.
        position: From where to count: the message behind it is the next one to read.
        reason: Why the projection must stop, for the operator; None if it may go on.
        gap_last: The last sequence that is missing, None without a gap.
    """

    finding: Finding
    position: int
    reason: str | None = None
    gap_last: int | None = None


EXPIRES = (
    "a message of this stream may say when it is dropped (allow_msg_ttl): an event that is dropped before it is read "
    "is missing, and nothing shows that"
)
THINS = (
    "the stream keeps only the newest messages of each subject (max_msgs_per_subject): what it drops before it is read "
    "would be missing, and nothing would show that; partial = true accepts it"
)


def judge(known: Known, seen: Seen) -> Verdict:
    """Compare what is written down with what the stream says."""
    if not seen.by_limits:
        return Verdict(
            Finding.UNFIT,
            known.position,
            "the stream's retention is not limits: it deletes what its consumers have acknowledged",
        )
    if seen.thins and not known.from_first:
        return Verdict(Finding.UNFIT, known.position, THINS)
    if known.position == 0:
        return _unless_missing(Finding.BEGIN, 0, seen, accept=known.from_first)
    if known.position <= seen.last_seq:
        if known.time_ns is not None and seen.time_ns == known.time_ns:
            return _unless_missing(Finding.SAME, known.position, seen)
        # A position moves also over messages that are not ours, and no time is known of these.
        unproved = seen.time_ns is None or known.time_ns is None
        if unproved and known.created in (None, seen.created):
            return _unless_missing(Finding.SAME, known.position, seen)
    if not known.has_bits:
        return Verdict(
            Finding.DOUBT,
            known.position,
            f"the stream is not the one that position {known.position} was counted in (it was set back, or made new), "
            "and its events carry no Outbox-Seq: nothing tells which of them were applied",
        )
    if seen.created == known.created and seen.first_seq <= known.position + 1:
        # The same stream, set back. What was stored since is younger than the message at the position: if the first
        # message is not, all that is gone below it was read before.
        first_ns, ours_ns = seen.first_time_ns, known.time_ns
        if seen.first_seq == 1 or (first_ns is not None and ours_ns is not None and first_ns <= ours_ns):
            return Verdict(Finding.SET_BACK, seen.first_seq - 1)
        reason = (
            f"the stream was set back, and has dropped messages since, up to sequence {seen.first_seq - 1}: nothing "
            "shows that this projection has read all of them that were its own"
        )
        return Verdict(Finding.GAP, known.position, reason, seen.first_seq - 1)
    return _unless_missing(Finding.SET_BACK, 0, seen)


def _unless_missing(finding: Finding, position: int, seen: Seen, *, accept: bool = False) -> Verdict:
    if seen.first_seq <= position + 1:
        return Verdict(finding, position)
    if accept:
        return Verdict(finding, seen.first_seq - 1)
    return Verdict(Finding.GAP, position, gap_reason(position, seen.first_seq), seen.first_seq - 1)


def gap_reason(position: int, first_seq: int) -> str:
    """Return which sequences are missing."""
    return (
        f"the stream no longer holds sequences {position + 1} to {first_seq - 1}, and nothing shows that none of them "
        "was an event of this projection"
    )


def jump_is_proved(position: int, stream_seq: int, seen: Seen) -> bool:
    """Return whether no event was lost between the position and the next message that came.

    A reader with a filter passes over messages of others, so a jump is usual. It proves nothing by itself: what lay
    between may have been purged before it was read.

    Args:
        seen: What the stream said of itself after that message had come.
    """
    return stream_seq == position + 1 or seen.first_seq <= position + 1
