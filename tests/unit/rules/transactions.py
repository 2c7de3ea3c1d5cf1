"""A database as far as gaps are concerned, and a reader that follows the protocol of `relay.rules.gaps` on it."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from relay.rules.gaps import Gaps


@dataclass
class Transaction:
    """An open transaction.

    Attributes:
        name: What `pg_locks` calls it; PREPARE TRANSACTION changes it.
        seqs: What it has drawn and will show when it commits.
    """

    name: str
    locks: bool = False
    prepared: bool = False
    seqs: list[int] = field(default_factory=list)


class Database:
    """Transactions, locks and visible rows, as far as gaps are concerned."""

    def __init__(self) -> None:
        self._names = count(1)
        self.last_seq = 0
        self.visible: set[int] = set()
        self.open: list[Transaction] = []

    def begin(self) -> Transaction:
        transaction = Transaction(f"3/{next(self._names)}")
        self.open.append(transaction)
        return transaction

    def draw(self, transaction: Transaction, rows: int = 1) -> None:
        """Insert: the lock comes first, the seq afterwards."""
        transaction.locks = True
        for _ in range(rows):
            self.last_seq += 1
            while self.last_seq in self.visible:
                self.last_seq += 1  # the insert has failed, and is done again
            transaction.seqs.append(self.last_seq)

    def insert_by_hand(self, ahead: int) -> int:
        """Insert a row with a seq that the sequence has yet to reach; return it."""
        seq = self.last_seq + ahead
        while seq in self.visible:
            seq += 1
        self.visible.add(seq)
        return seq

    def roll_back_to_savepoint(self, transaction: Transaction) -> None:
        """Undo everything since a savepoint at the start; that gives the lock back as well."""
        transaction.seqs.clear()
        transaction.locks = False

    def prepare(self, transaction: Transaction) -> None:
        transaction.name = f"-1/{next(self._names)}"
        transaction.prepared = True

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        if commit:
            self.visible.update(transaction.seqs)
        self.open.remove(transaction)

    def holders(self) -> dict[str, bool]:
        return {one.name: one.prepared for one in self.open if one.locks}

    def fetch(self, cursor: int, limit: int) -> list[int]:
        return sorted(seq for seq in self.visible if seq > cursor)[:limit]

    def reread(self, ranges: tuple[list[int], list[int]], limit: int) -> list[int]:
        asked = list(zip(*ranges, strict=True))
        return sorted(seq for seq in self.visible if any(lo <= seq <= hi for lo, hi in asked))[:limit]

    def may_appear(self) -> set[int]:
        return {seq for transaction in self.open for seq in transaction.seqs}


class Reader:
    """Follows the protocol of the module on a database; each step sees the database as it is at that moment."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.gaps = Gaps()
        self.cursor = 0
        self.found: Counter[int] = Counter()
        self._asked: tuple[list[int], list[int]] = ([], [])
        self._drawn = 0

    def fetch(self, limit: int = 1000) -> None:
        seqs = self.database.fetch(self.cursor, limit)
        if seqs:
            self.gaps.passed(self.cursor, seqs, seqs[-1])
            self.cursor = seqs[-1]
            self.found.update(seqs)

    def look_at_the_sequence(self) -> None:
        self._drawn = self.database.last_seq

    def look_at_the_locks(self) -> None:
        self.gaps.observe(self.database.holders(), self._drawn)

    def look(self) -> None:
        self.look_at_the_sequence()
        self.look_at_the_locks()

    def ask(self) -> None:
        self._asked = self.gaps.ranges()

    def read(self, limit: int = 1000) -> int:
        seqs = self.database.reread(self._asked, limit)
        self.found.update(seqs)
        self.gaps.found((seq, seq) for seq in seqs)
        return self.gaps.close(seqs[-1] if len(seqs) == limit else None)

    def round(self, rows: int = 1000) -> int:
        self.look()
        self.ask()
        return self.read(rows)

    def missing(self) -> list[int]:
        los, his = self.gaps.ranges()
        return [seq for lo, hi in zip(los, his, strict=True) for seq in range(lo, hi + 1)]
