"""What the server says of a right that it refuses, read as it quotes it. Pure: no I/O."""

import re

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_FORBIDDEN = re.compile(rf"permissions violation for publish to {_QUOTED}", re.IGNORECASE)
_UNHEARD = re.compile(rf"permissions violation for subscription to {_QUOTED}", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")


def forbidden_subject(words: str) -> str | None:
    """Return the subject on which the server refused a publish, in lower case; None if it speaks of something else.

    The server quotes it as Go does: a quote and a backslash have a backslash before them. Nothing else that it would
    write in another way can be in a subject of ours (`relay.rules.stream.subjects`).
    """
    return _subject(_FORBIDDEN.search(words))


def unheard_subject(words: str) -> str | None:
    """Return the subject to which the server refuses a subscription, or ends one, in lower case; None as above."""
    return _subject(_UNHEARD.search(words))


def _subject(found: re.Match[str] | None) -> str | None:
    return None if found is None else _ESCAPED.sub(r"\1", found[1]).lower()
