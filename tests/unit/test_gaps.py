"""The law of gaps: every seq that commits is found exactly once, and what cannot come is given up."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from relay.gaps import Gaps


@dataclass
class _Transaction:
    holder: str
    seqs: list[int] = field(default_factory=list)
    prepared: bool = False


class _World:
    """Transactions that draw seqs, end in any order, or are prepared; and a reader that follows the protocol."""

    def __init__(self) -> None:
        self.open: list[_Transaction] = []
        self.visible: set[int] = set()
        self.drawn = 0
        self.names = 0
        self.gaps = Gaps()
        self.cursor = 0
        self.found: list[int] = []

    def begin(self) -> None:
        self.names += 1
        self.open.append(_Transaction(f"{self.names}/1"))

    def draw(self, which: int) -> None:
        if self.open and not self.open[which % len(self.open)].prepared:
            self.drawn += 1
            self.open[which % len(self.open)].seqs.append(self.drawn)

    def end(self, which: int, commit: bool) -> None:
        if self.open:
            ended = self.open.pop(which % len(self.open))
            if commit:
                self.visible.update(ended.seqs)

    def prepare(self, which: int) -> None:
        if self.open and not self.open[which % len(self.open)].prepared:
            self.names += 1
            transaction = self.open[which % len(self.open)]
            transaction.holder, transaction.prepared = f"-1/{self.names}", True

    def fetch(self, limit: int) -> None:
        seqs = sorted(seq for seq in self.visible if seq > self.cursor)[:limit]
        if seqs:
            self.gaps.passed(self.cursor, seqs, seqs[-1])
            self.cursor = seqs[-1]
            self.found += seqs

    def holders(self) -> None:
        self.gaps.observe({one.holder: one.prepared for one in self.open})

    def reread(self, ranges: int, limit: int) -> None:
        los, his = self.gaps.ranges(ranges)
        spans = list(zip(los, his, strict=True))
        seqs = sorted(seq for seq in self.visible if any(lo <= seq <= hi for lo, hi in spans))[:limit]
        self.gaps.found((seq, seq) for seq in seqs)
        self.gaps.close(seqs[-1] if len(seqs) == limit else None)
        self.found += seqs

    def check(self) -> None:
        missing = self.visible - set(self.found)
        assert all(seq > self.cursor or self.in_a_gap(seq) for seq in missing)
        still_open = [seq for one in self.open for seq in one.seqs if seq < self.cursor]
        assert all(self.in_a_gap(seq) for seq in still_open)
        lowest = self.gaps.lowest()
        assert lowest is None or all(lowest <= seq for seq in still_open)

    def in_a_gap(self, seq: int) -> bool:
        los, his = self.gaps.ranges(10**9)
        return any(lo <= seq <= hi for lo, hi in zip(los, his, strict=True))


_STEPS = st.one_of(
    st.tuples(st.just("begin")),
    st.tuples(st.just("draw"), st.integers(0, 9)),
    st.tuples(st.just("end"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("prepare"), st.integers(0, 9)),
    st.tuples(st.just("fetch"), st.integers(1, 5)),
    st.tuples(st.just("holders")),
    st.tuples(st.just("round"), st.integers(1, 3), st.integers(1, 3)),
    # A commit or a PREPARE between reading the locks and reading the rows.
    st.tuples(st.just("torn round"), st.integers(0, 9), st.booleans()),
)


@given(st.lists(_STEPS, max_size=60))
def test_every_seq_that_commits_is_found_once_and_the_rest_is_given_up(steps: list[tuple[object, ...]]) -> None:
    world = _World()
    for step in steps:
        match step:
            case ("round", int(ranges), int(limit)):
                world.holders()
                world.reread(ranges, limit)
            case ("torn round", int(which), bool(commit)):
                world.holders()
                world.end(which, commit)
                world.reread(10, 10)
            case (str(name), *rest):
                getattr(world, name)(*rest)
        world.check()
    # An unrelated prepared transaction stays open for ever; everything else ends, half of it rolled back.
    for at in range(len(world.open)):
        world.end(0, commit=at % 2 == 0)
    for _ in range(3):
        world.fetch(10**6)
        world.holders()
        world.reread(10**6, 10**6)
    assert sorted(world.found) == sorted(world.visible)
    assert len(world.gaps) == 0


def test_an_unrelated_transaction_that_began_later_keeps_no_gap() -> None:
    gaps = Gaps()
    gaps.passed(0, [1, 3], 3)
    gaps.observe({"5/1": False})
    gaps.ranges(10)
    gaps.close()
    gaps.observe({"6/1": False})
    gaps.ranges(10)
    assert gaps.close() == 1


def test_a_gap_lives_on_in_the_prepared_transaction_that_its_owner_became() -> None:
    gaps = Gaps()
    gaps.passed(0, [1, 3], 3)
    gaps.observe({"5/1": False, "-1/7": True})
    gaps.observe({"-1/7": True, "-1/8": True})
    gaps.observe({"-1/8": True})
    gaps.ranges(10)
    assert gaps.close() == 0
    gaps.observe({})
    gaps.ranges(10)
    assert gaps.close() == 1


def test_a_settled_range_in_the_middle_splits_a_gap() -> None:
    gaps = Gaps()
    gaps.passed(0, [], 10)
    gaps.found([(4, 6)])
    assert gaps.ranges(10) == ([1, 7], [3, 10])
