"""Whether the outbox can be worked on as it is: looked at before any of it is claimed, each fault logged once."""

import logging
import time

from relay.observe.logs import event as log_event
from relay.rules.database.database_state import DatabaseState
from relay.rules.database.table_shape import TableShape

log = logging.getLogger(__name__)

_NO_SHARDS = "outbox_shards is empty: nobody can own anything of the outbox"
_UNCLAIMED = (
    "shards are free, and claiming them changes nothing: see what triggers, rules and policies outbox_shards has"
)
# Another relay may be faster, but it then owns them.
_UNCLAIMED_S = 5.0


class OutboxCheck:
    """What was found last.

    Args:
        table: The name of the table of events.

    Attributes:
        lacks_shards: Whether there is no shard that anybody could own.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self._hidden: str | None = None
        self._unfit = ""
        self._reported_unasked = False
        self.lacks_shards = False
        self._unclaimed_since: float | None = None
        self._is_unclaimed = False

    @property
    def shard_fault(self) -> str:
        """Why this relay can own nothing of the outbox, whatever works; empty if it can."""
        if self.lacks_shards:
            return _NO_SHARDS
        return _UNCLAIMED if self._is_unclaimed else ""

    def claimed(self, *, was_free: bool) -> None:
        """Take note of a look at the shards after which this relay owns some, or none: were any free for it?"""
        now = time.monotonic()
        if not was_free:
            self._unclaimed_since, self._is_unclaimed = None, False
        elif self._unclaimed_since is None:
            self._unclaimed_since = now
        elif not self._is_unclaimed and now - self._unclaimed_since >= _UNCLAIMED_S:
            self._is_unclaimed = True
            log_event(log, "error", "shards.unclaimed", f"{_UNCLAIMED}; nothing is sent")

    @property
    def fault(self) -> str:
        """Why nothing can be relayed although PostgreSQL works; empty if it can."""
        if self._hidden is not None:
            return f"row-level security hides rows of {self._hidden} from this role"
        return f"the table is not as it must be: {self._unfit}; see `relay doctor`" if self._unfit else ""

    def refuses(self, database: DatabaseState, shape: TableShape | None, shards: int) -> bool:
        """Report whether the outbox cannot be worked on.

        Args:
            database: How a beat has found it.
            shape: What the table of events is; None if it is not there, which each statement says by itself.
            shards: How many shards there are.
        """
        self._look_at_rows(database)
        self._look_at_columns(shape)
        if self.fault:
            return True
        if not shards and not self.lacks_shards:
            log_event(log, "error", "shards.none", f"{_NO_SHARDS}; see `relay doctor`")
        self.lacks_shards = not shards
        return self.lacks_shards

    def _look_at_rows(self, database: DatabaseState) -> None:
        hidden, unasked = database.hidden(), database.unasked()
        if unasked and not self._reported_unasked:
            self._reported_unasked = True
            log_event(
                log,
                "warning",
                "database.unknown",
                "this role may not ask what tells one server from another: a failover may go unnoticed",
                denied=", ".join(unasked),
            )
        if hidden and hidden != self._hidden:
            log_event(
                log,
                "error",
                "rows.hidden",
                "row-level security hides rows from this role, so nothing is sent: give it BYPASSRLS, or policies that"
                " show it every row",
                tables=hidden,
            )
        self._hidden = hidden

    def _look_at_columns(self, shape: TableShape | None) -> None:
        unfit = "" if shape is None else "; ".join(shape.faults(self._table))
        if unfit and unfit != self._unfit:
            log_event(
                log,
                "error",
                "table.unfit",
                "the table of events is not as it must be, so nothing is sent: make it as `relay migrate` does"
                " (docs/reference/table.md)",
                faults=unfit,
            )
        self._unfit = unfit
