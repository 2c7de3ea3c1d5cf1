"""Whether the database is still the one that was read, by what each beat reports. Pure: no I/O, no clock.

What is in memory must not outlive the database that it was read from. A failover to an asynchronous standby, a crash
of a server with `synchronous_commit = off`, and a restored backup all lose the newest transactions, and their seqs are
drawn again for other events. So a server is known by an *identity* that changes whenever it could have gone back:
its system identifier, the start of its postmaster, and the last reset of its statistics, which a crash of any of its
processes resets as well; beside them the database and the table, and the tables of which this role sees not all rows. A
sequence can be set back by hand, too: it never draws lower otherwise.
See docs/design/decisions/0011-what-identifies-a-database.md.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

# The parts of an identity that a role may be forbidden to ask.
_PARTS = ("pg_control_system()", "pg_postmaster_start_time()", "pg_stat_archiver")
_HIDDEN = "hidden "


class Change(Enum):
    """What has happened to the database since the term began."""

    SERVER = "PostgreSQL was restarted, has crashed or failed over, or is another server, database or table"
    SEQUENCE = (
        "the sequence of the outbox was set back: seqs are drawn again; if read models go by seqs, run"
        " `relay migrate --new-origin`, then `relay projection verify`"
    )
    ORIGIN = "a new history of seqs was begun by relay migrate --new-origin"


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """How one statement found the database.

    Attributes:
        identity: What `outbox_identity()` says: parts with a slash between them, ``-`` for what this role may not ask.
        newest: The newest visible seq, 0 without any.
        drawn: The last seq that the sequence drew, 0 before the first; None if this role may not see it.
        origins: Which histories the seqs belong to (relay.rules.database.origins): it goes out with each of them.
    """

    identity: str
    newest: int
    drawn: int | None
    origins: str = ""

    def unasked(self) -> list[str]:
        """Return what this role may not ask, so that a change of it is not noticed."""
        parts = self.identity.split("/")
        return [what for what, part in zip(_PARTS, parts, strict=False) if part == "-" and what]

    def hidden(self) -> str | None:
        """Return the tables of which row-level security hides rows from this role, with commas between them."""
        last = self.identity.rpartition("/")[2]
        return last.removeprefix(_HIDDEN) if last.startswith(_HIDDEN) else None

    def change_to(self, now: "DatabaseState") -> Change | None:
        """Return what has changed since, None if what was read then still holds."""
        if now.identity != self.identity:
            return Change.SERVER
        if self.drawn is not None and now.drawn is not None and now.drawn < self.drawn:
            return Change.SEQUENCE
        return Change.ORIGIN if now.origins != self.origins else None

    def settles(self, watermark: int) -> bool:
        """Report whether a stored watermark can be of this table: no seq beyond the sequence was ever settled."""
        return self.drawn is None or watermark <= self.drawn

    def newest_drawn(self) -> int:
        """Return the newest visible seq, leaving out rows that were inserted by hand beyond the sequence."""
        return self.newest if self.drawn is None else min(self.newest, self.drawn)

    def overtaken(self) -> bool:
        """Report whether a row was inserted by hand with a seq that the sequence has yet to reach."""
        return self.drawn is not None and self.newest > self.drawn


UNKNOWN = DatabaseState("", 0, None)
"""Before the first look."""


class StartingPoint(NamedTuple):
    """Where a term begins to read.

    Attributes:
        above: Reading begins above this seq.
        database: How the database was found.
        set_back: The sequence was set back below what is stored as settled: rows below it may be pending.
    """

    above: int
    database: DatabaseState
    set_back: bool = False
