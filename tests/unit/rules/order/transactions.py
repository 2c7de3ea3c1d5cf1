"""A database as far as gaps are concerned, and a reader that follows the protocol of `relay.rules.order.gaps` on it."""

import copy
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from relay.rules.order.gaps import FEW, Gaps, Holder


@dataclass
class Transaction:
    """An open transaction.

    Attributes:
        name: What `pg_locks` calls it; PREPARE TRANSACTION changes it.
        begun: How many transactions had ended when it began.
        xid: Its id, once it has changed something.
        seqs: What it has drawn and will show when it commits.
        ended: How many transactions had ended when this one was.
    """

    name: str
    begun: int = 0
    locks: bool = False
    prepared: bool = False
    xid: int | None = None
    seqs: list[int] = field(default_factory=list)
    ended: int | None = None


class Database:
    """Transactions, locks and visible rows, as far as gaps are concerned."""

    def __init__(self) -> None:
        self._names = count(1)
        self._xids = count(1)
        self._ends = count(1)
        self.ends = 0
        self.last_seq = 0
        self.visible: set[int] = set()
        self.open: list[Transaction] = []
        # What has ended and may still hold its lock for a moment.
        self.ending: list[Transaction] = []
        self.owners: dict[int, Transaction] = {}

    def begin(self) -> Transaction:
        transaction = Transaction(f"3/{next(self._names)}", self.ends)
        self.open.append(transaction)
        return transaction

    def draw(self, transaction: Transaction, rows: int = 1) -> None:
        """Insert: the lock comes first, then the seq, then the id of the transaction."""
        self.draw_only(transaction, rows)
        self.change(transaction)

    def change(self, transaction: Transaction) -> None:
        """Assign the transaction its id, as its first change does."""
        if transaction.xid is None:
            transaction.xid = next(self._xids)

    def draw_only(self, transaction: Transaction, rows: int = 1) -> None:
        """Begin to insert, and go no further than the seqs."""
        transaction.locks = True
        for _ in range(rows):
            self.last_seq += 1
            while self.last_seq in self.visible:
                self.last_seq += 1  # the insert has failed, and is done again
            transaction.seqs.append(self.last_seq)
            self.owners[self.last_seq] = transaction

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
        self.change(transaction)
        transaction.name = f"-1/{next(self._names)}"
        transaction.prepared = True

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        """End it and let go of its locks."""
        self.end_and_keep_the_lock(transaction, commit=commit)
        self.let_go()

    def end_and_keep_the_lock(self, transaction: Transaction, *, commit: bool) -> None:
        """End it: that is visible before its locks are gone."""
        if commit:
            if transaction.seqs:
                self.change(transaction)
            self.visible.update(transaction.seqs)
        self.open.remove(transaction)
        self.ends = transaction.ended = next(self._ends)
        self.ending.append(transaction)

    def let_go(self) -> None:
        """Let go of the locks of all that has ended."""
        self.ending.clear()

    def holders(self) -> dict[str, Holder]:
        """Return who holds a lock; who has ended has no id any more."""
        at_work = {one.name: Holder(one.prepared, one.xid) for one in self.open if one.locks}
        return at_work | {one.name: Holder(one.prepared, None) for one in self.ending if one.locks}

    def ended(self, xids: set[int]) -> set[int]:
        return xids - {one.xid for one in self.open if one.xid is not None}

    def comes_before(self, one: int, other: int) -> bool:
        """Report whether a seq is owed its place before another one: as in G3, were both of one key."""
        owner, later = self.owners.get(one), self.owners.get(other)
        if owner is None or later is None:
            return False
        return one < other if owner is later else owner.ended is not None and owner.ended <= later.begun

    def fetch(self, cursor: int, limit: int) -> list[int]:
        return sorted(seq for seq in self.visible if seq > cursor)[:limit]

    def reread(self, ranges: tuple[list[int], list[int]], limit: int) -> list[int]:
        asked = list(zip(*ranges, strict=True))
        return sorted(seq for seq in self.visible if any(lo <= seq <= hi for lo, hi in asked))[:limit]

    def may_appear(self) -> set[int]:
        return {seq for transaction in self.open for seq in transaction.seqs}


class Reader:
    """Follows the protocol of the module on a database; each step sees the database as it is at that moment.

    Attributes:
        taken: What was found, in the order in which it was taken in.
        asked: How many gaps the last read has looked into.
    """

    def __init__(self, database: Database, few: int = FEW, spare: int = 0) -> None:
        self.database = database
        self.gaps = Gaps(few)
        self.cursor = 0
        self.taken: list[int] = []
        self.asked = 0
        self._spare = spare
        self._late: list[int] = []
        self._is_cut = False
        self._fetched: list[int] = []
        self._ranges: tuple[list[int], list[int]] = ([], [])
        self._drawn = 0

    @property
    def found(self) -> Counter[int]:
        return Counter(self.taken)

    def fetch(self, limit: int = 1000) -> None:
        """Read above the cursor and take it in, as long as nothing waits in gaps."""
        self.begin_fetch(limit)
        self._late.clear()
        self._take_fetched()

    def begin_fetch(self, limit: int) -> None:
        """Read above the cursor; what was found is taken in by `take`, behind what is late."""
        self._fetched = self.database.fetch(self.cursor, limit)

    def look_at_the_sequence(self) -> None:
        self._drawn = self.database.last_seq

    def look_at_the_locks(self) -> None:
        self.gaps.observe(self.database.holders(), self._drawn)

    def look(self) -> None:
        self.look_at_the_sequence()
        self.look_at_the_locks()

    def ask(self) -> None:
        self._ranges = self.gaps.ask(spare=self._spare)
        self.asked = len(self._ranges[0])

    def read_late(self, limit: int = 1000) -> None:
        self._late = self.database.reread(self._ranges, limit)
        self._is_cut = len(self._late) == limit

    def is_settled(self) -> bool:
        """Ask who has ended; report whether nothing can have appeared in what was skipped."""
        return not self.gaps.ended(self.database.ended(self.gaps.skipped()))

    def take(self) -> int:
        """Take in what was read, the late ones first; return how many gaps were given up."""
        self.taken += self._late
        self.gaps.found((seq, seq) for seq in self._late)
        closed = self.gaps.close(self._late[-1]) if self._is_cut else self.gaps.close()
        if self._is_cut:
            self._fetched = []  # it is read again when the rest is here
        self._take_fetched()
        self._late = []
        return closed

    def _take_fetched(self) -> None:
        if self._fetched:
            self.gaps.passed(self.cursor, self._fetched, self._fetched[-1])
            self.cursor = self._fetched[-1]
            self.taken += self._fetched
            self._fetched = []

    def read(self, limit: int = 1000, *, looks: bool = False) -> int:
        """Read what was asked for, and more if need be; return how many gaps were given up.

        Args:
            limit: How much one read brings.
            looks: Whether the locks are looked at if somebody has ended.
        """
        self.read_late(limit)
        while not self.is_settled():
            if looks:
                self.look()
            self.ask()
            self.read_late(limit)
        return self.take()

    def round(self, rows: int = 1000) -> int:
        """Do what is done at rest; the locks are looked at only if that may say something."""
        if not self.gaps.are_at_rest():
            self.look()
        self.ask()
        return self.read(rows, looks=True)

    def missing(self) -> list[int]:
        los, his = Gaps.ask(copy.deepcopy(self.gaps), spare=1_000_000)
        return [seq for lo, hi in zip(los, his, strict=True) for seq in range(lo, hi + 1)]
