"""Tables, times and sizes for people. Cells come from rows of applications: they are made harmless first."""

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import click

from relay.text import printable

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
    cells = [[_fit(printable(cell), column) for cell, column in zip(row, columns, strict=True)] for row in rows]
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
    """Make a cell of a table whose end is not known: at least so wide; return also how wide it is."""
    shown = _cut(printable(cell), _CELL)
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


def message(text: str) -> None:
    """Print a line for people, on stderr, beside the data."""
    click.echo(printable(text), err=True)
