"""What may be imported: nothing disappears, and nothing is added unseen."""

import inspect

import relay.projection


def test_the_importable_part_is_exactly_this() -> None:
    assert sorted(relay.projection.__all__) == [
        "Definition",
        "Event",
        "Projection",
        "Refresh",
        "Transaction",
        "on",
        "run",
        "upcast",
    ]


def test_each_name_is_documented() -> None:
    for name in relay.projection.__all__:
        assert inspect.getdoc(getattr(relay.projection, name)), name
