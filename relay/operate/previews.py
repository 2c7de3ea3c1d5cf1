"""The name of a preview: each can be confirmed once, by whichever process, and however often its form is sent."""

import re
import secrets

from relay.errors import RelayError
from relay.operate.access import Reader

RECORD = "preview"
"""Under this name it stands in the audit table, beside the filters."""

# The number is that of the newest line when the preview was made: what it has begun stands behind it.
_NAME = re.compile(r"([0-9]{1,18})-[0-9a-f]{16}")


class Confirmed(RelayError):
    """The preview was confirmed before. Nothing more was begun.

    Attributes:
        number: Of the change that it has begun, in the audit table.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"this preview was confirmed before: see change {number}")
        self.number = number


def named(newest: int) -> str:
    """Make the name of a preview.

    Args:
        newest: The number of the newest line of the audit table, 0 without one.
    """
    return f"{newest}-{secrets.token_hex(8)}"


def is_name(text: str) -> bool:
    """Report whether a text is the name of a preview."""
    return _NAME.fullmatch(text) is not None


def change_of(reader: Reader, name: str) -> int | None:
    """Return the number of the change that a preview has begun, None if it has begun none."""
    rows = reader.rows("operate/confirmed", (int(name.partition("-")[0]), name))
    return int(rows[0][0]) if rows else None
