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


def is_elsewhere(begun: Begun, seq: int, subject: str) -> None:
    """Let an event find no stream, knock and be heard, and then find none again."""
    begun.looked_up(seq, subject, is_taken=False)
    assert seq in begun.knocks
    assert begun.knocks.failed(seq, by_condition=True)
    begun.looked_up(seq, subject, is_taken=False)


@given(_SUBJECTS, _SUBJECTS)
def test_a_subject_of_no_stream_is_sent_on_alone_once_a_knock_was_heard(subject: str, other: str) -> None:
    begun = Begun()
    begun.looked_up(1, subject, is_taken=False)
    assert not begun.may_send(subject)
    assert not begun.is_elsewhere(subject)
    is_elsewhere(begun, 1, subject)
    assert begun.may_send(subject)
    assert begun.is_elsewhere(subject)
    assert begun.may_send(other) == begun.is_elsewhere(other) == (other == subject)


def test_a_subject_that_lies_elsewhere_is_not_asked_about_again_whatever_else_is_sent() -> None:
    """What is kept of subjects is bounded, and that is no reason to knock for ever."""
    begun = Begun()
    begun.wrote("ALL", ("orders.>",))
    is_elsewhere(begun, 1, "elsewhere")
    for number in range(20_000):
        assert begun.may_send(f"orders.{number}")
    assert begun.may_send("elsewhere")


@given(_SUBJECTS, _SUBJECTS)
def test_who_acknowledges_a_knock_is_no_stream(subject: str, other: str) -> None:
    begun = Begun()
    begun.looked_up(1, subject, is_taken=False)
    begun.accepted(2, other)
    assert not begun.may_send(other)
    begun.accepted(1, subject)
    assert 1 not in begun.knocks
    assert begun.may_send(subject)
    assert begun.is_elsewhere(subject)


@given(_SUBJECTS)
def test_a_stream_that_is_there_after_a_knock_is_written_down_first(subject: str) -> None:
    begun = Begun()
    begun.looked_up(1, subject, is_taken=False)
    assert begun.knocks.failed(1, by_condition=True)
    begun.looked_up(1, subject, is_taken=True)
    assert not begun.may_send(subject)
    assert not begun.is_elsewhere(subject)
    assert 1 not in begun.knocks
    # And the next one knocks as if there had been none.
    begun.looked_up(1, subject, is_taken=False)
    assert 1 in begun.knocks


@given(_SUBJECTS, st.booleans())
def test_nothing_waits_if_nobody_answers(subject: str, has_knocked: bool) -> None:
    begun = Begun()
    if has_knocked:
        begun.looked_up(1, subject, is_taken=False)
        begun.knocks.failed(1, by_condition=True)
    assert not begun.may_send(subject)
    begun.looked_up(1, subject, is_taken=None)
    assert begun.may_send(subject)
    assert not begun.knocks.take_heard(1)


def test_so_many_subjects_without_a_stream_are_asked_about_and_no_more() -> None:
    begun = Begun()
    asked = 0
    for number in range(20_000):
        if not begun.may_send(f"nowhere.{number}"):
            asked += 1
            # The second event of a subject costs no place.
            is_elsewhere(begun, 1, f"nowhere.{number}")
            is_elsewhere(begun, 2, f"nowhere.{number}")
    assert asked == 1_000


def test_a_stream_that_is_never_as_it_was_looked_up_holds_nothing_up_for_ever() -> None:
    begun = Begun()
    for _ in range(999):
        begun.asked_in_vain()
    assert not begun.may_send("orders.placed")
    begun.asked_in_vain()
    assert begun.may_send("orders.placed")
