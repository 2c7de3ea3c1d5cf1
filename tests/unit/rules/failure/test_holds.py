"""Holds: one probe at a time, longer pauses, and nobody left behind."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.event import Event
from relay.outcomes import FailureClass
from relay.rules.failure.holds import Held, Hold, Holds


def event(seq: int) -> Event:
    return Event(seq, str(seq), "t", None, b"x" * (seq % 7), None, 0.0, 0, False)


def fail(holds: Holds, scope: str, one: Event, now: float) -> bool:
    hold, news = holds.fail(scope, FailureClass.CAPACITY, "full", one, now, 0.0)
    holds.park(hold, one)
    return news


def test_only_the_first_failure_is_news_and_only_the_probe_lengthens_the_pause() -> None:
    holds = Holds(base_s=1, max_s=3)
    assert fail(holds, "stream S", event(1), 0)
    assert not any(fail(holds, "stream S", event(seq), 0) for seq in range(2, 100))
    assert holds.due(0.9) == []
    pauses = []
    now = 1.0
    for _ in range(4):
        (probe,) = holds.due(now)
        assert holds.due(now + 100) == [], "one probe at a time"
        fail(holds, "stream S", probe, now)
        pauses.append(holds.open["stream S"].probe_at - now)
        now = holds.open["stream S"].probe_at
    assert pauses == [2, 3, 3, 3]
    assert holds.parked_events == 99


def test_a_probe_that_runs_into_another_hold_takes_along_what_waited() -> None:
    holds = Holds(base_s=1, max_s=3)
    for seq in (1, 2):
        fail(holds, "subject x", event(seq), 0)
    (probe,) = holds.due(2)
    assert fail(holds, "stream S", probe, 2)
    assert list(holds.open) == ["stream S"]
    assert sorted(one.seq for one in holds.open["stream S"].parked) == [1, 2]


def test_a_probe_that_waits_elsewhere_is_replaced() -> None:
    holds = Holds(base_s=1, max_s=3)
    for seq in (1, 2):
        fail(holds, "subject x", event(seq), 0)
    (probe,) = holds.due(2)
    holds.put_off(probe.seq, 2)
    assert [one.seq for one in holds.due(3)] == [2]


def test_however_many_holds_are_open_few_are_probed_at_a_time_and_none_is_left_out() -> None:
    holds = Holds(base_s=1, max_s=1000)
    for seq in range(1, 1001):
        fail(holds, f"subject s{seq}", event(seq), seq / 1000)
    fail(holds, "stream S", event(1001), 1.5)
    first = holds.due(10)
    assert len(first) == 25
    assert first[0].seq == 1001, "a stream goes before all subjects"
    probed = {one.seq for one in first}
    looks = 0
    while len(probed) < 1001:
        for one in (probes := holds.due(10)):
            fail(holds, f"subject s{one.seq}", one, 10)
        assert 0 < len(probes) <= 25
        probed |= {one.seq for one in probes}
        looks += 1
    assert looks == 40


def test_while_holds_end_many_are_probed() -> None:
    holds = Holds(base_s=1, max_s=1000)
    for seq in range(1, 1001):
        fail(holds, f"subject s{seq}", event(seq), 0)
    (probe, *_) = holds.due(10)
    holds.end(f"subject s{probe.seq}")
    assert len(holds.due(10)) == 250
    assert len(holds.due(10)) == 25


def test_ending_gives_back_what_waits() -> None:
    holds = Holds(base_s=1, max_s=3)
    fail(holds, "subject x", event(1), 0)
    ended = holds.end("subject x")
    assert ended is not None
    assert [one.seq for one in ended.parked] == [1]
    assert holds.end("subject x") is None
    fail(holds, "subject x", event(1), 0)
    assert [hold.scope for hold in holds.end_all()] == ["subject x"]
    assert not holds.open


def test_a_hold_is_found_by_the_first_scope_that_is_held() -> None:
    holds = Holds(base_s=1, max_s=3)
    assert holds.find("subject x", "stream S") is None
    fail(holds, "stream S", event(1), 0)
    found = holds.find("subject x", "stream S")
    assert found is not None and found.scope == "stream S"
    assert holds.find("subject x") is None


def test_another_class_is_news_and_the_last_reason_is_kept() -> None:
    holds = Holds(base_s=1, max_s=3)
    fail(holds, "stream S", event(1), 0)
    hold, news = holds.fail("stream S", FailureClass.OUTAGE, "no leader", event(2), 0, 0.0)
    assert news
    assert (hold.failure_class, hold.reason) == (FailureClass.OUTAGE, "no leader")
    assert not holds.fail("stream S", FailureClass.OUTAGE, "no leader", event(3), 0, 0.0)[1]


def test_only_the_event_in_flight_as_a_probe_names_its_hold() -> None:
    holds = Holds(base_s=1, max_s=3)
    fail(holds, "subject x", event(1), 0)
    assert holds.probed_by(1) is None
    (probe,) = holds.due(1)
    found = holds.probed_by(probe.seq)
    assert found is not None and found.scope == "subject x"
    assert holds.probed_by(2) is None


def test_putting_off_what_is_no_probe_changes_nothing() -> None:
    holds = Holds(base_s=1, max_s=3)
    fail(holds, "subject x", event(1), 0)
    holds.put_off(2, 100)
    assert [one.seq for one in holds.due(1)] == [1]


def test_a_probe_that_was_not_sent_waits_again_and_lengthens_no_pause() -> None:
    holds = Holds(base_s=1, max_s=3)
    fail(holds, "stream S", event(1), 0)
    fail(holds, "stream S", event(2), 0)
    (probe,) = holds.due(1)
    assert holds.wait_again(probe, 1)
    assert (holds.parked_events, holds.open["stream S"].probes) == (2, 0)
    assert holds.due(1.9) == []
    (probe,) = holds.due(2)
    holds.end("stream S")
    assert not holds.wait_again(probe, 2), "nothing is held any more: it is sent"


def test_the_only_one_that_waits_can_wait_again() -> None:
    holds = Holds(base_s=1, max_s=3)
    fail(holds, "subject x", event(1), 0)
    (probe,) = holds.due(1)
    assert holds.wait_again(probe, 1)
    assert holds.due(2) == [probe]


class HoldsUnderFire(RuleBasedStateMachine):
    """Events fail, are parked, sent as probes, and let go, in any order.

    Attributes:
        parked: What should wait in each open hold, in any order; probes are not among it.
        probes: The events in flight as probes, and the scope of their hold.
        sent: Events in flight that are no probes.
    """

    BASE_S, MAX_S = 1.0, 8.0
    # Numbers that a float holds exactly.
    CHANCES = st.sampled_from([0.0, 0.25, 0.5, 0.75])
    SCOPES = st.sampled_from(["subject x", "subject y", "stream S"])
    CLASSES = st.sampled_from([FailureClass.OUTAGE, FailureClass.CAPACITY])

    def __init__(self) -> None:
        super().__init__()
        self.holds = Holds(base_s=self.BASE_S, max_s=self.MAX_S)
        self.now = 0.0
        self.parked: dict[str, list[Event]] = {}
        self.probes: dict[Event, str] = {}
        self.sent: list[Event] = []
        self.last_seq = 0

    @rule(events=st.integers(1, 4))
    def send(self, events: int) -> None:
        self.sent += [event(self.last_seq + number) for number in range(1, events + 1)]
        self.last_seq += events

    @rule(seconds=st.integers(0, 10))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def _park(self, scope: str, one: Event, chance: float, failure_class: FailureClass) -> Hold:
        before = self.holds.open.get(scope)
        is_known = before is not None and before.failure_class is failure_class
        hold, news = self.holds.fail(scope, failure_class, "full", one, self.now, chance)
        assert news != is_known and hold.failure_class is failure_class
        self.holds.park(hold, one)
        self.parked.setdefault(scope, []).append(one)
        return hold

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 99), scope=SCOPES, chance=CHANCES, failure_class=CLASSES)
    def fail_an_event(self, which: int, scope: str, chance: float, failure_class: FailureClass) -> None:
        one = self.sent.pop(which % len(self.sent))
        before = self.holds.open.get(scope)
        at = before.probe_at if before is not None else None
        hold = self._park(scope, one, chance, failure_class)
        assert at is None or hold.probe_at == at
        assert at is not None or self.BASE_S / 2 <= hold.probe_at - self.now <= self.BASE_S

    @precondition(lambda self: self.probes)
    @rule(which=st.integers(0, 99), scope=st.none() | SCOPES, chance=CHANCES, failure_class=CLASSES)
    def fail_a_probe(self, which: int, scope: str | None, chance: float, failure_class: FailureClass) -> None:
        probe = list(self.probes)[which % len(self.probes)]
        of = self.probes.pop(probe)
        into = of if scope is None else scope
        before = self.holds.open[of].probes
        hold = self._park(into, probe, chance, failure_class)
        if into != of:
            self.parked[into] += self.parked.pop(of)
        else:
            assert hold.probes == before + 1
            pause = hold.probe_at - self.now
            assert min(self.MAX_S, 2**hold.probes) / 2 <= pause <= self.MAX_S

    @precondition(lambda self: self.probes)
    @rule(which=st.integers(0, 99), scope=SCOPES)
    def park_a_probe_elsewhere(self, which: int, scope: str) -> None:
        """The probe of a subject's hold is found to be under the hold of its stream."""
        probe = list(self.probes)[which % len(self.probes)]
        if scope == self.probes[probe] or scope not in self.holds.open:
            return
        del self.probes[probe]
        self.holds.put_off(probe.seq, self.now)
        self.holds.park(self.holds.open[scope], probe)
        self.parked[scope].append(probe)

    @rule()
    def probe(self) -> None:
        due = {scope for scope, hold in self.holds.open.items() if hold.probe_at <= self.now}
        idle = {scope for scope, parked in self.parked.items() if parked} - set(self.probes.values())
        probes = self.holds.due(self.now)
        found = {scope: one for one in probes for scope, parked in self.parked.items() if one in parked}
        assert set(found) == due & idle
        assert len(found) == len(probes)
        for scope, one in found.items():
            self.parked[scope].remove(one)
            self.probes[one] = scope

    @precondition(lambda self: self.probes)
    @rule(which=st.integers(0, 99))
    def store_a_probe(self, which: int) -> None:
        probe = list(self.probes)[which % len(self.probes)]
        self._let_go(self.probes.pop(probe))

    @rule(scope=SCOPES)
    def end(self, scope: str) -> None:
        self._let_go(scope)

    def _let_go(self, scope: str) -> None:
        ended = self.holds.end(scope)
        assert (ended is None) == (scope not in self.parked)
        if ended is not None:
            assert sorted(ended.parked) == sorted(self.parked.pop(scope))
            self.sent += ended.parked
            self._forget_probes()

    def _forget_probes(self) -> None:
        self.sent += [one for one, scope in self.probes.items() if scope not in self.parked]
        self.probes = {one: scope for one, scope in self.probes.items() if scope in self.parked}

    @rule()
    def connect_anew(self) -> None:
        ended = {hold.scope: sorted(hold.parked) for hold in self.holds.end_all()}
        assert ended == {scope: sorted(parked) for scope, parked in self.parked.items()}
        self.sent += [one for parked in self.parked.values() for one in parked]
        self.parked.clear()
        self._forget_probes()

    @invariant()
    def each_event_waits_in_one_place(self) -> None:
        waiting = [one for hold in self.holds.open.values() for one in hold.parked]
        assert self.holds.parked_events == len(waiting)
        assert self.holds.parked_bytes == sum(one.size for one in waiting)
        assert self.holds.probes() == sum(hold.probing is not None for hold in self.holds.open.values())
        held = {scope: sorted(hold.parked) for scope, hold in self.holds.open.items()}
        assert held == {scope: sorted(parked) for scope, parked in self.parked.items()}
        assert self.holds.parked_events == sum(len(parked) for parked in self.parked.values())
        for failure_class in FailureClass:
            of_class = [hold for hold in self.holds.open.values() if hold.failure_class is failure_class]
            counted = self.holds.held().get(failure_class, Held(0, 0))
            assert counted == (len(of_class), sum(len(hold.parked) for hold in of_class))
            assert sorted(hold.scope for hold in self.holds.some(failure_class, 9)) == sorted(
                hold.scope for hold in of_class
            )
        for one, scope in self.probes.items():
            assert self.holds.probed_by(one.seq) is self.holds.open[scope]


TestHoldsUnderFire = HoldsUnderFire.TestCase
TestHoldsUnderFire.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
