"""Group a batch into few statements without changing what the result is. Pure: no I/O.

For each key the steps of its events rise, and within a step they stand in the order of the stream; so each key is
applied in its order. Between keys no order was promised, and three ways of applying use that freedom differently:

- ``each``: one event a statement, in the order of the stream, also between keys. Always right.
- ``set``: one statement for many events, no key twice in it, so that ``ON CONFLICT`` meets no row twice.
- ``fold``: one statement for many events, also of one key: the author's statement aggregates.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from relay.projection.rules.incoming import Incoming

H = TypeVar("H", bound=Hashable)


class Mode(StrEnum):
    """How events are put together; the module says what each means."""

    EACH = "each"
    SET = "set"
    FOLD = "fold"


@dataclass
class Step(Generic[H]):
    """Events that one handler applies at once, in the order of the stream."""

    handler: H
    mode: Mode
    events: list[Incoming] = field(default_factory=list)


def group(events: Iterable[tuple[Incoming, H, Mode]]) -> list[Step[H]]:
    """Return the steps of a batch, in the order in which they must be applied.

    Args:
        events: In the order of the stream, each with what applies it.
    """
    steps: list[Step[H]] = []
    last: dict[str, int] = {}  # of each key, the step of its last event
    open_steps: dict[H, list[int]] = {}  # of each handler, its steps, ascending; never of mode each
    previous: H | None = None
    opened: list[int] = []
    for event, handler, mode in events:
        key = event.key
        before = -1 if key is None else last.get(key, -1)
        if mode is Mode.EACH:
            at = len(steps) - 1
            if at < 0 or steps[at].handler != handler:
                steps.append(Step(handler, mode))
                at += 1
        else:
            if handler is not previous:
                # To look it up costs more than all else here, and in most batches it is that of the event before.
                previous, opened = handler, open_steps.setdefault(handler, [])
            # The first of the handler's steps that the key has not passed.
            place = bisect_left(opened, before + (mode is Mode.SET)) if before >= 0 else 0
            if place < len(opened):
                at = opened[place]
            else:
                at = len(steps)
                steps.append(Step(handler, mode))
                opened.append(at)
        steps[at].events.append(event)
        if key is not None:
            last[key] = at
    return steps
