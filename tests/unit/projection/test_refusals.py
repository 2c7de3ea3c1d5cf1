"""Outage and configuration wait, poison is parked, and too much of it stops the projection."""

import pytest

from relay.projection.rules.refusals import MAX_EVENTS, MAX_KEYS, MAX_STREAK, Breaker, RefusalClass, classify


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
