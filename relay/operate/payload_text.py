"""Lay out payloads and headers for reading, each value exactly as it is stored. Pure."""

import json
import re

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def pretty(text: str) -> str:
    """Lay out JSON over several lines, each value exactly as it is stored; other text as it is.

    Numbers keep their digits: through Python's own numbers 1.10 and 12345678901234567890.5 would not.
    """
    if not is_json(text):
        return text
    out: list[str] = []
    depth = 0
    previous = ""
    for piece in _PIECE.findall(text):
        if piece in "}]":
            depth -= 1
            if previous not in "{[":
                out.append("\n" + "  " * depth)
        elif previous and previous in "{[,":
            out.append("\n" + "  " * depth)
        out.append(": " if piece == ":" else piece)
        if piece in "{[":
            depth += 1
        previous = piece
    return "".join(out)


def is_json(text: str) -> bool:
    """Report whether a text is JSON that Python can read."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
