"""Who looks at the console."""

from typing import NamedTuple


class Visitor(NamedTuple):
    """Who was let in.

    Attributes:
        name: For the audit table and the log.
        operator: Whether they may change something, if the console may at all.
    """

    name: str
    operator: bool
