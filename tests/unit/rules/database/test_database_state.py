"""When what was read from a database does not hold any more."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.database.database_state import Change, DatabaseState

SEQS = st.integers(0, 100)
STATES = st.builds(DatabaseState, st.sampled_from(["this", "that"]), SEQS, st.none() | SEQS)


@given(STATES, STATES)
def test_another_server_is_seen_whatever_its_rows_say(before: DatabaseState, now: DatabaseState) -> None:
    assert (before.change_to(now) is Change.SERVER) is (before.identity != now.identity)


@given(SEQS, SEQS, SEQS, SEQS)
def test_a_sequence_that_draws_lower_was_set_back(newest: int, later: int, drawn: int, then: int) -> None:
    change = DatabaseState("this", newest, drawn).change_to(DatabaseState("this", later, then))
    assert change is (Change.SEQUENCE if then < drawn else None)


def test_a_new_origin_is_a_change() -> None:
    before, after = DatabaseState("this", 1, 1, "0:a"), DatabaseState("this", 1, 1, "0:a,1:b")
    assert before.change_to(after) is Change.ORIGIN and before.change_to(before) is None


@given(STATES, SEQS)
def test_a_role_that_may_not_see_the_sequence_takes_nothing_for_a_change(state: DatabaseState, newest: int) -> None:
    blind = DatabaseState(state.identity, newest, None)
    assert state.change_to(blind) is None and blind.change_to(state) is None
    assert not blind.overtaken() and blind.settles(10**18)


@given(SEQS, SEQS, SEQS)
def test_nothing_beyond_the_sequence_was_ever_settled(newest: int, drawn: int, watermark: int) -> None:
    state = DatabaseState("this", newest, drawn)
    assert state.settles(watermark) is (watermark <= drawn)
    assert state.overtaken() is (newest > drawn)
