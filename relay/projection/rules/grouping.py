"""Group a batch into few statements without changing what the result is. Pure: no I/O.

For each key the steps of its events rise, and within a step they stand in the order of the stream; so each key is
applied in its order. Between keys no order was promised, and three ways of applying use that freedom differently:

- ``each``: one event a statement, in the order of the stream, also between keys. Always right.
- ``set``: one statement for many events, no key twice in it, so that ``ON CONFLICT`` meets no row twice.
- ``fold``: one statement for many events, also of one key: the author's statement aggregates.
"""

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
    for event, handler, mode in events:
        before = -1 if event.key is None else last.get(event.key, -1)
        if mode is Mode.EACH:
            at = len(steps) - 1
            if at < 0 or steps[at].handler != handler:
                steps.append(Step(handler, mode))
                at += 1
        else:
            at = _room(open_steps.setdefault(handler, []), before + (mode is Mode.SET), len(steps))
            if at == len(steps):
                steps.append(Step(handler, mode))
                open_steps[handler].append(at)
        steps[at].events.append(event)
        if event.key is not None:
            last[event.key] = at
    return steps


def _room(steps: list[int], lowest: int, otherwise: int) -> int:
    """Return the first of a handler's steps that is not below `lowest`."""
    # From the end: in most batches a key comes back soon after, or not at all.
    found = otherwise
    for at in reversed(steps):
        if at < lowest:
            break
        found = at
    return found
