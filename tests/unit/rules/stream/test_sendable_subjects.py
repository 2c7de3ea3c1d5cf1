"""A subject is sent on once its stream is written down, and waits for no answer for ever."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.stream.sendable_subjects import Begun

_SUBJECTS = st.sampled_from(["orders.a", "orders.b", "other.a", "else"])


@given(st.lists(_SUBJECTS, max_size=6), _SUBJECTS)
def test_a_subject_waits_until_its_stream_is_written_down(others: list[str], subject: str) -> None:
    begun = Begun()
    for other in others:
        begun.wrote(f"OF {other}", (other,))
    assert begun.may_send(subject) == (subject in others)
    begun.wrote("ALL", (">",))
    assert begun.may_send(subject)


@given(_SUBJECTS, _SUBJECTS)
def test_a_subject_of_no_stream_waits_alone(subject: str, other: str) -> None:
    begun = Begun()
    begun.of_no_stream(subject)
    assert begun.may_send(subject)
    assert begun.may_send(other) == (other == subject)


@given(_SUBJECTS)
def test_nothing_waits_if_nobody_answers(subject: str) -> None:
    begun = Begun()
    assert not begun.may_send(subject)
    begun.give_up()
    assert begun.may_send(subject)


def test_so_many_subjects_without_a_stream_are_asked_about_and_no_more() -> None:
    begun = Begun()
    asked = 0
    for number in range(20_000):
        if not begun.may_send(f"nowhere.{number}"):
            asked += 1
            begun.of_no_stream(f"nowhere.{number}")
    assert asked == 1_000
