"""What of the database may keep rows of the outbox from being changed, and so from being marked. Pure."""

from typing import Literal, NamedTuple


class Hindrance(NamedTuple):
    """A rule, a trigger or a publication that acts when a row of the outbox is changed.

    Attributes:
        kind: ``filter``: a publication with a row filter; ``identity``: one that publishes updates of rows that have no
            replica identity.
    """

    kind: Literal["rule", "trigger", "filter", "identity"]
    name: str

    def seen(self) -> str:
        """Return what it is and may do, in words."""
        match self.kind:
            case "rule":
                return f"rule {self.name} acts in place of updates, or beside them"
            case "trigger":
                return f"trigger {self.name} fires on updates, and may refuse them or keep the row as it is"
            case "filter":
                return f"publication {self.name} filters rows: updates fail unless the replica identity has its columns"
            case "identity":
                return f"publication {self.name} publishes updates, and the rows have no replica identity"

    def mend(self, table: str) -> str:
        """Return what an operator can do about it."""
        match self.kind:
            case "rule":
                return f"DROP RULE {self.name} ON {table}"
            case "trigger":
                return f"let {self.name} pass updates of the relay, or ALTER TABLE {table} DISABLE TRIGGER {self.name}"
            case "filter":
                return f"ALTER TABLE {table} REPLICA IDENTITY FULL, or let {self.name} publish inserts alone"
            case "identity":
                return f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT, or let {self.name} publish inserts alone"


class OwnHindrance(NamedTuple):
    """A constraint, a trigger or a rule that somebody has put on a table in which the relay keeps what is its own."""

    table: str
    kind: Literal["constraint", "trigger", "rule"]
    name: str

    def seen(self) -> str:
        """Return what it is and may do, in words."""
        return f"{self.kind} {self.name} on {self.table} may refuse what the relay keeps there"

    def mend(self) -> str:
        """Return what an operator can do about it."""
        match self.kind:
            case "constraint":
                return f"ALTER TABLE {self.table} DROP CONSTRAINT {self.name}"
            case "trigger":
                return f"ALTER TABLE {self.table} DISABLE TRIGGER {self.name}"
            case "rule":
                return f"DROP RULE {self.name} ON {self.table}"
