"""The demo's live picture: lines made of numbers, and a terminal that redraws them in place."""

import io
import os
import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from relay.demo.numbers import Numbers
from relay.terminal import Redraw

_BARS = " ▁▂▃▄▅▆▇█"
_HISTORY = 60
_NOTES = 4


def clock(seconds: float) -> str:
    """Write a duration as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def bars(values: Sequence[float]) -> str:
    """Draw values as bars, the highest at full height; anything above 0 is seen."""
    top = max(values, default=0)
    return "".join(_BARS[0 if value <= 0 else max(1, round(value / top * 8))] for value in values)


def picture(
    now: Numbers, *, elapsed_s: float, rolled_back: int, history: Sequence[float], notes: Sequence[str]
) -> list[str]:
    """Put the numbers into lines.

    Args:
        now: The numbers.
        elapsed_s: Since the first order, seconds.
        rolled_back: Transactions that the shop took back.
        history: The backlog at earlier looks, oldest first.
        notes: What has happened, oldest first.
    """

    def row(name: str, *cells: tuple[str, str]) -> str:
        return f"  {name:<12}" + "".join(f"{label:<14}{value:>9}    " for label, value in cells).rstrip()

    return [
        f"  Outbox relay, {clock(elapsed_s)}. Ctrl-C ends it and cleans up.",
        "",
        row("shop", ("placed", f"{now.placed:,}"), ("rolled back", f"{rolled_back:,}")),
        row("relay", ("delivered/s", f"{now.delivered_per_s:,.0f}"), ("dead letters", f"{now.dead:,}")),
        row("", ("backlog", f"{now.backlog:,}"), ("lag", f"{now.lag_s:.1f} s")),
        row("nats-server", ("up" if now.nats_up else "DOWN", "")),
        row("order list", ("read model", f"{now.in_read_model:,}"), ("to come", f"{now.placed - now.in_read_model:,}")),
        "",
        f"  {'backlog':<12}{bars(history)}",
        "",
        *(f"  {note}" for note in notes),
    ]


class Screen:
    """Shows how it goes: a picture that is redrawn in place, or a line a second.

    Args:
        out: Where to; a terminal if `live`.
        live: Whether to redraw.
    """

    def __init__(self, out: TextIO, *, live: bool) -> None:
        self._out = out
        self._live = live
        self._picture = Redraw(out)
        self._last_line_at = float("-inf")
        self._history: deque[float] = deque(maxlen=_HISTORY)
        self._notes: deque[str] = deque(maxlen=_NOTES)

    def __enter__(self) -> Self:
        if self._live:
            self._picture.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._picture.__exit__(kind, value, trace)

    def note(self, elapsed_s: float, text: str) -> None:
        """Print what has happened."""
        line = f"{clock(elapsed_s)}  {text}"
        self._notes.append(line)
        if not self._live:
            self._write(f"{line}\n")

    def show(self, now: Numbers, *, elapsed_s: float, rolled_back: int) -> None:
        """Show the numbers."""
        self._history.append(now.backlog)
        if self._live:
            lines = picture(now, elapsed_s=elapsed_s, rolled_back=rolled_back, history=self._history, notes=self._notes)
            self._picture.draw(lines)
        elif elapsed_s - self._last_line_at >= 1:
            self._last_line_at = elapsed_s
            self._write(
                f"{clock(elapsed_s)}  placed {now.placed}, rolled back {rolled_back}, backlog {now.backlog}, "
                f"lag {now.lag_s:.1f} s, delivered/s {now.delivered_per_s:.0f}, "
                f"read model {now.in_read_model}, dead letters {now.dead}\n"
            )

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def screen(plain: bool) -> Screen:
    """Take the terminal if there is one and it is wanted, else lines on stderr."""
    live = not plain and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Not every terminal knows the bars.
        sys.stdout.reconfigure(errors="replace")
    return Screen(sys.stdout if live else sys.stderr, live=live)
