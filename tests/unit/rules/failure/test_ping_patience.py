"""A connection that did not answer gives the next one more time, and one that lives ends that."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.failure.ping_patience import PingPatience


@given(st.floats(0.1, 60.0), st.lists(st.booleans()))
def test_each_unanswered_connection_doubles_the_pause_up_to_a_bound_until_one_lives(
    usual_s: float, ends: list[bool]
) -> None:
    patience, in_a_row = PingPatience(usual_s), 0
    for unanswered in ends:
        if unanswered:
            patience.unanswered()
            in_a_row += 1
        else:
            assert patience.calm() == usual_s
            in_a_row = 0
        assert patience.interval_s == usual_s * 2 ** min(in_a_row, 4)
