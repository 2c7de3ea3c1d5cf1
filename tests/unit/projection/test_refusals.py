"""Outage and configuration wait, poison is parked, and too much of it stops the projection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.refusals import (
    MAX_EVENTS,
    MAX_KEYS,
    MAX_STREAK,
    Breaker,
    Evidence,
    RefusalClass,
    classify,
    is_undecided,
    judge,
    may_be_told,
)


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        (None, RefusalClass.OUTAGE),
        ("08006", RefusalClass.OUTAGE),
        ("25006", RefusalClass.OUTAGE),
        ("40001", RefusalClass.OUTAGE),
        ("40P01", RefusalClass.OUTAGE),
        ("53100", RefusalClass.OUTAGE),
        ("55P03", RefusalClass.OUTAGE),
        ("57P01", RefusalClass.OUTAGE),
        ("42P01", RefusalClass.CONFIGURATION),
        ("42501", RefusalClass.CONFIGURATION),
        ("3F000", RefusalClass.CONFIGURATION),
        ("0A000", RefusalClass.CONFIGURATION),
        ("99999", RefusalClass.CONFIGURATION),
        ("21000", RefusalClass.CONFLICT),
        ("22P02", RefusalClass.POISON),
        ("23505", RefusalClass.POISON),
        ("54000", RefusalClass.POISON),
        ("P0001", RefusalClass.POISON),
    ],
)
def test_each_error_has_its_class(sqlstate: str | None, expected: RefusalClass) -> None:
    assert classify(sqlstate) is expected


@pytest.mark.parametrize(
    ("sqlstate", "evidence", "expected"),
    [
        ("42601", Evidence(is_planned=True), RefusalClass.POISON),  # to_tsquery of a text that is no query
        ("42P01", Evidence(is_planned=True), RefusalClass.POISON),  # a name cast to regclass
        ("3F000", Evidence(is_planned=True), RefusalClass.POISON),
        ("42P01", Evidence(is_planned=False), RefusalClass.CONFIGURATION),  # a table that is missing
        ("42P01", Evidence(in_function=True, is_planned=True), RefusalClass.CONFIGURATION),  # perhaps in a trigger
        ("42P01", Evidence(in_function=True, is_planned=True, others_apply=True), RefusalClass.POISON),
        ("42P01", Evidence(in_function=True, others_apply=True), RefusalClass.POISON),  # a handler in Python
        ("42P01", Evidence(), RefusalClass.CONFIGURATION),
        ("AB123", Evidence(raised=True, in_function=True), RefusalClass.POISON),
        ("2F005", Evidence(in_function=True, is_planned=True), RefusalClass.CONFIGURATION),
        ("0A000", Evidence(is_planned=True), RefusalClass.CONFIGURATION),  # a cached plan, perhaps
        ("0A000", Evidence(is_planned=True, others_apply=True), RefusalClass.POISON),
    ],
)
def test_an_error_of_no_class_is_the_events_own_by_evidence_alone(
    sqlstate: str, evidence: Evidence, expected: RefusalClass
) -> None:
    assert judge(sqlstate, evidence) is expected


EVIDENCE = st.builds(Evidence, st.booleans(), st.booleans(), st.sampled_from([None, False, True]), st.booleans())
SQLSTATES = st.sampled_from(["42501", "42601", "42P01", "22P02", "40001", "08006", "21000", "AB123", "0A000"])


@given(SQLSTATES | st.text("0123456789ABXYZ", min_size=5, max_size=5), EVIDENCE)
def test_evidence_changes_nothing_of_an_error_that_has_a_class_or_of_a_right(sqlstate: str, evidence: Evidence) -> None:
    if not is_undecided(sqlstate):
        assert judge(sqlstate, evidence) is classify(sqlstate)
    if evidence == Evidence():
        assert judge(sqlstate, evidence) is classify(sqlstate)


@given(SQLSTATES | st.text("0123456789ABXYZ", min_size=5, max_size=5))
def test_words_that_an_author_chose_or_that_speak_of_values_are_not_told(sqlstate: str) -> None:
    assert not may_be_told(sqlstate, raised=True)
    if classify(sqlstate) is RefusalClass.POISON and sqlstate != "22012":
        assert not may_be_told(sqlstate, raised=False)
    if is_undecided(sqlstate):
        assert not may_be_told(sqlstate, raised=False, reads_values=True)


def test_ten_different_keys_in_a_row_open_the_breaker_and_one_applied_event_closes_it() -> None:
    breaker = Breaker()
    for number in range(MAX_STREAK - 1):
        breaker.refused(f"k{number}")
    breaker.refused("k0")
    assert breaker.reason() is None
    breaker.applied()
    for number in range(MAX_STREAK - 1):
        breaker.refused(f"k{number}")
    assert breaker.reason() is None
    breaker.refused("other")
    assert "in a row" in str(breaker.reason())


def test_too_many_keys_and_too_many_events_open_the_breaker() -> None:
    many_keys, many_events = Breaker(), Breaker()
    for number in range(MAX_KEYS):
        many_keys.parked(f"k{number}")
    for _ in range(MAX_EVENTS):
        many_events.parked("k")
    assert many_keys.reason() is None and many_events.reason() is None
    many_keys.parked(None)
    many_events.parked("k")
    assert "keys" in str(many_keys.reason()) and "events" in str(many_events.reason())


def test_a_copy_changes_nothing_of_the_breaker() -> None:
    breaker = Breaker()
    breaker.copy().refused("k")
    assert breaker == Breaker()
