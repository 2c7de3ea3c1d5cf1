"""How the event that ends the relay is found."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.failure.crash_suspects import group_size, is_crasher, next_group, own_attempts


@given(st.lists(st.integers(0, 9), max_size=1500))
def test_a_group_is_as_large_as_all_of_it_allow(attempts: list[int]) -> None:
    size = next_group(attempts)
    assert (size > 0) == bool(attempts)
    assert all(size <= group_size(count) for count in attempts[:size])
    assert size == len(attempts) or size + 1 > min(group_size(count) for count in attempts[: size + 1])


@given(st.integers(1, 3000), st.data(), st.integers(1, 20))
def test_the_guilty_one_alone_is_crasher(count: int, data: st.DataObject, max_attempts: int) -> None:
    """Play crashes: each start sends group after group, and ends in the one with the guilty event."""
    guilty = data.draw(st.integers(0, count - 1))
    pending = dict.fromkeys(range(count), 0)
    starts = 0
    while guilty in pending:
        starts += 1
        assert starts <= max(max_attempts, 6) + 1, "it is found"
        while pending:
            seqs = list(pending)[:1000]
            group = seqs[: next_group([pending[seq] for seq in seqs])]
            if is_crasher(pending[group[0]], max_attempts):
                assert group == [guilty]
                del pending[guilty]
                continue
            for seq in group:
                pending[seq] += 1
            if guilty in group:
                break
            for seq in group:
                del pending[seq]
    assert starts == max(max_attempts, 6) + 1


@given(st.integers(0, 20))
def test_of_a_trial_nothing_is_left_but_refusals(before: int) -> None:
    assert own_attempts(before + 1, refused=True) == before
    assert own_attempts(before + 1, refused=False) == 0
