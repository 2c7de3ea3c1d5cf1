"""The class of a failure, from the column or, in rows from before it, from the sentence."""

import pytest

from relay.outcomes import FailureClass
from relay.rules.failure.failure_class_of_old_rows import stored_class
from relay.rules.failure.failures import BY_CODE, Refused, classify, describe

# What relays of schema 8 and earlier wrote, word for word.
SENTENCES = {
    FailureClass.OUTAGE: [
        "the stream has no leader now",
        "nobody answers on this subject, and the streams could not be looked up",
        "no acknowledgement in time",
    ],
    FailureClass.CONFIGURATION: [
        "no stream takes this subject: create it, or correct the subject",
        'not permitted to publish: permissions violation for publish to "orders.placed"',
        "stream ORDERS has no_ack: what it stores is never acknowledged",
    ],
    FailureClass.CAPACITY: ["refused by the stream: maximum messages per subject exceeded (10077)"],
    FailureClass.UNKNOWN: [
        "the stream acknowledged what was sent later, and not this event",
        "refused by the stream: some text (with brackets) (12345)",
        "refused by the stream: some text (0)",
    ],
    FailureClass.POISON: [
        "the subject is empty",
        "the subject is longer than 512 bytes",
        "the subject holds an empty token: 'a..b'",
        "the subject holds a space, a wildcard, a control or a non-ASCII character: 'a b'",
        "the subject is reserved for the server: '$JS.x'",
        "the subject lies outside the allowed ones: 'x'",
        "the headers are no JSON object",
        "header Nats-TTL would steer the server and is not allowed",
        "headers of 1 and payload of 2 bytes: the server takes 3",
        "a header's name holds a space, a colon or a control: 'a b'",
        "a CloudEvent needs a type, and the topic is empty",
        "NATS ended the connection each time this event alone was sent: connection reset",
        "the relay ended each time while this event alone was sent",
    ],
}


@pytest.mark.parametrize(
    ("sentence", "failure_class"), [(text, found) for found, texts in SENTENCES.items() for text in texts]
)
def test_the_class_of_a_row_from_before_the_column_is_read_out_of_its_sentence(
    sentence: str, failure_class: FailureClass
) -> None:
    assert stored_class(None, sentence) is failure_class


@pytest.mark.parametrize("code", BY_CODE)
def test_the_code_of_the_server_decides_in_such_a_row(code: int) -> None:
    failure = Refused(code, "some text (with brackets)")
    assert stored_class(None, describe(failure)) is classify(failure).failure_class


@pytest.mark.parametrize("text", [None, "", "stream ORDERS lost it at sequence 7: sent again", "anything else"])
def test_what_is_no_failure_of_sending_has_no_class(text: str | None) -> None:
    assert stored_class(None, text) is None


@pytest.mark.parametrize("failure_class", FailureClass)
def test_the_column_counts_whatever_the_sentence_says(failure_class: FailureClass) -> None:
    assert stored_class(failure_class.value, "no acknowledgement in time") is failure_class


def test_a_class_of_a_newer_relay_is_none_that_is_known() -> None:
    assert stored_class("weather", "no acknowledgement in time") is None
