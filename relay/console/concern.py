"""One thing that is not as it should be, as pages show it. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Begins = Literal["Since", "Seen since", "Nothing was delivered since"]


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is not as it should be.

    Attributes:
        level: ``fault``: events wait or are lost; ``warning``: an operator should look.
        since: Unix seconds, None if nobody knows.
        do: What an operator does about it.
        command: The command that mends it, or shows more.
        page: The page that shows more, below the base path.
        runbook: The alert whose runbook is about it.
        begins: What `since` is: when it began as the outbox or NATS tells, or when this console saw it first.
        also: Further pages, such as that of the first event that waits.
    """

    level: Literal["fault", "warning"]
    what: str
    why: str
    since: float | None
    do: str
    command: str
    page: str
    runbook: str
    begins: Begins = "Since"
    also: tuple[str, ...] = ()


def earliest(moments: Iterable[float]) -> float | None:
    """Return the earliest moment that is known: a row may say ``-infinity``. None without any."""
    return min(filter(math.isfinite, moments), default=None)
