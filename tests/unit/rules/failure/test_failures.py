"""The table of failures, and the pauses between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.outcomes import FailureClass
from relay.rules.failure.failures import (
    BY_CODE,
    Failure,
    Forbidden,
    NoResponders,
    Refused,
    Scope,
    TimedOut,
    Unacknowledging,
    after_lookup,
    classify,
    describe,
)


@pytest.mark.parametrize(
    ("code", "failure_class"),
    [
        *[(code, FailureClass.OUTAGE) for code in (10008, 10023, 10158, 10167, 10210, 10211)],
        *[(code, FailureClass.CAPACITY) for code in (10002, 10077)],
        *[(code, FailureClass.CONFIGURATION) for code in (10059, 10109)],
        *[(code, FailureClass.POISON) for code in (10054, 10097, 10111, 10165, 10168)],
        *[(code, FailureClass.UNKNOWN) for code in (0, 10003, 10060, 10070, 10193, 19999)],
    ],
)
def test_each_code_has_its_class(code: int, failure_class: FailureClass) -> None:
    assert classify(Refused(code, "said so")).failure_class is failure_class


@pytest.mark.parametrize("code", [10111, 10165, 10166, *range(10168, 10173), *range(10188, 10193)])
def test_a_control_header_that_the_stream_refuses_is_never_tried_for_ever(code: int) -> None:
    verdict = classify(Refused(code, "said so"))
    assert verdict.failure_class in (FailureClass.POISON, FailureClass.UNKNOWN)


@pytest.mark.parametrize("code", [10060, 10070, 10071, 10164, 10166, 10188])
def test_a_header_that_is_refused_holds_up_no_other_event_of_its_subject(code: int) -> None:
    assert classify(Refused(code, "said so")).scope is Scope.EVENT


@given(st.integers(0, 20_000).filter(lambda code: code not in BY_CODE), st.text())
def test_a_code_that_is_not_in_the_table_is_unknown_and_concerns_one_event(code: int, text: str) -> None:
    verdict = classify(Refused(code, text))
    assert (verdict.failure_class, verdict.scope) == (FailureClass.UNKNOWN, Scope.EVENT)


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_only_what_is_the_events_own_fault_concerns_the_event_alone(code: int) -> None:
    verdict = classify(Refused(code, "said so"))
    own = verdict.failure_class in (FailureClass.POISON, FailureClass.UNKNOWN)
    assert (verdict.scope is Scope.EVENT) == own
    if verdict.failure_class in (FailureClass.OUTAGE, FailureClass.CAPACITY):
        assert verdict.scope is Scope.STREAM


def test_each_failure_is_described_by_what_the_server_said() -> None:
    assert describe(Refused(10054, "message size exceeds maximum allowed")) == (
        "refused by the stream: message size exceeds maximum allowed (10054)"
    )
    said = {describe(NoResponders(exists)) for exists in (True, False, None)}
    assert len(said) == 3
    assert "permissions violation" in describe(Forbidden("permissions violation"))
    assert "in time" in describe(TimedOut())


@pytest.mark.parametrize(
    ("failure", "failure_class", "scope"),
    [
        (NoResponders(stream_exists=False), FailureClass.CONFIGURATION, Scope.SUBJECT),
        (NoResponders(stream_exists=True), FailureClass.OUTAGE, Scope.STREAM),
        (NoResponders(stream_exists=None), FailureClass.OUTAGE, Scope.STREAM),
        (TimedOut(), FailureClass.OUTAGE, Scope.STREAM),
        (TimedOut(passed_over=1), FailureClass.OUTAGE, Scope.EVENT),
        (TimedOut(passed_over=2), FailureClass.OUTAGE, Scope.EVENT),
        (TimedOut(passed_over=3), FailureClass.UNKNOWN, Scope.EVENT),
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


FAILURES_AFTER = st.sampled_from(
    [Refused(10077, "full"), NoResponders(None), TimedOut(), Forbidden("no"), Unacknowledging("ORDERS")]
)


@given(FAILURES_AFTER, st.sampled_from([True, False, None]), st.none() | st.just("ORDERS"))
def test_a_lookup_changes_a_failure_only_to_what_it_proves(
    failure: Failure, exists: bool | None, mute: str | None
) -> None:
    found = after_lookup(failure, exists, mute)
    if exists is False:
        assert found == NoResponders(False)
    elif mute is not None:
        assert found == Unacknowledging("ORDERS")
    elif isinstance(failure, NoResponders):
        assert found == NoResponders(exists)
    else:
        assert found == (None if isinstance(failure, Unacknowledging) else failure)
