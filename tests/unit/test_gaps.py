"""The gaps below the cursor, against a model of transactions that draw seqs before they commit."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from relay.gaps import Gaps


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
            transaction.seqs.append(self.last_seq)

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

    def fetch(self, limit: int = 1000) -> None:
        seqs = self.database.fetch(self.cursor, limit)
        if seqs:
            self.gaps.passed(self.cursor, seqs, seqs[-1])
            self.cursor = seqs[-1]
            self.found.update(seqs)

    def look(self) -> None:
        self.gaps.observe(self.database.holders())

    def ask(self, limit: int = 1000) -> None:
        self._asked = self.gaps.ranges(limit)

    def read(self, limit: int = 1000) -> int:
        seqs = self.database.reread(self._asked, limit)
        self.found.update(seqs)
        self.gaps.found((seq, seq) for seq in seqs)
        return self.gaps.close(seqs[-1] if len(seqs) == limit else None)

    def round(self, ranges: int = 1000, rows: int = 1000) -> int:
        self.look()
        self.ask(ranges)
        return self.read(rows)

    def missing(self) -> list[int]:
        los, his = self.gaps.ranges(10**9)
        return [seq for lo, hi in zip(los, his, strict=True) for seq in range(lo, hi + 1)]


def gap_of(database: Database, owner: Transaction) -> Reader:
    """Make a reader that has passed over a row of `owner`, and has not looked at the locks yet."""
    reader = Reader(database)
    database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    assert len(reader.gaps) == 1
    return reader


def test_a_late_commit_is_found_once() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.round()
    assert reader.found == {2: 1}
    database.end(owner, commit=True)
    reader.round()
    reader.round()
    assert reader.found == {1: 1, 2: 1}
    assert len(reader.gaps) == 0


def test_a_commit_between_the_look_and_the_read_is_found() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.look()
    database.end(owner, commit=True)
    reader.ask()
    reader.read()
    assert reader.found == {1: 1, 2: 1}


def test_a_rolled_back_gap_is_given_up_in_the_next_round_while_others_stay_open() -> None:
    database = Database()
    owner, unrelated = database.begin(), database.begin()
    reader = gap_of(database, owner)
    reader.round()
    database.end(owner, commit=False)
    assert unrelated in database.open
    assert reader.round() == 1
    assert len(reader.gaps) == 0


def test_a_lock_taken_after_the_first_look_keeps_no_gap() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.round()
    database.draw(database.begin())
    database.end(owner, commit=False)
    assert reader.round() == 1


def test_a_gap_waits_for_its_owner_prepared_before_the_first_look() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    database.prepare(owner)
    assert reader.round() == 0
    database.end(owner, commit=True)
    reader.round()
    assert reader.found[1] == 1


def test_a_gap_waits_for_its_owner_prepared_between_two_looks_though_another_holder_stays() -> None:
    database = Database()
    owner, other, earlier = database.begin(), database.begin(), database.begin()
    database.draw(other)
    database.draw(earlier)
    database.prepare(earlier)
    reader = gap_of(database, owner)
    reader.round()
    database.prepare(owner)
    reader.round()
    database.end(other, commit=False)
    reader.round()
    database.end(earlier, commit=False)
    reader.round()
    reader.round()
    database.end(owner, commit=True)
    reader.round()
    assert reader.found[database.last_seq - 1] == 1


def test_a_gap_waits_for_owners_that_are_prepared_one_after_another() -> None:
    database = Database()
    reader = Reader(database)
    owners = [database.begin() for _ in range(3)]
    for owner in owners:
        database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    reader.round()
    for owner in owners:
        database.prepare(owner)
        reader.round()
    for owner in owners:
        database.end(owner, commit=True)
        reader.round()
    assert reader.found == {1: 1, 2: 1, 3: 1, 4: 1}


def test_an_owner_prepared_between_look_and_read_is_still_waited_for() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.look()
    reader.ask()
    database.prepare(owner)
    reader.read()
    reader.round()
    database.end(owner, commit=True)
    reader.round()
    assert reader.found == {1: 1, 2: 1}


def test_a_steady_flow_of_two_phase_commits_keeps_no_rolled_back_gap() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.round()
    database.end(owner, commit=False)
    prepared: list[Transaction] = []
    for _ in range(5):
        newest = database.begin()
        database.draw(newest)
        database.prepare(newest)
        prepared.append(newest)
        if len(prepared) > 2:
            database.end(prepared.pop(0), commit=False)
        reader.round()
    assert len(reader.gaps) == 0


def test_a_prepared_owner_that_is_rolled_back_leaves_no_gap_in_a_flow_of_two_phase_commits() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    database.prepare(owner)
    reader.round()
    database.end(owner, commit=False)
    newcomer = database.begin()
    database.draw(newcomer)
    database.prepare(newcomer)
    reader.round()
    assert len(reader.gaps) == 0


def test_a_gap_is_never_given_up_before_the_locks_were_looked_at() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.ask()
    assert reader.read() == 0
    database.end(owner, commit=True)
    reader.round()
    assert reader.found == {1: 1, 2: 1}


def test_a_gap_that_appears_after_the_look_is_not_given_up_in_the_same_round() -> None:
    database = Database()
    reader = Reader(database)
    owner = database.begin()
    reader.look()
    database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    reader.ask()
    assert reader.read() == 0


def test_what_is_left_of_a_gap_waits_for_the_same_owners() -> None:
    database = Database()
    one, two = database.begin(), database.begin()
    for owner in (one, two, one):
        database.draw(owner)
    reader = gap_of(database, database.begin())
    reader.round()
    database.end(two, commit=True)
    reader.round()
    assert reader.missing() == [1, 3, 4]
    database.end(one, commit=True)
    reader.round()
    assert reader.missing() == [4]
    assert all(times == 1 for times in reader.found.values())


def test_what_is_left_of_a_gap_when_all_owners_have_ended_is_given_up_in_the_same_round() -> None:
    database = Database()
    one, two = database.begin(), database.begin()
    for owner in (one, two, one):
        database.draw(owner)
    reader = gap_of(database, database.begin())
    database.end(one, commit=True)
    database.end(two, commit=False)
    database.end(database.open[0], commit=False)
    assert reader.round() == 2
    assert reader.found == {1: 1, 3: 1, 5: 1}
    assert len(reader.gaps) == 0


def test_a_read_that_was_cut_short_gives_up_nothing_beyond_its_end() -> None:
    gaps = Gaps()
    gaps.passed(0, [3, 6, 9], 9)
    gaps.observe({})
    gaps.ranges(10)
    gaps.found([(4, 4)])
    assert gaps.close(up_to=4) == 1
    assert gaps.lowest() == 5
    gaps.observe({})
    gaps.ranges(10)
    assert gaps.close() == 2
    assert gaps.lowest() is None


def test_a_read_beyond_its_last_row_leaves_a_gap_at_its_end() -> None:
    gaps = Gaps()
    gaps.passed(10, [12], 20)
    assert gaps.ranges(10) == ([11, 13], [11, 20])
    gaps.passed(20, [], 25)
    assert gaps.ranges(10) == ([11, 13, 21], [11, 20, 25])


@given(st.integers(1, 40), st.integers(1, 8))
def test_every_gap_has_its_turn_within_one_pass(gaps_at_first: int, limit: int) -> None:
    gaps = Gaps()
    gaps.passed(0, [2 * i for i in range(1, gaps_at_first + 1)], 2 * gaps_at_first)
    gaps.observe({"3/1": False})
    seen: set[int] = set()
    for _ in range(-(-gaps_at_first // limit)):
        los, his = gaps.ranges(limit)
        assert len(los) == len(his) <= limit
        seen.update(los)
        gaps.close()
    assert seen == {2 * i - 1 for i in range(1, gaps_at_first + 1)}


@given(
    st.sets(st.integers(1, 60)),
    st.integers(0, 10),
    st.lists(st.tuples(st.integers(1, 70), st.integers(0, 9)), max_size=12),
)
def test_what_is_missing_is_what_was_passed_and_not_found(
    seqs: set[int], beyond: int, found: list[tuple[int, int]]
) -> None:
    gaps = Gaps()
    reached = max(seqs, default=0) + beyond
    gaps.passed(0, sorted(seqs), reached)
    ranges = [(lo, lo + more) for lo, more in found]
    gaps.found(ranges)
    expected = {seq for seq in range(1, reached + 1) if seq not in seqs}
    expected -= {seq for lo, hi in ranges for seq in range(lo, hi + 1)}
    los, his = gaps.ranges(1000)
    assert [seq for lo, hi in zip(los, his, strict=True) for seq in range(lo, hi + 1)] == sorted(expected)
    assert gaps.lowest() == min(expected, default=None)
    assert all(lo <= hi for lo, hi in zip(los, his, strict=True))


class GapsUnderTransactions(RuleBasedStateMachine):
    """Transactions and reads in any order; the reader's rounds are look, ask, read."""

    transactions = Bundle("transactions")
    prepared = Bundle("prepared")

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.reader = Reader(self.database)
        self.committed: set[int] = set()
        self.next_step = "look"

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

    @rule(limit=st.integers(1, 5))
    def fetch(self, limit: int) -> None:
        self.reader.fetch(limit)

    @precondition(lambda self: self.next_step == "look")
    @rule()
    def look(self) -> None:
        self.reader.look()
        self.next_step = "ask"

    @precondition(lambda self: self.next_step == "ask")
    @rule(limit=st.integers(1, 4))
    def ask(self, limit: int) -> None:
        self.reader.ask(limit)
        self.next_step = "read"

    @precondition(lambda self: self.next_step == "read")
    @rule(limit=st.integers(1, 4))
    def read(self, limit: int) -> None:
        before = len(self.reader.gaps)
        assert 0 <= self.reader.read(limit) <= before + limit
        self.next_step = "look"

    @rule()
    def whole_round(self) -> None:
        if self.next_step == "look":
            self.reader.round()

    @invariant()
    def the_lowest_gap_is_never_above_a_seq_that_may_appear(self) -> None:
        expected = self.database.may_appear() | (self.committed - set(self.reader.found))
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
            self.reader.round(ranges=2, rows=2)
            if not len(self.reader.gaps):
                break
        assert len(self.reader.gaps) == 0
        assert self.reader.found == dict.fromkeys(wanted, 1)


TestGapsUnderTransactions = GapsUnderTransactions.TestCase
TestGapsUnderTransactions.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_chain_of_unrelated_prepared_transactions_keeps_no_gap() -> None:
    gaps = Gaps()
    gaps.passed(0, [1, 3], 3)
    gaps.observe({"-1/1": True})
    for name in range(2, 6):
        gaps.observe({f"-1/{name}": True})
    gaps.ranges(10)
    assert gaps.close() == 1
