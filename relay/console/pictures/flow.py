"""The way of events: outbox, relays, streams, consumers, with the number at each station."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

_BOX_WIDTH, _BOX_HEIGHT, _GAP = 96, 74, 24


class Station(NamedTuple):
    """One station.

    Attributes:
        lines: The numbers below the name, at most three short ones.
        state: Drawn as a frame, and written as a word.
    """

    name: str
    lines: tuple[str, ...]
    state: Literal["good", "warning", "fault", "unknown"]


def flow(stations: Sequence[Station]) -> Markup:
    """Draw the stations from left to right, an arrow between each two."""
    width = len(stations) * (_BOX_WIDTH + _GAP) - _GAP + 4
    told = "; ".join(f"{one.name}: {', '.join(one.lines)}, {one.state}" for one in stations)
    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, _BOX_HEIGHT + 4, told)]
    for number, one in enumerate(stations):
        x = 2 + number * (_BOX_WIDTH + _GAP)
        if number:
            parts.append(_arrow(x - _GAP, 2 + _BOX_HEIGHT / 2))
        parts.append(
            Markup('<rect class="box {}" x="{}" y="2" width="{}" height="{}" rx="6"/>').format(
                one.state, x, _BOX_WIDTH, _BOX_HEIGHT
            )
        )
        for line, text in enumerate((one.name, *one.lines)):
            parts.append(
                Markup('<text{} x="{}" y="{}">{}</text>').format(
                    Markup("") if line == 0 else Markup(' class="soft"'), x + 7, 18 + line * 16, text
                )
            )
    return Markup("").join([*parts, Markup("</svg>")])


def _arrow(x: float, y: float) -> Markup:
    return Markup('<path class="line" d="M{} {}h{}m-6 -5l6 5l-6 5"/>').format(x + 3, y, _GAP - 6)
