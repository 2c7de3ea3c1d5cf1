"""What the server says of a right that it refuses, read as it quotes it. Pure: no I/O."""

import re

_FORBIDDEN = re.compile(r'permissions violation for publish to "((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")


def forbidden_subject(words: str) -> str | None:
    """Return the subject on which the server refused a publish, in lower case; None if it speaks of something else.

    The server quotes it as Go does: a quote and a backslash have a backslash before them. Nothing else that it would
    write in another way can be in a subject of ours (`relay.rules.stream.subjects`).
    """
    found = _FORBIDDEN.search(words)
    return None if found is None else _ESCAPED.sub(r"\1", found[1]).lower()
