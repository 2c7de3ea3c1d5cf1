"""Who is at work on a change of the audit table: one process at most, and the others are told which one.

Two things together hold it. A lock keeps a second process from beginning while the first is at work. If the session
with the lock is lost meanwhile, the count of each batch (`Audit.add`) still lets one of them alone go on.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from relay.errors import RelayError
from relay.operate.access import Reader, connect
from relay.operate.changes import Changer

if TYPE_CHECKING:
    from relay.config.settings import Settings

# What PostgreSQL keeps of the name of a session.
_NAME_BYTES = 63


class Taken(RelayError):
    """Another process is at work on the change. This one did nothing."""


class Holder(NamedTuple):
    """The process that is at work on a change.

    Attributes:
        who: User and host, as far as PostgreSQL keeps them.
        pid: Of its session, as `pg_stat_activity` has it.
    """

    who: str
    pid: int

    def sentence(self, number: int) -> str:
        """Return who has the change, and what ends that if it must."""
        return (
            f"change {number} is being made by {self.who or 'another process'} (session {self.pid} of PostgreSQL): "
            "see how far it is with `relay audit`; if that process has crashed, its session ends within 11 s"
        )


@contextmanager
def claimed(settings: "Settings", changer: Changer, number: int) -> Iterator[None]:
    """Be the only process at work on a change, for as long as the block takes.

    Over a connection of its own, which is idle meanwhile.

    Args:
        number: Of its line in the audit table.

    Raises:
        Taken: Another one is; the text says who.
        psycopg.Error: PostgreSQL does not answer.
    """
    with ExitStack() as stack:
        conn = stack.enter_context(connect(settings, _name(number, changer.acting)))
        # Committed or not is the same for a lock, and the connection may be lost by then.
        stack.callback(_let_go, conn)
        conn.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        found = psycopg.RawCursor(conn).execute(changer.tables.query("operate/claim"), (number,)).fetchone()
        if found is None or not found[0]:
            with changer.step():
                holder = holder_of(changer, number)
            raise Taken((holder or Holder("", 0)).sentence(number))
        yield


def holder_of(reader: Reader, number: int) -> Holder | None:
    """Return which process is at work on a change; None: no one is."""
    rows = reader.rows("operate/claimed", (number,))
    if not rows:
        return None
    name, pid = rows[0]
    return Holder(name.removeprefix(_name(number, "")), pid)


def check_free(reader: Reader, number: int) -> None:
    """Find out whether a process is at work on a change.

    Raises:
        Taken: One is; the text says who.
    """
    holder = holder_of(reader, number)
    if holder is not None:
        raise Taken(holder.sentence(number))


def _name(number: int, acting: str) -> str:
    return f"relay change {number}: {acting}".encode()[:_NAME_BYTES].decode(errors="ignore")


def _let_go(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    # At once, and not only when the server finds the connection closed.
    with suppress(psycopg.Error):
        conn.rollback()
