"""Foreign text in a page: nothing of it is markup, and what a reader could not see is shown as its escape. Pure."""

from itertools import groupby

from markupsafe import Markup, escape

from relay.text import printable


def harmless(value: object) -> object:
    """Return what a template prints for a value: a text with its control and bidi characters as escapes.

    Set as ``finalize``, so that no template can forget it; Jinja escapes the markup after that.
    """
    return printable(value) if type(value) is str else value


def visible(text: str) -> Markup:
    """Return a text in which what is not printable is a marked escape."""
    if text.isprintable():
        return escape(text)
    parts = []
    for is_printable, chars in groupby(text, str.isprintable):
        run = "".join(chars)
        parts.append(escape(run) if is_printable else Markup('<span class="esc">{}</span>').format(printable(run)))
    return Markup("").join(parts)


def raw(text: str) -> Markup:
    """Return a text that a form sends back as it is: markup is escaped, and nothing else is changed."""
    return escape(text)


def lines(text: str) -> Markup:
    """Return a text of several lines, each made `visible`."""
    return Markup("\n").join(visible(line) for line in text.split("\n"))


def cut(text: str, limit: int) -> str:
    """Return a text, or its beginning if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
