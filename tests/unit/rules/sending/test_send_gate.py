"""The gate: nothing leaves before the streams were checked, nor after the lease."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.sending.send_gate import Gate
from relay.rules.stream.set_back_suspects import SetBackSuspects
from relay.rules.stream.stream_floors import Mark

REASONS = st.sampled_from(["connection", "ORDERS is compared", "OTHER is compared"])


def unheard() -> None:
    """Take no notice."""


@dataclass
class Lease:
    until: float


@dataclass
class Source:
    generation: int


@given(st.floats(0, 100), st.floats(0, 100))
def test_nothing_is_sent_through_a_shut_gate_or_after_the_lease(until: float, now: float) -> None:
    gate = Gate(Lease(until), Source(1), SetBackSuspects(unheard, unheard))
    assert not gate.may_send(now)
    gate.searched(1)
    assert gate.may_send(now) is (now < until)
    gate.shut("why")
    assert not gate.may_send(now)


def test_nothing_is_sent_before_a_stream_was_looked_at_that_was_away() -> None:
    set_backs = SetBackSuspects(unheard, unheard)
    gate = Gate(Lease(1.0), Source(1), set_backs)
    gate.searched(1)
    set_backs.begin("ORDERS", Mark(7, "id"))
    set_backs.returned("ORDERS")
    assert not gate.may_send(0.0)
    set_backs.let_go("ORDERS")
    assert gate.may_send(0.0)


@given(st.lists(st.tuples(st.sampled_from(["shut", "release", "connect", "search"]), REASONS)))
def test_the_gate_is_open_without_a_reason_and_after_a_search_for_what_is_read_over_the_connection_of_now(
    steps: list[tuple[str, str]],
) -> None:
    source, searched = Source(1), 0
    reasons: set[str] = set()
    gate = Gate(Lease(1.0), source, SetBackSuspects(unheard, unheard))
    for step, reason in steps:
        match step:
            case "shut":
                gate.shut(reason)
                reasons.add(reason)
            case "release":
                gate.release(reason)
                reasons.discard(reason)
            case "connect":
                source.generation += 1
            case _:
                gate.searched(source.generation)
                searched = source.generation
        assert gate.is_open == (not reasons and searched == source.generation)
