"""The table of failures, and the pauses between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failures import (
    Failure,
    FailureClass,
    Forbidden,
    NoResponders,
    Refused,
    Scope,
    TimedOut,
    backoff,
    classify,
    describe,
)


@pytest.mark.parametrize(
    ("code", "failure_class"),
    [
        *[(code, FailureClass.OUTAGE) for code in (10008, 10023, 10158, 10167, 10210, 10211)],
        *[(code, FailureClass.CAPACITY) for code in (10002, 10077)],
        *[(code, FailureClass.CONFIGURATION) for code in (10060, 10070, 10071, 10109)],
        *[(code, FailureClass.POISON) for code in (10054, 10097, 10111, 10165, 10168)],
        *[(code, FailureClass.UNKNOWN) for code in (0, 10003, 10193, 19999)],
    ],
)
def test_each_code_has_its_class(code: int, failure_class: FailureClass) -> None:
    assert classify(Refused(code, "said so")).failure_class is failure_class


@pytest.mark.parametrize(
    ("failure", "failure_class", "scope"),
    [
        (NoResponders(stream_exists=False), FailureClass.CONFIGURATION, Scope.SUBJECT),
        (NoResponders(stream_exists=True), FailureClass.OUTAGE, Scope.STREAM),
        (NoResponders(stream_exists=None), FailureClass.OUTAGE, Scope.STREAM),
        (TimedOut(), FailureClass.OUTAGE, Scope.STREAM),
        (Forbidden("no"), FailureClass.CONFIGURATION, Scope.SUBJECT),
        (Refused(10077, "maximum messages exceeded"), FailureClass.CAPACITY, Scope.STREAM),
        (Refused(10077, "maximum messages per subject exceeded"), FailureClass.CAPACITY, Scope.SUBJECT),
    ],
)
def test_what_is_ambiguous_is_decided_by_what_was_looked_up(
    failure: Failure, failure_class: FailureClass, scope: Scope
) -> None:
    verdict = classify(failure)
    assert (verdict.failure_class, verdict.scope) == (failure_class, scope)
    assert describe(failure)


@given(
    attempt=st.integers(1, 10_000), base=st.floats(0.001, 10), most=st.floats(10, 10_000), chance=st.floats(0, 0.999)
)
def test_a_pause_grows_with_the_attempts_and_has_its_bound(
    attempt: int, base: float, most: float, chance: float
) -> None:
    pause = backoff(attempt, base, most, chance)
    assert 0 < pause <= most
    assert backoff(attempt, base, most, 0) <= backoff(attempt + 1, base, most, 0)
    assert pause >= min(base, most) / 2
