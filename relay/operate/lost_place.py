"""Which stream had lost an event that was sent again, and what stands before it since. Pure."""

import re
from typing import NamedTuple

# As integrity/mark_lost.sql writes it.
_LOST = re.compile(r"stream (.*) lost it at sequence (\d+): sent again", re.DOTALL)


class Overtaken(NamedTuple):
    """What is newer than an event and of its key, and stands before it in their stream.

    Attributes:
        first: The lowest seq of these; None without one.
    """

    stream: str
    lost_at: int
    events: int
    first: int | None

    def sentence(self) -> str:
        """Return it in words."""
        told = f"Stream {self.stream} had lost it at sequence {self.lost_at}, and it was sent again"
        if not self.events:
            return f"{told}. No newer event of its key is known to stand before it."
        newer = f"{self.events:,} newer event{'' if self.events == 1 else 's'} of its key, the first seq {self.first}"
        return f"{told}: it stands behind {newer}. Consumers read it late, after a newer state of its key."


def lost_place(last_error: str | None) -> tuple[str, int] | None:
    """Return the stream that had lost an event, and at which sequence; None if none had."""
    found = None if last_error is None else _LOST.fullmatch(last_error)
    return None if found is None else (found[1], int(found[2]))
