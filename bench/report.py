"""The figures of a run: as a table, and as JSON."""

import json
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.quiet import Quiet


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        scenario: What it belongs to.
        rounds: What each round gave; `value` is their median.
        at_least: The bar from below; None: there is none.
        at_most: The bar from above.
        below: The same, if the bar itself is a miss.
    """

    scenario: str
    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    rounds: list[float] = field(default_factory=list)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None if there is none."""
        if self.at_least is None and self.at_most is None and self.below is None:
            return None
        return (
            (self.at_least is None or self.value >= self.at_least)
            and (self.at_most is None or self.value <= self.at_most)
            and (self.below is None or self.value < self.below)
        )

    def bar(self) -> str:
        """Return the bar in words."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        if self.below is not None:
            return f"< {self.below:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""


def _shown(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


class Report:
    """Collects figures, and says on stderr how far the run is.

    Args:
        patient: As of `Quiet`.
    """

    def __init__(self, *, patient: bool = True) -> None:
        self.figures: list[Figure] = []
        self.machine: dict[str, Any] = {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
        }
        self.quiet = Quiet(self.progress, patient=patient)

    def progress(self, line: str) -> None:
        """Print one line."""
        print(line, file=sys.stderr, flush=True)

    def add(self, figure: Figure) -> None:
        """Take a figure."""
        self.figures.append(figure)

    @property
    def missed(self) -> list[Figure]:
        """The figures that miss their bar."""
        return [figure for figure in self.figures if figure.met is False]

    def table(self) -> str:
        """Return all figures in aligned columns."""
        verdicts = {None: "", True: "met", False: "MISSED"}
        lines = [("scenario", "figure", "median", "unit", "rounds", "bar", "")]
        lines += [
            (
                figure.scenario,
                figure.name,
                _shown(figure.value),
                figure.unit,
                " ".join(map(_shown, figure.rounds)) if len(figure.rounds) > 1 else "",
                figure.bar(),
                verdicts[figure.met],
            )
            for figure in self.figures
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        right = {2}
        return "\n".join(
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        figures = [
            {
                "scenario": figure.scenario,
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "rounds": figure.rounds,
                "bar": figure.bar(),
                "met": figure.met,
            }
            for figure in self.figures
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"machine": self.machine, "taken_by_others": self.quiet.shares, "figures": figures}, indent=2)
            + "\n",
            "utf-8",
        )
