"""The stream is checked, never believed; a gap is told, never skipped."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.stream_identity import Finding, Known, Seen, judge, jump_is_proved

KNOWN = Known(position=10, time_ns=1_000, created="monday")
SEEN = Seen(created="monday", first_seq=1, last_seq=20, time_ns=1_000)


@pytest.mark.parametrize(
    ("known", "seen", "finding", "position"),
    [
        (KNOWN, SEEN, Finding.SAME, 10),
        (KNOWN, replace(SEEN, created="restored"), Finding.SAME, 10),
        (KNOWN, replace(SEEN, time_ns=None, first_seq=11), Finding.SAME, 10),
        (KNOWN, replace(SEEN, first_seq=21), Finding.GAP, 10),
        (KNOWN, replace(SEEN, time_ns=None, first_seq=12), Finding.GAP, 10),
        (KNOWN, replace(SEEN, last_seq=9, time_ns=None), Finding.SET_BACK, 0),
        (KNOWN, replace(SEEN, last_seq=9, time_ns=None, first_seq=4, first_time_ns=900), Finding.SET_BACK, 3),
        (KNOWN, replace(SEEN, last_seq=9, time_ns=None, first_seq=4, first_time_ns=1_100), Finding.GAP, 10),
        (KNOWN, replace(SEEN, last_seq=9, time_ns=None, first_seq=4), Finding.GAP, 10),
        (KNOWN, replace(SEEN, time_ns=1_001), Finding.SET_BACK, 0),
        (KNOWN, replace(SEEN, created="tuesday", time_ns=1_001), Finding.SET_BACK, 0),
        (KNOWN, replace(SEEN, created="tuesday", time_ns=None, first_seq=3), Finding.GAP, 0),
        (Known(10, None, None), replace(SEEN, first_seq=11), Finding.SAME, 10),
        (replace(KNOWN, has_bits=False), replace(SEEN, time_ns=1_001), Finding.DOUBT, 10),
        (replace(KNOWN, has_bits=False), SEEN, Finding.SAME, 10),
        (KNOWN, replace(SEEN, by_limits=False), Finding.UNFIT, 10),
        (KNOWN, replace(SEEN, thins=True), Finding.UNFIT, 10),
        (replace(KNOWN, from_first=True), replace(SEEN, thins=True), Finding.SAME, 10),
        (Known(0, None, None), SEEN, Finding.BEGIN, 0),
        (Known(0, None, None), Seen("monday", 1, 0), Finding.BEGIN, 0),
        (Known(0, None, None), replace(SEEN, first_seq=5), Finding.GAP, 0),
        (Known(0, None, None, from_first=True), replace(SEEN, first_seq=5), Finding.BEGIN, 4),
    ],
)
def test_what_is_seen_means(known: Known, seen: Seen, finding: Finding, position: int) -> None:
    verdict = judge(known, seen)
    assert (verdict.finding, verdict.position) == (finding, position)
    assert (verdict.reason is None) == (finding in (Finding.SAME, Finding.BEGIN, Finding.SET_BACK))
    assert (verdict.gap_last is None) == (finding is not Finding.GAP)


@dataclass
class Stream:
    """A model of a stream: events by sequence, each stored at a time of its own."""

    created: int = 0
    clock: int = 0
    first: int = 1
    last: int = 0
    held: dict[int, tuple[int, int]] = field(default_factory=dict)  # sequence: time, event

    def store(self, event: int) -> None:
        self.clock += 1
        self.last += 1
        self.held[self.last] = (self.clock, event)

    def drop_below(self, sequence: int) -> None:
        self.first = max(self.first, min(sequence, self.last + 1))
        self.held = {at: found for at, found in self.held.items() if at >= self.first}

    def lose_tail(self, count: int) -> None:
        self.last = max(self.first - 1, self.last - count)
        self.held = {at: found for at, found in self.held.items() if at <= self.last}

    def make_new(self) -> None:
        self.clock += 1
        self.created, self.first, self.last, self.held = self.clock, 1, 0, {}

    def seen(self, position: int) -> Seen:
        time_ns = self.held[position][0] if position in self.held else None
        first_ns = self.held[self.first][0] if self.held else None
        return Seen(str(self.created), self.first, self.last, time_ns=time_ns, first_time_ns=first_ns)


STEP = st.sampled_from(["store", "store", "store", "read", "read", "age", "lose", "new"])


@given(steps=st.lists(st.tuples(STEP, st.integers(1, 4)), max_size=40))
def test_a_reader_that_is_let_on_has_read_all_that_the_stream_holds(steps: list[tuple[str, int]]) -> None:
    stream, event = Stream(), 0
    known, settled = Known(0, None, None), set[int]()
    for what, count in [*steps, ("read", 100)]:
        if what == "store":
            for _ in range(count):
                event += 1
                stream.store(event)
        elif what == "age":
            stream.drop_below(stream.first + count)
        elif what == "lose":
            stream.lose_tail(count)
        elif what == "new":
            stream.make_new()
        else:
            verdict = judge(known, stream.seen(known.position))
            if verdict.reason is not None:
                return  # it has stopped, and says why
            position, time_ns = verdict.position, None if verdict.finding is Finding.SET_BACK else known.time_ns
            for at in range(position + 1, min(stream.last, position + count) + 1):
                time_ns, found = stream.held[at]
                settled.add(found)
                position = at
            known = Known(position, time_ns, str(stream.created))
    assert {found for _, found in stream.held.values()} <= settled


def test_a_jump_is_proved_by_the_first_sequence_alone() -> None:
    assert jump_is_proved(10, 11, replace(SEEN, first_seq=11))
    assert jump_is_proved(10, 15, replace(SEEN, first_seq=11))
    assert not jump_is_proved(10, 15, replace(SEEN, first_seq=12))
