"""The gaps below the cursor under transactions and reads in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from tests.unit.rules.transactions import Database, Reader, Transaction


class GapsUnderTransactions(RuleBasedStateMachine):
    """Transactions and reads in any order; the reader's rounds are sequence, locks, ask, read."""

    transactions = Bundle("transactions")
    prepared = Bundle("prepared")

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.reader = Reader(self.database)
        self.committed: set[int] = set()
        self.next_step = "sequence"

    @rule(target=transactions, rows=st.integers(0, 3))
    def begin(self, rows: int) -> Transaction:
        transaction = self.database.begin()
        self.database.draw(transaction, rows)
        return transaction

    @rule(target=transactions)
    def begin_without_a_lock(self) -> Transaction:
        return self.database.begin()

    @rule(transaction=transactions, rows=st.integers(1, 3))
    def draw(self, transaction: Transaction, rows: int) -> None:
        self.database.draw(transaction, rows)

    @rule(transaction=transactions)
    def roll_back_to_savepoint(self, transaction: Transaction) -> None:
        self.database.roll_back_to_savepoint(transaction)

    @rule(target=prepared, transaction=consumes(transactions))
    def prepare(self, transaction: Transaction) -> Transaction:
        self.database.prepare(transaction)
        return transaction

    @rule(transaction=st.one_of(consumes(transactions), consumes(prepared)), commit=st.booleans())
    def end(self, transaction: Transaction, commit: bool) -> None:
        self.database.end(transaction, commit=commit)
        if commit:
            self.committed.update(transaction.seqs)

    @rule(rows=st.integers(1, 3))
    def insert_and_commit(self, rows: int) -> None:
        transaction = self.begin(rows)
        self.end(transaction, commit=True)

    @rule(ahead=st.integers(1, 9))
    def insert_by_hand(self, ahead: int) -> None:
        self.committed.add(self.database.insert_by_hand(ahead))

    @rule(limit=st.integers(1, 5))
    def fetch(self, limit: int) -> None:
        self.reader.fetch(limit)

    @precondition(lambda self: self.next_step == "sequence")
    @rule()
    def look_at_the_sequence(self) -> None:
        self.reader.look_at_the_sequence()
        self.next_step = "locks"

    @precondition(lambda self: self.next_step == "locks")
    @rule()
    def look_at_the_locks(self) -> None:
        self.reader.look_at_the_locks()
        self.next_step = "ask"

    @precondition(lambda self: self.next_step == "ask")
    @rule()
    def ask(self) -> None:
        self.reader.ask()
        self.next_step = "read"

    @precondition(lambda self: self.next_step == "read")
    @rule(limit=st.integers(1, 4))
    def read(self, limit: int) -> None:
        before = len(self.reader.gaps)
        assert 0 <= self.reader.read(limit) <= before + limit
        self.next_step = "sequence"

    @rule()
    def whole_round(self) -> None:
        if self.next_step == "sequence":
            self.reader.round()

    @invariant()
    def the_lowest_gap_is_never_above_a_seq_that_may_appear(self) -> None:
        yet_to_be_drawn = set(range(self.database.last_seq + 1, self.reader.cursor + 1)) - self.database.visible
        expected = self.database.may_appear() | yet_to_be_drawn | (self.committed - set(self.reader.found))
        behind = [seq for seq in expected if seq <= self.reader.cursor]
        lowest = self.reader.gaps.lowest()
        assert not behind or (lowest is not None and lowest <= min(behind))
        assert lowest is None or lowest <= self.reader.cursor

    @invariant()
    def nothing_is_found_twice_or_without_a_commit(self) -> None:
        assert all(times == 1 for times in self.reader.found.values())
        assert self.committed >= set(self.reader.found)

    def teardown(self) -> None:
        """End every transaction while new ones come and go: all is found, and no gap stays."""
        for number, transaction in enumerate(list(self.database.open)):
            self.end(transaction, commit=number % 2 == 0)
        wanted = set(self.committed)
        while self.database.fetch(self.reader.cursor, 1):
            self.reader.fetch(3)
        cursor = self.reader.cursor
        traffic: list[Transaction] = []
        for number in range((len(wanted) + 3) * (cursor + 3)):
            newcomer = self.database.begin()
            self.database.draw(newcomer)
            if number % 3 < 2:
                self.database.prepare(newcomer)
            traffic.append(newcomer)
            if len(traffic) > 2:
                self.database.end(traffic.pop(0), commit=False)
            self.reader.round(rows=2)
            if not len(self.reader.gaps):
                break
        assert len(self.reader.gaps) == 0
        assert self.reader.found == dict.fromkeys(wanted, 1)


TestGapsUnderTransactions = GapsUnderTransactions.TestCase
TestGapsUnderTransactions.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
