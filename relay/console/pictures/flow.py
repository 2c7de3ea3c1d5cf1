"""The way of events: outbox, relays, streams, consumers, with the number at each station."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

from relay.text import printable

_BOX_WIDTH, _BOX_HEIGHT, _GAP = 110, 74, 24
_ROW_WIDTH, _ROW_HEIGHT, _ROW_GAP = 230, 44, 20


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
    parts = []
    for number, one in enumerate(stations):
        x = 2 + number * (_BOX_WIDTH + _GAP)
        if number:
            parts.append(_arrow(f"M{x - _GAP + 3} {2 + _BOX_HEIGHT / 2}h{_GAP - 6}m-6 -5l6 5l-6 5"))
        parts.append(_box(one, x, 2, _BOX_WIDTH, _BOX_HEIGHT))
        parts += [_text(text, x + 7, 18 + line * 16, soft=line > 0) for line, text in enumerate((one.name, *one.lines))]
    return _picture("wide", stations, len(stations) * (_BOX_WIDTH + _GAP) - _GAP + 4, _BOX_HEIGHT + 4, parts)


def flow_down(stations: Sequence[Station]) -> Markup:
    """Draw them from above downwards, for a narrow screen."""
    parts = []
    for number, one in enumerate(stations):
        y = 2 + number * (_ROW_HEIGHT + _ROW_GAP)
        if number:
            parts.append(_arrow(f"M{2 + _ROW_WIDTH / 2} {y - _ROW_GAP + 3}v{_ROW_GAP - 6}m-5 -6l5 6l5 -6"))
        parts.append(_box(one, 2, y, _ROW_WIDTH, _ROW_HEIGHT))
        parts.append(_text(one.name, 10, y + 17, soft=False))
        parts.append(_text(", ".join(one.lines), 10, y + 34, soft=True))
    return _picture("tall", stations, _ROW_WIDTH + 4, len(stations) * (_ROW_HEIGHT + _ROW_GAP) - _ROW_GAP + 4, parts)


def _picture(shape: str, stations: Sequence[Station], width: int, height: int, parts: Sequence[Markup]) -> Markup:
    told = printable("; ".join(f"{one.name}: {', '.join(one.lines)}, {one.state}" for one in stations))
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        shape, width, height, printable(told)
    )
    return Markup("").join([head, *parts, Markup("</svg>")])


def _box(one: Station, x: int, y: int, width: int, height: int) -> Markup:
    return Markup('<rect class="box {}" x="{}" y="{}" width="{}" height="{}" rx="6"/>').format(
        one.state, x, y, width, height
    )


def _text(text: str, x: int, y: int, *, soft: bool) -> Markup:
    return Markup('<text{} x="{}" y="{}">{}</text>').format(
        Markup(' class="soft"') if soft else "", x, y, printable(text)
    )


def _arrow(path: str) -> Markup:
    return Markup('<path class="line" d="{}"/>').format(path)
