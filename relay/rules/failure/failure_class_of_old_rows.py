"""The class of a failure as its row has it. Pure.

The relay stores the class beside the sentence. Only rows that were written before schema 9 have the sentence alone, so
their class is read out of it. The sentences here are those of the relays that wrote such rows: they never change.
"""

import re

from relay.outcomes import FailureClass
from relay.rules.failure.failures import BY_CODE, Refused, classify

_REFUSED = re.compile(r"^refused by the stream: (.*) \((\d+)\)$", re.DOTALL)
_NO_ACK = re.compile(r"stream \S+ has no_ack")
_BY_WORDS = {
    "no stream takes this subject": FailureClass.CONFIGURATION,
    "not permitted to publish": FailureClass.CONFIGURATION,
    "the stream has no leader": FailureClass.OUTAGE,
    "nobody answers on this subject": FailureClass.OUTAGE,
    "no acknowledgement in time": FailureClass.OUTAGE,
    "the stream acknowledged what was sent later": FailureClass.UNKNOWN,
    "the subject ": FailureClass.POISON,
    "the headers ": FailureClass.POISON,
    "headers of ": FailureClass.POISON,
    "header ": FailureClass.POISON,
    "a header's name": FailureClass.POISON,
    "a CloudEvent needs a type": FailureClass.POISON,
    "NATS ended the connection each time this event alone was sent": FailureClass.POISON,
    "the relay ended each time while this event alone was sent": FailureClass.POISON,
}


def stored_class(failure_class: str | None, last_error: str | None) -> FailureClass | None:
    """Return the class of the failure that a row tells of.

    Args:
        failure_class: The row's column; null in rows written before it, and in those that tell of no failure.
        last_error: The row's sentence.

    Returns:
        None if the row tells of no failure to send, or of a class that only a newer relay knows.
    """
    if failure_class is None:
        return _class_in(last_error)
    return next((known for known in FailureClass if known == failure_class), None)


def _class_in(last_error: str | None) -> FailureClass | None:
    if last_error is None:
        return None
    refused = _REFUSED.match(last_error)
    if refused:
        code = int(refused[2])
        return classify(Refused(code, refused[1])).failure_class if code in BY_CODE else FailureClass.UNKNOWN
    if _NO_ACK.match(last_error):
        return FailureClass.CONFIGURATION
    return next((found for words, found in _BY_WORDS.items() if last_error.startswith(words)), None)
