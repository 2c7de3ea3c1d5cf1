"""Foreign text in a page: nothing of it is markup, and what a reader could not see is shown as its escape. Pure."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby

from markupsafe import Markup, escape

from relay.text import printable

# The most bytes that one character takes: its escape of ten characters, and the mark around it.
_LONGEST_CHAR = 36


def harmless(value: object) -> object:
    """Return what a template prints for a value: a text with its control and bidi characters as escapes.

    Set as ``finalize``, so that no template can forget it; Jinja escapes the markup after that.
    """
    return printable(value) if type(value) is str else value


def visible(text: str, most: int | None = None) -> Markup:
    """Return a text in which what is not printable is a marked escape.

    Args:
        most: How many bytes of markup it may take; what is beyond them is cut off, and an ellipsis added.
    """
    if most is not None and len(text) * _LONGEST_CHAR > most:
        begin = fitting(text, most)
        return _marked(begin) if len(begin) == len(text) else _marked(begin) + "…"
    return _marked(text)


def lines(text: str) -> Markup:
    """Return a text of several lines, each made `visible`."""
    return Markup("\n").join(_marked(line) for line in text.split("\n"))


def raw(text: str) -> Markup:
    """Return a text that a form sends back as it is: markup is escaped, and nothing else is changed."""
    return escape(text)


def fitting(text: str, most: int, *, several_lines: bool = False) -> str:
    """Return the longest beginning of a text whose markup takes at most `most` bytes: of `visible`, or of `lines`."""
    kept: list[str] = []
    left = most
    # A character takes a byte at least.
    begin = text[: most + 1]
    for line in begin.split("\n") if several_lines else [begin]:
        left -= 1 if kept else 0
        if left < 0:
            break
        part, used = _fit(line, left)
        kept.append(part)
        left -= used
        if len(part) < len(line):
            break
    return "\n".join(kept)


def _fit(line: str, left: int) -> tuple[str, int]:
    """Return the beginning of a line that takes at most `left` bytes, and how many it takes."""
    length = used = 0
    for run in _runs(line):
        size = _size(run)
        if used + size > left:
            begin = _beginning(run, left - used)
            return line[: length + len(begin)], used + _size(begin)
        length, used = length + len(run), used + size
    return line, used


def _beginning(run: str, left: int) -> str:
    """Return the longest beginning of a run that takes at most `left` bytes."""
    lengths = range(1, len(run) + 1)
    return run[: bisect_right(lengths, left, key=lambda length: _size(run[:length]))]


def _runs(text: str) -> Iterator[str]:
    """Split a text where printable characters end, and where they begin."""
    if text.isprintable():
        yield from (text,) if text else ()
        return
    for _, chars in groupby(text, str.isprintable):
        yield "".join(chars)


def _marked(text: str) -> Markup:
    return Markup("").join(map(_mark, _runs(text)))


def _mark(run: str) -> Markup:
    return escape(run) if run.isprintable() else Markup('<span class="esc">{}</span>').format(printable(run))


def _size(run: str) -> int:
    return len(_mark(run).encode()) if run else 0
