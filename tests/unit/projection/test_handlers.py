"""Which handler applies an event."""

import re

import pytest

from relay.errors import ConfigError
from relay.projection.definition import Definition, Handler, Projection, on, upcast
from relay.projection.event import Event, Transaction
from relay.projection.rules.grouping import Mode
from tests.unit.projection.events import event

TWICE = "an earlier one takes its events: give each another version, or leave one out"
TAKES_ALL = "an earlier one takes its events, for without a version it takes every version"


def _handler(topic: str, version: int | None = None) -> Handler:
    return Handler(topic, version, Mode.EACH, sql=b"SELECT 1")


def _definition(*handlers: Handler) -> Definition:
    return Definition("model", "ORDERS", ("orders.>",), 1, "", handlers)


@pytest.mark.parametrize(
    ("handlers", "version", "wanted"),
    [
        ([("orders.placed", None), ("orders.*", None)], "1", 0),
        ([("orders.*", 1), ("orders.placed", None)], "1", 0),
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


@pytest.mark.parametrize(
    ("handlers", "version", "wanted"),
    [
        ([("orders.placed", None)], None, 0),
        ([("orders.placed", None)], 3, 0),
        ([("orders.placed", 1)], 1, 0),
        ([("orders.placed", 1)], None, None),
        ([("orders.placed", 1)], 2, None),
        ([("orders.placed", 1), ("orders.*", None)], 2, 1),
        ([("orders.placed", 1), ("orders.*", None)], None, None),
        ([("orders.placed", 2), ("orders.*", 1)], 1, 1),
    ],
)
def test_one_handler_takes_all_events_if_it_takes_their_version(
    handlers: list[tuple[str, int | None]], version: int | None, wanted: int | None
) -> None:
    made = [_handler(*one) for one in handlers]
    found = _definition(*made)
    assert found.one_handler(["orders.placed"], version) == (None if wanted is None else made[wanted])
    assert (
        version is None or wanted is None or found.handler_of(event(1, Event_Version=str(version)))[0] == made[wanted]
    )


def test_an_event_that_no_topic_fits_is_none_of_ours() -> None:
    assert _definition(_handler("orders.paid"), _handler("orders.void.>")).handler_of(event(1)) == (None, None)


def test_an_event_of_a_version_that_nobody_has_defined_is_at_fault() -> None:
    handler = _handler("orders.placed", 2)

    found, fault = _definition(_handler("orders.paid"), handler).handler_of(event(1, Event_Version="3"))

    assert found is handler
    assert fault == "nothing is defined for version 3 of orders.placed"


def test_the_fault_of_an_event_itself_is_told_first() -> None:
    found, fault = _definition(_handler("orders.placed")).handler_of(event(1, Outbox_Seq="no number"))

    assert found is not None
    assert fault is not None and "Outbox-Seq" in fault


@pytest.mark.parametrize(
    ("before", "later", "told"),
    [
        (None, None, f"orders.placed: {TWICE}"),
        (
            2,
            2,
            f"orders.placed, version 2: {TWICE}",
        ),
        (None, 2, f"orders.placed, version 2: {TAKES_ALL}: give it version = 1"),
        (None, 1, f"orders.placed, version 1: {TAKES_ALL}: give it version = 2"),
    ],
)
def test_a_handler_that_would_never_be_asked_is_a_fault(before: int | None, later: int | None, told: str) -> None:
    second = Handler("orders.placed", later, Mode.EACH, sql=b"SELECT 2")
    with pytest.raises(ConfigError) as raised:
        _definition(_handler("orders.placed", before), second)
    assert raised.value.lines == (f"projection model: on: {told}",)


@pytest.mark.parametrize(
    ("pattern", "before", "later"), [("orders.*", None, None), ("orders.>", None, 2), ("orders.*", 2, 2)]
)
def test_one_behind_a_pattern_that_takes_all_of_its_events_is_a_fault(
    pattern: str, before: int | None, later: int | None
) -> None:
    with pytest.raises(ConfigError, match="which comes earlier, takes its events: put it behind this one"):
        _definition(_handler(pattern, before), _handler("orders.placed", later))


@pytest.mark.parametrize("topic", ["invoices.placed", "order.placed", "orders", "*", "shop.>"])
def test_a_topic_that_comes_on_no_subject_is_a_fault(topic: str) -> None:
    with pytest.raises(ConfigError, match="is on none of the subjects"):
        _definition(_handler("orders.placed"), _handler(topic))


@pytest.mark.parametrize("subjects", [("orders.placed", "orders.*"), ("orders.>", "orders.placed"), ("a", "b", "a")])
def test_subjects_that_overlap_are_a_fault(subjects: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="overlap, and NATS reads none that do"):
        Definition("model", "ORDERS", subjects, 1, "", (_handler(subjects[0]),))


def test_a_method_that_is_not_async_is_a_fault_before_anything_runs() -> None:
    class Plain(Projection):
        name, stream, subjects, version = "plain", "ORDERS", ["orders.>"], 1

        @on("orders.placed")
        def placed(self, tx: Transaction, event: Event) -> None:
            """Do nothing, without `async`."""

    with pytest.raises(ConfigError, match="placed must be written with `async def`"):
        Plain.definition()


@pytest.mark.parametrize("first", ["static", "upcast"])
def test_what_brings_a_payload_up_to_date_may_be_static(first: str) -> None:
    def newer(data: dict[str, int]) -> dict[str, int]:
        return data | {"newer": 1}

    mark = upcast("orders.placed", from_version=1)

    class Static(Projection):
        name, stream, subjects, version = "static", "ORDERS", ["orders.>"], 1
        newest = staticmethod(mark(newer)) if first == "upcast" else mark(staticmethod(newer))

        @on("orders.placed", version=2)
        async def placed(self, tx: Transaction, event: Event) -> None:
            """Do nothing."""

    found = Static.definition()
    assert found.version_of(event(1)) == 2
    assert found.upcasters["orders.placed", 1]({}) == {"newer": 1}


@pytest.mark.parametrize(
    ("topic", "version", "told"),
    [
        ("orders.*", 1, "orders.*: must be a plain subject, without wildcards"),
        ("orders.plcaed", 1, "orders.plcaed: nothing is defined for its events"),
        ("orders.placed", 0, "orders.placed, version 0: versions begin at 1"),
    ],
)
def test_what_would_never_bring_a_payload_up_to_date_is_a_fault(topic: str, version: int, told: str) -> None:
    handlers = (_handler("orders.placed"),)
    with pytest.raises(ConfigError, match=re.escape(f"upcast: {told}")):
        Definition("model", "ORDERS", ("orders.>",), 1, "", handlers, upcasters={(topic, version): dict})


def test_a_text_is_no_list_of_subjects() -> None:
    class OfOne(Projection):
        name, stream, subjects, version = "of_one", "ORDERS", "orders.>", 1

        @on("orders.placed")
        async def placed(self, tx: Transaction, event: Event) -> None:
            """Do nothing."""

    with pytest.raises(ConfigError, match="subjects must be a list"):
        OfOne.definition()


def test_on_without_a_topic_is_told_at_once() -> None:
    async def placed(self: Projection, tx: Transaction, event: Event) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="on needs a topic"):
        on(placed)  # type: ignore[arg-type] # what is tested
