"""What becomes of each message of a batch, before anything is applied. Pure: no I/O."""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from relay.projection.rules.incoming import Incoming
from relay.projection.rules.seq_bits import SeqBits


@dataclass
class Intake:
    """A batch, told apart.

    Attributes:
        due: To be applied, in the order of the stream.
        behind: To be parked: their key has parked events already.
        repeats: How many were settled before.
        ignored: How many replays without a seq were dropped: nothing tells whether they were applied.
        doubt: Why the projection must stop, None if it may go on.
        unnumbered: Whether an event that is due carries no seq.
        keyless: Whether an event that is due carries no key.
    """

    due: list[Incoming] = field(default_factory=list)
    behind: list[Incoming] = field(default_factory=list)
    repeats: int = 0
    ignored: int = 0
    doubt: str | None = None
    unnumbered: bool = False
    keyless: bool = False


def partition_of(event: Incoming, partitions: int) -> int:
    """Return the partition of an event: by its key, or by its id if it has none."""
    if partitions == 1:
        return 0
    return zlib.crc32((event.id if event.key is None else event.key).encode()) % partitions


def sort_out(events: Sequence[Incoming], bits: SeqBits, parked_keys: Collection[str]) -> Intake:
    """Sort events into repeats, those that must wait, and those that are due.

    Args:
        events: Those of one partition that some handler wants, in the order of the stream.
        bits: With the chunks of all of them.
        parked_keys: Keys with parked events.
    """
    if not parked_keys and bits.all_new(events):
        # So are most batches, and what is below says the same of them one by one.
        return Intake(due=list(events), keyless=any(event.key is None for event in events))
    intake = Intake()
    taken: set[tuple[str, int]] = set()
    for event in events:
        if event.seq is None:
            if event.replay:
                intake.ignored += 1
                continue
            intake.unnumbered = True
        else:
            number = (event.origin, event.seq)
            if number in taken:
                intake.repeats += 1
                continue
            if bits.settled(event):
                if bits.looks_reused(event) and not event.replay:
                    intake.doubt = (
                        f"seq {event.seq} was applied before, and the event at stream sequence {event.stream_seq} is "
                        "younger than everything near it: the outbox uses its seqs again, as after a restore"
                    )
                    return intake
                intake.repeats += 1
                continue
            taken.add(number)
        if event.key is not None and event.key in parked_keys:
            intake.behind.append(event)
        else:
            intake.keyless = intake.keyless or event.key is None
            intake.due.append(event)
    return intake
