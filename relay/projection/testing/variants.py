"""In which ways the same events may reach a projection, and whether they left the same model. Pure: no I/O.

The stream promises the order of each key and nothing else, and the runner promises that each event takes effect once.
Where batches end, which keys come between, where a runner crashed, and what was read twice is up to chance. A model
that depends on any of it is wrong; a statement of mode ``set`` or ``fold`` easily does.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from relay.projection.testing.history import Sent

Row = tuple[Any, ...]
Trouble = Literal["none", "crash", "set back"]


class NotTheSame(AssertionError):
    """The same events, delivered in another permitted way, left another model; the text shows both."""


@dataclass(frozen=True)
class Variant:
    """One way of delivering the events.

    Attributes:
        name: What it is, for the reader of a failure.
        events: In the order of the stream.
        sizes: How many messages each batch takes; their sum is the number of events.
        trouble: What happens at each end of a batch.
        seed: What decides where trouble goes on.
    """

    name: str
    events: tuple[Sent, ...]
    sizes: tuple[int, ...]
    trouble: Trouble = "none"
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a variant has left: the rows of each table, and the seqs of the parked events."""

    model: Mapping[str, Sequence[Row]]
    parked: tuple[int, ...]


def variants(events: Sequence[Sent], runs: int, seed: int) -> Iterator[Variant]:
    """Return the ways to try; the first is the one that the others are compared with: one by one, untroubled.

    Args:
        events: Numbered (`relay.projection.testing.history.numbered`).
        runs: How many by chance.
        seed: Of the chance.
    """
    given = tuple(events)
    yield Variant("one by one", given, (1,) * len(given))
    yield Variant("all in one batch", given, (len(given),) if given else ())
    chance = random.Random(seed)
    troubles: tuple[Trouble, ...] = ("none", "crash", "set back")
    for number in range(runs):
        trouble = troubles[number % len(troubles)]
        shuffled = number % 2 == 1
        chosen = interleaved(given, chance) if shuffled else given
        sizes = boundaries(len(given), chance)
        name = f"batches of {', '.join(map(str, sizes))}"
        if trouble == "crash":
            name += "; a crash before and after each commit"
        elif trouble == "set back":
            name += "; after each batch the stream is read again from an earlier position"
        if shuffled:
            name += f"; keys interleaved so that the seqs come as {', '.join(str(one.seq) for one in chosen)}"
        yield Variant(name, chosen, sizes, trouble, chance.randrange(2**32))


def interleaved(events: Sequence[Sent], chance: random.Random) -> tuple[Sent, ...]:
    """Return the events in another order that keeps the order of each key."""
    queues: dict[object, list[Sent]] = {}
    for place, one in enumerate(events):
        # An event without a key asks for no order at all.
        queues.setdefault(place if one.key is None else one.key, []).append(one)
    rest = [list(reversed(queue)) for queue in queues.values()]
    found = []
    while rest:
        queue = chance.choices(rest, weights=[len(one) for one in rest])[0]
        found.append(queue.pop())
        if not queue:
            rest.remove(queue)
    return tuple(found)


def boundaries(count: int, chance: random.Random) -> tuple[int, ...]:
    """Cut so many events into batches."""
    sizes = []
    while count:
        size = chance.randint(1, min(count, chance.choice((2, 5, count))))
        sizes.append(size)
        count -= size
    return tuple(sizes)


def difference(expected: Outcome, found: Outcome) -> str | None:
    """Return in what two outcomes differ; None if they do not."""
    if expected.parked != found.parked:
        return f"parked are the seqs {list(found.parked)}, and not {list(expected.parked)}"
    for table in sorted(expected.model.keys() | found.model.keys()):
        left, right = list(expected.model.get(table, ())), list(found.model.get(table, ()))
        if left != right:
            missing = [row for row in left if row not in right]
            extra = [row for row in right if row not in left]
            if not missing and not extra:
                return f"table {table} has {len(right)} rows, and not {len(left)}: a row is there more than once"
            return f"table {table}:\n" + "\n".join(
                [f"  - {_row(row)}" for row in missing[:5]] + [f"  + {_row(row)}" for row in extra[:5]]
            )
    return None


def _row(row: Row) -> object:
    return row[0] if len(row) == 1 else row
