"""Make foreign text harmless. Pure: no I/O."""


def plain(text: str) -> str:
    """Write what a terminal would obey or hide as its escape, so that the text stays one line and shows all.

    Rows are written by applications: a topic may hold escape sequences, line ends or marks of direction.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
