"""The events of one key over time: a row each, from its creation to where it is now."""

from collections.abc import Sequence

from markupsafe import Markup

from relay.operate.events import ListedEvent

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 460, 88, 104, 20, 6
_MOST = 24


def timeline(events: Sequence[ListedEvent], blocker: ListedEvent | None, now: float) -> Markup:
    """Draw the last 24 events, in the order of seq; `blocker` is marked as what the others wait for."""
    shown = [one for one in events if abs(one.created_at) < 1e15][-_MOST:]
    if not shown:
        return Markup("")
    first = min(one.created_at for one in shown)
    last = max(max(_end(one, now) for one in shown), first + 1e-3)
    wide = _WIDTH - _LEFT - _RIGHT

    def x(at: float) -> float:
        return round(_LEFT + (min(max(at, first), last) - first) / (last - first) * wide, 1)

    height = 2 * _TOP + len(shown) * _ROW
    told = f"{len(shown)} events of this key over time" + ("" if blocker is None else f"; {blocker.seq} is in the way")
    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, height, told)]
    for number, one in enumerate(shown):
        y = _TOP + number * _ROW + _ROW / 2
        is_blocker = blocker is not None and one.seq == blocker.seq
        begin, end = x(one.created_at), x(_end(one, now))
        parts.append(
            Markup(
                '<text x="{}" y="{}" text-anchor="end">{}</text><line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>'
                '<circle class="pending" cx="{}" cy="{}" r="2.5"/><circle class="{}" cx="{}" cy="{}" r="5"/>'
                '<text class="soft" x="{}" y="{}">{}</text>'
            ).format(
                _LEFT - 8, y + 4, one.seq,
                begin, y, end, y,
                begin, y, one.state, end, y,
                min(end + 9, _WIDTH - _RIGHT + 9), y + 4, f"{one.state} ◀" if is_blocker else one.state,
            )
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def _end(event: ListedEvent, now: float) -> float:
    return event.settled_at if event.settled and event.settled_at else now
