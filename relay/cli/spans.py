"""A span of time as options take it: ``90s``, ``15m``, ``2h``, ``7d``. Pure: no I/O."""

import re

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(text: str) -> float | None:
    """Return the seconds of a span; None if the text is not a span."""
    found = _SPAN.fullmatch(text.strip())
    return None if found is None else float(found[1]) * _SECONDS[found[2]]
