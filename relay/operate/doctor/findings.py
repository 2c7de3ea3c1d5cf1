"""What the doctor says. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "fault"]
Part = Literal["postgres", "nats", "projections", "clocks"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        check: A stable name within its part, such as ``rights`` or ``stream ORDERS``.
        level: ``fault``: events are lost, wait for ever or die; ``warning``: it works, and something is at risk.
        seen: What was seen.
        do: What to do; empty if there is nothing.
    """

    part: Part
    check: str
    level: Level
    seen: str
    do: str = ""


def count(findings: Iterable[Finding], level: Level) -> int:
    """Count the findings of a level."""
    return sum(finding.level == level for finding in findings)


def seconds(span: float) -> str:
    """Return a span of seconds as one would write it in the configuration."""
    return f"{span:g} s" if span >= 1 or span == 0 else f"{span * 1000:.3g} ms"
