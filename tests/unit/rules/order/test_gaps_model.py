"""The gaps below the cursor under transactions and reads in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from tests.unit.rules.order.transactions import Database, Reader, Transaction


class GapsUnderTransactions(RuleBasedStateMachine):
    """Transactions and reads in any order.

    The reader's rounds are sequence, locks, ask, read, check, take. While the gaps are at rest they are ask, read,
    check, take, with sequence and locks before the next ask if somebody has ended. Those of a fetch are fetch, ask,
    read, check, take.
    """

    transactions = Bundle("transactions")
    prepared = Bundle("prepared")

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.reader = Reader(self.database)
        self.committed: set[int] = set()
        self.next_step = "begin"
        self.is_at_rest = False
        self.in_order = 0

    @initialize(few=st.sampled_from([0, 0, 3, 100]), spare=st.sampled_from([0, 2]))
    def choose(self, few: int, spare: int) -> None:
        self.reader = Reader(self.database, few, spare)

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
    def draw_only(self, transaction: Transaction) -> None:
        self.database.draw_only(transaction)

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

    @rule(transaction=st.one_of(consumes(transactions), consumes(prepared)), commit=st.booleans())
    def end_and_keep_the_lock(self, transaction: Transaction, commit: bool) -> None:
        self.database.end_and_keep_the_lock(transaction, commit=commit)
        if commit:
            self.committed.update(transaction.seqs)

    @rule()
    def let_go(self) -> None:
        self.database.let_go()

    @rule(rows=st.integers(1, 3))
    def insert_and_commit(self, rows: int) -> None:
        transaction = self.begin(rows)
        self.end(transaction, commit=True)

    @rule(ahead=st.integers(1, 9))
    def insert_by_hand(self, ahead: int) -> None:
        self.committed.add(self.database.insert_by_hand(ahead))

    @precondition(lambda self: self.next_step == "begin")
    @rule(limit=st.integers(1, 5))
    def fetch(self, limit: int) -> None:
        self.reader.begin_fetch(limit)
        self.next_step = "ask"

    @precondition(lambda self: self.next_step == "begin" and self.reader.gaps.are_at_rest())
    @rule()
    def begin_at_rest(self) -> None:
        self.is_at_rest = True
        self.next_step = "ask"

    @precondition(lambda self: self.next_step in ("begin", "look"))
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
        self.reader.read_late(limit)
        self.next_step = "check"

    @precondition(lambda self: self.next_step == "check")
    @rule()
    def check(self) -> None:
        if self.reader.is_settled():
            self.next_step = "take"
        else:
            self.next_step = "look" if self.is_at_rest else "ask"

    @precondition(lambda self: self.next_step == "take")
    @rule()
    def take(self) -> None:
        self.reader.take()
        self.next_step = "begin"
        self.is_at_rest = False

    @precondition(lambda self: self.next_step == "begin")
    @rule()
    def whole_round(self) -> None:
        self.look_at_the_sequence()
        self.look_at_the_locks()
        self._to_its_end()

    @precondition(lambda self: self.next_step == "begin" and self.reader.gaps.are_at_rest())
    @rule()
    def whole_round_at_rest(self) -> None:
        self.begin_at_rest()
        self._to_its_end()

    @precondition(lambda self: self.next_step == "begin")
    @rule()
    def whole_fetch(self) -> None:
        self.fetch(1000)
        self._to_its_end()

    @precondition(lambda self: self.next_step == "begin")
    @rule(transaction=transactions, looks=st.booleans())
    def pass_over_one_more(self, transaction: Transaction, looks: bool) -> None:
        """Leave a gap that is read, and noted or not."""
        self.database.draw(transaction)
        self.insert_and_commit(1)
        self.whole_fetch()
        if looks:
            self.whole_round()

    @precondition(lambda self: self.next_step in ("begin", "read"))
    @rule(transaction=consumes(transactions), looks=st.booleans())
    def end_with_a_newer_row(self, transaction: Transaction, looks: bool) -> None:
        """Commit before the fetch, or between what was asked and its read."""
        self.database.draw(transaction)
        (self.end_and_keep_the_lock if looks else self.end)(transaction, commit=True)
        self._to_its_end()
        self.whole_fetch()

    def _to_its_end(self) -> None:
        while self.next_step != "begin":
            if self.next_step == "ask":
                self.ask()
                self.read(1000)
            elif self.next_step == "read":
                self.read(1000)
            elif self.next_step == "check":
                self.check()
            elif self.next_step == "take":
                self.take()
            elif self.next_step == "look":
                self.look_at_the_sequence()
            else:
                self.look_at_the_locks()

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

    @invariant()
    def nothing_is_overtaken(self) -> None:
        taken = self.reader.taken
        for at, seq in enumerate(taken[self.in_order :], self.in_order):
            assert not any(self.database.comes_before(seq, one) for one in taken[:at]), f"{seq} is overtaken"
        self.in_order = len(taken)

    def teardown(self) -> None:
        """End every transaction while new ones come and go: all is found, and no gap stays."""
        for number, transaction in enumerate(list(self.database.open)):
            self.end(transaction, commit=number % 2 == 0)
        wanted = set(self.committed)
        while self.database.fetch(self.reader.cursor, 1):
            self.reader.begin_fetch(3)
            self.reader.ask()
            self.reader.read(2)
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
        self.nothing_is_overtaken()


TestGapsUnderTransactions = GapsUnderTransactions.TestCase
TestGapsUnderTransactions.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
