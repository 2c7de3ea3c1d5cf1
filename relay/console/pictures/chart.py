"""A line over time, with an objective if there is one."""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from relay.text import printable

_WIDTH, _HEIGHT = 460, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 8, 22
_TIMES_S = (60, 120, 300, 600, 1200, 1800, 3600, 7200)


def round_up(value: float) -> float:
    """Return the next 1, 2 or 5 of a power of ten that is not below a value."""
    # Below that a power of ten has no exact steps; nothing that is drawn is as small.
    if value < 1e-300 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-12))


def round_up_time(seconds: float) -> float:
    """Return a round span that is not below a value: of seconds, minutes or hours."""
    if seconds <= 60 or not math.isfinite(seconds):
        return min(round_up(seconds), 60.0) if seconds <= 60 else 1.0
    return next((float(one) for one in _TIMES_S if one >= seconds), 3600 * round_up(seconds / 3600))


def chart(
    title: str,
    points: Sequence[tuple[float, float]],
    write: Callable[[float], str],
    since: str,
    objective: float | None = None,
    top: Callable[[float], float] = round_up,
) -> Markup:
    """Draw a line.

    Args:
        title: What is drawn, with its last value: what is read aloud.
        points: Time and value, the earliest first; at least one.
        write: Writes a value for the axis.
        since: The text at the left end of the time's axis.
        top: Returns where the axis ends, for the highest value.
        objective: Where a dashed line is drawn.
    """
    highest = top(max([value for _, value in points if math.isfinite(value)] + [objective or 0.0]))
    first, last = points[0][0], points[-1][0]
    span = max(last - first, 1e-9)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(at: float, value: float) -> tuple[float, float]:
        shown = min(value, highest) if math.isfinite(value) else highest
        return round(_LEFT + (at - first) / span * wide, 1), round(_TOP + high - max(0.0, shown) / highest * high, 1)

    places = [place(*point) for point in points]
    line = " ".join(f"{x},{y}" for x, y in places)
    floor = _TOP + high
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, printable(title)),
        Markup('<polygon class="area" points="{},{} {} {},{}"/>').format(
            places[0][0], floor, line, places[-1][0], floor
        ),
        Markup('<line class="axis" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>').format(_LEFT, floor, _WIDTH - _RIGHT),
        Markup('<line class="axis" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>').format(_LEFT, _TOP, _WIDTH - _RIGHT),
        Markup('<polyline class="line" points="{}"/>').format(line),
        Markup('<text class="soft" x="{}" y="{}" text-anchor="end">{}</text>').format(
            _LEFT - 5, _TOP + 8, write(highest)
        ),
        Markup('<text class="soft" x="{}" y="{}" text-anchor="end">0</text>').format(_LEFT - 5, floor),
        Markup('<text class="soft" x="{}" y="{}">{}</text>').format(_LEFT, _HEIGHT - 6, since),
        Markup('<text class="soft" x="{}" y="{}" text-anchor="end">now</text>').format(_WIDTH - _RIGHT, _HEIGHT - 6),
    ]
    if objective is not None:
        _, y = place(first, objective)
        parts.append(
            Markup('<line class="objective" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>').format(_LEFT, y, _WIDTH - _RIGHT)
        )
        parts.append(
            Markup('<text class="soft" x="{}" y="{}" text-anchor="end">objective {}</text>').format(
                _WIDTH - _RIGHT, y - 3 if y > _TOP + 14 else y + 12, write(objective)
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])
