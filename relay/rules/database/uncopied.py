"""What keeps committed rows of an adopted table from its trigger, so that they are not copied. Pure: no I/O."""

import json
from typing import NamedTuple

_WORDS = {
    "child": "rows of {}, which inherits from it, fire no trigger of it",
    "disabled": "its trigger is disabled in partition {}",
    "foreign": "rows that are written into partition {} in its own server fire no trigger here",
    "subscription": "a subscription writes into {}, whose rows fire no trigger",
    "replica": "{} has session_replication_role = replica, so its rows fire no trigger",
    "before": "trigger {} runs before a row is written: one that it leaves out, or writes elsewhere, is not copied",
    "rule": "rule {} stands in the place of an insert: what it writes elsewhere is not copied",
}
_DO = {
    "child": "adopt each child by itself, and each that is made later; or make the table a partitioned one",
    "disabled": "ALTER TABLE ... ENABLE TRIGGER, and copy what was missed with `relay adopt backfill`",
    "foreign": "adopt the table in the database that the rows come from",
    "subscription": "adopt the table in the database that the rows come from",
    "replica": "ALTER ... RESET session_replication_role, unless it writes no events",
    "before": "adopt the table that it writes into, if there is one",
    "rule": "adopt the table that it writes into",
}
# Of these PostgreSQL's catalogue says for sure that rows of the table itself are not copied.
_SURE = {"child", "disabled"}


class Uncopied(NamedTuple):
    """One reason.

    Attributes:
        kind: One of those that ``sql/includes/uncopied.sql`` and ``adopt/source`` name.
        name: Of what it is about, for people.
    """

    kind: str
    name: str

    @property
    def sure(self) -> bool:
        """Whether rows are missed for sure, once some are written there."""
        return self.kind in _SURE

    @property
    def words(self) -> str:
        """What it is, for people."""
        return _WORDS[self.kind].format(self.name)

    @property
    def do(self) -> str:
        """What can be done."""
        return _DO[self.kind]


def uncopied_of(text: str) -> tuple[Uncopied, ...]:
    """Return the reasons that a query tells as JSON."""
    return tuple(Uncopied(kind, name) for kind, name in json.loads(text))
