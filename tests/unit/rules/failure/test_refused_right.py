"""The words of a refused right, as a server quotes them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.failure.refused_right import forbidden_subject, unheard_subject

SUBJECT = st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1)


def quoted(subject: str) -> str:
    """Quote as the server does."""
    escaped = subject.replace("\\", "\\\\").replace('"', '\\"')
    return f'nats: Permissions Violation for Publish to "{escaped}"'


@given(SUBJECT)
def test_every_subject_is_read_as_it_was_sent(subject: str) -> None:
    assert forbidden_subject(quoted(subject)) == subject.lower()
    # nats-py hands the words on in lower case, and a server may say more after them.
    assert forbidden_subject(quoted(subject).lower() + ' using queue "q"') == subject.lower()


@pytest.mark.parametrize(
    "words", ['nats: Permissions Violation for Subscription to "a"', "nats: stale connection", "", quoted("a")[:-1]]
)
def test_other_words_name_no_subject(words: str) -> None:
    assert forbidden_subject(words) is None


@given(SUBJECT)
def test_a_subscription_is_not_taken_for_a_publish(subject: str) -> None:
    words = quoted(subject).replace("Publish", "Subscription") + ' (sid "7")'
    assert (unheard_subject(words), forbidden_subject(words)) == (subject.lower(), None)
    assert unheard_subject(quoted(subject)) is None
