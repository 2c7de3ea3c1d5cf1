"""The gate: nothing leaves before the streams were checked, nor after the lease."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.gate import Gate


@dataclass
class Lease:
    until: float


@given(st.floats(0, 100), st.floats(0, 100))
def test_nothing_is_sent_through_a_shut_gate_or_after_the_lease(until: float, now: float) -> None:
    gate = Gate(Lease(until))
    assert not gate.may_send(now)
    gate.open()
    assert gate.may_send(now) is (now < until)
    gate.shut()
    assert not gate.may_send(now)
