"""Tables, times and sizes for people. Cells come from rows of applications: they are made harmless first."""

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import click

from relay.text import printable

_CELL = 60
# Characters of a cell for each of its columns: letters with the marks that combine with them.
_MARKS = 4
# On a narrow terminal a name keeps this many columns, and what is left for the last column is at least this much.
_NAME = 8
_REST = 24


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        right: Align to the right, as numbers are.
        rest: Takes what is left of the terminal's width; elsewhere it is not shortened. Only the last column.
        name: A narrow terminal shows only the beginning: of a name, never of a number or a time.
    """

    title: str
    right: bool = False
    rest: bool = False
    name: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table: the titles, then a line for each row.

    On a terminal that is too narrow names are cut first. If that is not enough, what takes the rest of the width stands
    below the line of its row. Numbers and times are always whole.
    """
    cells = [[_fit(printable(cell), column) for cell, column in zip(row, columns, strict=True)] for row in rows]
    cells.insert(0, [column.title for column in columns])
    widths = [max(_width(line[at]) for line in cells) for at in range(len(columns))]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    below = False
    if room is not None:
        below = _narrow(widths, columns, room)
    lines = []
    for number, line in enumerate(cells):
        shown = [
            _cut(cell, width) if column.name else cell
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        rest = shown.pop() if below else ""
        padded = [_pad(cell, width, column) for cell, width, column in zip(shown, widths, columns, strict=False)]
        texts = ["  ".join(padded).rstrip(), *([f"    {rest}"] if rest else [])]
        if room is not None and columns[-1].rest:
            texts[-1] = _cut(texts[-1], room) if rest or not below else texts[-1]
        lines += [click.style(text, bold=True) if number == 0 else text for text in texts]
    return lines


def _narrow(widths: list[int], columns: Sequence[Column], room: int) -> bool:
    """Make the columns of names narrower until a line has room; return whether the last column stands below its row."""
    has_rest = columns[-1].rest
    wanted = sum(widths) + 2 * (len(widths) - 1)
    if has_rest:
        wanted -= max(0, widths[-1] - _REST)
    while wanted > room:
        widest = max((at for at, column in enumerate(columns) if column.name), key=lambda at: widths[at], default=None)
        if widest is None or widths[widest] <= _NAME:
            return has_rest
        widths[widest] -= 1
        wanted -= 1
    return False


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
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, width: int) -> str:
    # What is cut costs nothing: a text may have a million characters, or marks without end on one of them.
    text, is_whole = text[: width * _MARKS], len(text) <= width * _MARKS
    if is_whole and _width(text) <= width:
        return text
    room = width - 1
    for at, char in enumerate(text):
        room -= _columns(char)
        if room < 0:
            return text[:at] + "…"
    return text + "…"


def message(text: str) -> None:
    """Print a line for people, on stderr, beside the data."""
    click.echo(printable(text), err=True)
