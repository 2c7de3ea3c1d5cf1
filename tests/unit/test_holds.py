"""Holds: one probe at a time, longer pauses, and nobody left behind."""

from relay.event import Event
from relay.failures import FailureClass
from relay.holds import Holds


def event(seq: int) -> Event:
    return Event(seq, str(seq), "t", None, b"", None, 0.0, 0, False)


def fail(holds: Holds, scope: str, one: Event, now: float) -> bool:
    hold, news = holds.fail(scope, FailureClass.CAPACITY, "full", one, now, 0.0)
    hold.parked.append(one)
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
    assert holds.parked_events() == 99


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
