"""Tables, times and sizes for people. Cells come from rows of applications: they are made harmless first."""

import math
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from relay.plain import plain

_CELL = 60


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        right: Align to the right, as numbers are.
        rest: Takes what is left of the terminal's width; elsewhere it is not shortened. Only the last column.
    """

    title: str
    right: bool = False
    rest: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table: the titles, then a line for each row."""
    cells = [[_fit(plain(cell), column) for cell, column in zip(row, columns, strict=True)] for row in rows]
    widths = [
        max(_width(line[at]) for line in [[column.title for column in columns], *cells]) for at in range(len(columns))
    ]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = []
    for number, line in enumerate([[column.title for column in columns], *cells]):
        padded = [_pad(cell, width, column) for cell, width, column in zip(line, widths, columns, strict=True)]
        text = "  ".join(padded).rstrip()
        if room is not None and _width(text) > room and columns[-1].rest:
            text = _cut(text, room)
        lines.append(click.style(text, bold=True) if number == 0 else text)
    return lines


def _fit(cell: str, column: Column) -> str:
    return cell if column.rest else _cut(cell, _CELL)


def _pad(cell: str, width: int, column: Column) -> str:
    space = " " * (width - _width(cell))
    return space + cell if column.right else cell + space


def fill(cell: str, width: int, *, right: bool = False) -> tuple[str, int]:
    """Make a cell of a table whose end is not known: at least so wide; gives also how wide it is."""
    shown = _cut(plain(cell), _CELL)
    wide = max(width, _width(shown))
    return _pad(shown, wide, Column("", right=right)), wide


def _width(text: str) -> int:
    """Count the columns of a terminal: wide characters take two, marks that combine none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def age(seconds: float) -> str:
    """Say a span in its two largest units: ``2 h 5 min``."""
    if not math.isfinite(seconds):
        return "infinity"
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
    """Say a moment (Unix seconds) in local time, with its distance from now; nothing where there is none."""
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
    """Make a date, None where a row holds one that Python cannot say."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def size(count: int) -> str:
    """Say a size in bytes: ``1.5 MiB (1,572,864 bytes)``."""
    about = about_size(count)
    return about if count < 1024 else f"{about} ({count:,} bytes)"


def about_size(count: int) -> str:
    """Say a size in bytes, and no more of it than people read: ``1.5 MiB``."""
    if count < 1024:
        return f"{count:,} bytes" if count != 1 else "1 byte"
    power = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def events_of(count: int, kind: str = "event") -> str:
    """Say a count with its noun: ``1 event``, ``2,000 dead letters``."""
    return f"{count:,} {kind}{'' if count == 1 else 's'}"


def json_line(text: str) -> str:
    """Escape in JSON of one line what a terminal would obey or hide; it stays the same JSON."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    """Escape one character; above the basic plane JSON wants two halves."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def message(text: str) -> None:
    """Tell a person something beside the data."""
    click.echo(plain(text), err=True)
