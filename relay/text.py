"""Text for people and programs: foreign text made harmless, names in SQL, moments, sizes, JSON lines. Pure."""

import math
from datetime import UTC, datetime


def printable(text: str) -> str:
    """Write what a terminal would obey or hide as its escape, so that the text stays one line and shows all.

    Rows are written by applications: a topic may hold escape sequences, line ends or marks of direction.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def quoted(name: str) -> str:
    """Quote an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def elapsed(since: float, now: float) -> float:
    """Return how many seconds ago a moment was, both in Unix seconds; 0 if it is yet to come.

    A row may say that it was created at ``infinity`` or ``-infinity``. How long ago that was is not known, and is not
    short: the answer is infinite.
    """
    return max(0.0, now - since) if math.isfinite(since) else math.inf


def age(seconds: float) -> str:
    """Return a span in its two largest units: ``2 h 5 min``; ``unknown`` if it is infinite."""
    if not math.isfinite(seconds):
        return "unknown"
    left = abs(seconds)
    if left < 1:
        return f"{left * 1000:.0f} ms"
    if left < 60:
        return f"{left:.1f} s" if left < 10 else f"{left:.0f} s"
    whole = int(left)
    parts: list[tuple[int, str]] = []
    for unit, seconds_each in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, seconds_each)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def moment(at: float | None, now: float) -> str:
    """Return a moment (Unix seconds) in local time, with its distance from now; an empty text if there is none."""
    if at is None:
        return ""
    local = _datetime(at)
    if local is None:
        return "infinity" if at > 0 else "-infinity"
    distance = f"in {age(at - now)}" if at > now else f"{age(now - at)} ago"
    return f"{local.astimezone():%Y-%m-%d %H:%M:%S} ({distance})"


def iso(at: float | None) -> str | None:
    """Write a moment (Unix seconds) for programs: RFC 3339, UTC, microseconds."""
    if at is None:
        return None
    utc = _datetime(at)
    if utc is None:
        return "infinity" if at > 0 else "-infinity"
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _datetime(at: float) -> datetime | None:
    """Return a date, None if a row holds one that Python cannot express."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def size(count: int) -> str:
    """Return a size in bytes: ``1.5 MiB (1,572,864 bytes)``."""
    about = about_size(count)
    return about if count < 1024 else f"{about} ({count:,} bytes)"


def about_size(count: int) -> str:
    """Return a size in bytes, and no more of it than people read: ``1.5 MiB``."""
    if count < 1024:
        return f"{count:,} bytes" if count != 1 else "1 byte"
    power = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def events_of(count: int, kind: str = "event") -> str:
    """Return a count with its noun: ``1 event``, ``2,000 dead letters``."""
    return f"{count:,} {kind}{'' if count == 1 else 's'}"


def of_planned(done: int, planned: int) -> str:
    """Return how many of what a change has counted at its beginning are done: ``3 of 7``.

    A replay beside a relay takes what is delivered meanwhile as well, so more may be done: ``9 (7 when it began)``.
    """
    return f"{done:,} of {planned:,}" if done <= planned else f"{done:,} ({planned:,} when it began)"


def json_line(text: str) -> str:
    """Escape in JSON of one line what a terminal would obey or hide; it stays the same JSON."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    """Escape one character; above the basic plane JSON wants two halves."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
