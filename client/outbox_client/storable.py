"""What PostgreSQL could not store, or no consumer read, known before anything is sent to it. Pure: no I/O.

The server would refuse such a row too, but by then the transaction has failed.
"""

from __future__ import annotations

import json
import re

from outbox_client.errors import InvalidEvent

TYPE_CHECKING = False  # see outbox_client.rows
if TYPE_CHECKING:
    from typing import NoReturn

# In JSON text without its escaped backslashes: a NUL, or one half of a surrogate pair without the other.
_BAD_ESCAPE = re.compile(
    r"\\u(?:0000|[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u)[dD][c-fC-F])", re.DOTALL
)


def stored_bytes(part: str, text: str) -> int:
    """Return what a text takes in PostgreSQL and on the wire, in bytes.

    Args:
        part: Where it stands: ``topic``, ``key`` or ``payload``.
        text: The text.

    Raises:
        InvalidEvent: It holds what no column of type text takes.
    """
    if "\0" in text:
        raise InvalidEvent(part, f"the {part} holds a NUL: PostgreSQL takes none in a text")
    return len(text) if text.isascii() else len(utf8(part, f"the {part}", text))


def utf8(reason: str, what: str, text: str) -> bytes:
    """Encode a text.

    Args:
        reason: See `InvalidEvent`.
        what: Names the text in what is raised.
        text: The text.

    Raises:
        InvalidEvent: It holds half of a surrogate pair.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidEvent(reason, f"{what} holds half of a surrogate pair, which is no character") from None


def check_numbers(text: str) -> None:
    """Check that JSON text holds neither NaN nor Infinity, which Python writes and JSON does not know.

    Raises:
        InvalidEvent: It does: jsonb and json refuse it, and so does who reads it from a column of another type.
    """
    if "NaN" not in text and "Infinity" not in text:
        return
    try:
        json.loads(text, parse_constant=_no_number)
    except InvalidEvent:
        raise
    except (ValueError, RecursionError):
        return  # no JSON, or too deep for Python: the server judges


def check_escapes(text: str) -> None:
    """Check that JSON text holds no escape of which jsonb makes no character.

    Raises:
        InvalidEvent: It does.
    """
    if "\\u" not in text:
        return
    # A blank, so that what stands on either side does not become a pair.
    found = _BAD_ESCAPE.search(text.replace("\\\\", " "))
    if found is None:
        return
    if found[0].endswith("0000"):
        raise InvalidEvent("payload", "the payload holds a NUL: jsonb takes none")
    raise InvalidEvent("payload", "the payload holds half of a surrogate pair, which is no character")


def _no_number(name: str) -> NoReturn:
    raise InvalidEvent("payload", f"the payload holds {name}, which is no JSON")
