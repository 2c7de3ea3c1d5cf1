"""Which handler applies an event."""

import pytest

from relay.projection.definition import Definition, Handler
from relay.projection.rules.grouping import Mode
from tests.unit.projection.events import event


def _handler(topic: str, version: int | None = None) -> Handler:
    return Handler(topic, version, Mode.EACH, sql=b"SELECT 1")


def _definition(*handlers: Handler) -> Definition:
    return Definition("model", "ORDERS", ("orders.>",), 1, "", handlers)


@pytest.mark.parametrize(
    ("handlers", "version", "wanted"),
    [
        ([("orders.placed", None), ("orders.*", None)], "1", 0),
        ([("orders.*", None), ("orders.placed", None)], "1", 0),
        ([("orders.paid", None), ("orders.>", None)], "1", 1),
        ([("orders.placed", 1), ("orders.placed", 2)], "2", 1),
        ([("orders.placed", 2), ("orders.*", None)], "1", 1),
        ([("orders.placed", 2), ("orders.placed", None)], "2", 0),
    ],
)
def test_the_first_handler_that_fits_topic_and_version_applies_an_event(
    handlers: list[tuple[str, int | None]], version: str, wanted: int
) -> None:
    made = [_handler(*one) for one in handlers]

    found, fault = _definition(*made).handler_of(event(1, Event_Version=version))

    assert (found, fault) == (made[wanted], None)


def test_an_event_that_no_topic_fits_is_none_of_ours() -> None:
    assert _definition(_handler("orders.paid"), _handler("shop.>")).handler_of(event(1)) == (None, None)


def test_an_event_of_a_version_that_nobody_has_defined_is_at_fault() -> None:
    handler = _handler("orders.placed", 2)

    found, fault = _definition(_handler("orders.paid"), handler).handler_of(event(1, Event_Version="3"))

    assert found is handler
    assert fault == "nothing is defined for version 3 of orders.placed"


def test_the_fault_of_an_event_itself_is_told_first() -> None:
    found, fault = _definition(_handler("orders.placed")).handler_of(event(1, Outbox_Seq="no number"))

    assert found is not None
    assert fault is not None and "Outbox-Seq" in fault
