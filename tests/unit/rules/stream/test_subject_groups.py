"""Many subjects share a question if they begin alike, and whatever takes one of them overlaps with it."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.stream.subject_groups import groups, of_all_but_last, of_first_token
from relay.rules.stream.subjects import matches, overlap

tokens = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)
subjects = tokens.map(".".join)


def test_few_subjects_and_those_of_one_token_are_asked_about_by_themselves() -> None:
    assert groups(["a.1", "a.2", "a.3", "a.4", "b.1"], of_first_token) == {}
    assert groups(["a", "b", "c", "d", "e", "f"], of_first_token) == {}


def test_subjects_are_grouped_by_their_first_token_or_by_all_but_the_last() -> None:
    alike = [f"a.b.{number}" for number in range(5)]
    other = [f"a.c{number}.d" for number in range(5)]
    assert groups(alike + other, of_first_token) == {"a.>": alike + other}
    assert groups(alike + other, of_all_but_last) == {"a.b.>": alike}


@given(st.sets(subjects, min_size=5), st.lists(st.sampled_from(["a", "b", "*", ">"]), min_size=1, max_size=4))
def test_a_stream_that_takes_a_subject_overlaps_with_the_pattern_of_its_group(
    asked: set[str], taken: list[str]
) -> None:
    pattern = ".".join(one for one in taken[:-1] if one != ">") + (taken[-1] if len(taken) == 1 else f".{taken[-1]}")
    for pattern_of in (of_first_token, of_all_but_last):
        for group, alike in groups(sorted(asked), pattern_of).items():
            if any(matches(pattern, subject) for subject in alike):
                assert overlap(pattern, group)
