"""Two streams of the same events agree, and each single difference is found."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.operate.adopt.compare_rules import Comparison, Payloads, Sent, Window, compare
from relay.operate.adopt.payload_digests import digests

WINDOW = Window(10, 90)


def sent(at: int, known: str | None = None, key: str | None = None, body: bytes = b"b") -> Sent:
    return Sent(known or f"id-{at}", at, at, "orders", key, digests(body), {"type": "placed"})


def kinds(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    return {one.kind: one.examples for one in comparison.differences}


@given(st.integers(0, 2**32), st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=60))
def test_sides_agree_that_send_each_key_in_order_however_they_mix_keys(seed: int, keys: list[str | None]) -> None:
    events = [(f"id-{at}", key) for at, key in enumerate(keys)]
    chance = Random(seed)
    lanes = {key: [one for one in events if one[1] == key] for key in keys if key is not None}
    free = [one for one in events if one[1] is None]
    chance.shuffle(free)
    mixed = []
    while any(lanes.values()) or free:
        lane = chance.choice([*(lane for lane in lanes.values() if lane), *([free] if free else [])])
        mixed.append(lane.pop(0))
    old = [sent(20 + at, known) for at, (known, _) in enumerate(events)]
    new = [sent(20 + at, known, key) for at, (known, key) in enumerate(mixed)]
    assert compare(old, new, WINDOW) == Comparison(len(keys), len(keys), len(keys), len(keys) - keys.count(None), ())


CASES: dict[str, tuple[Callable[[list[Sent]], object], dict[str, tuple[str, ...]]]] = {
    "missing": (lambda new: new.pop(2), {"old.only": ("id-22",)}),
    "more": (lambda new: new.append(sent(40)), {"new.only": ("id-40",)}),
    "twice": (lambda new: new.append(sent(40, "id-21", "k")), {"new.twice": ("id-21",)}),
    "body": (lambda new: new.insert(1, new.pop(1)._replace(body=digests(b"x"))), {"other.body": ("id-21",)}),
    "subject": (lambda new: new.insert(1, new.pop(1)._replace(subject="x")), {"other.subject": ("id-21",)}),
    "headers": (lambda new: new.insert(1, new.pop(1)._replace(headers={})), {"other.headers": ("id-21",)}),
    "no id": (lambda new: new.append(sent(40)._replace(id=None)), {"new.no_id": ("#40",)}),
    "order": (
        lambda new: new.insert(1, new.pop(1)._replace(stream_seq=50)),
        {"other.order": ("id-22", "id-23", "id-24")},
    ),
    "outside": (lambda new: new.append(sent(95)), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_found_and_named(case: str) -> None:
    change, wanted = CASES[case]
    old = [sent(at) for at in range(20, 25)]
    new = [sent(at, key="k") for at in range(20, 25)]
    change(new)
    assert kinds(compare(old, new, WINDOW)) == wanted


def test_what_one_side_sent_before_the_window_is_known_to_the_other() -> None:
    old, new = [sent(5, "a"), sent(95, "b")], [sent(12, "a"), sent(85, "b")]
    assert kinds(compare(old, new, WINDOW)) == {}


def test_headers_that_only_one_side_needs_are_no_difference() -> None:
    old = [sent(20)._replace(headers={"type": "placed", "Nats-Msg-Id": "other"})]
    new = [sent(20)._replace(headers={"type": "placed", "Outbox-Key": "k", "Nats-Msg-Id": "id-20"})]
    assert kinds(compare(old, new, WINDOW)) == {}


@pytest.mark.parametrize(
    ("theirs", "ours", "kind"),
    [
        ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}', "other.body_form"),
        ('{"a": {"b": 1}, "c": [{}, 1, null]}', '{"a":{"b":1,"x":null},"c":[{"y":null},1,null]}', "other.body_nulls"),
        ('{"a": 1}', '{"a": 2, "x": null}', "other.body"),
        ('{"a": [1]}', '{"a": [1, null]}', "other.body"),
        ('{"a": 1.0}', '{"a": 1}', "other.body"),
        ('{"a": ["1"]}', '{"a": [1]}', "other.body"),
        ('{"a": 9007199254740993.0}', '{"a": 9007199254740992.0}', "other.body"),
        ("no json", '"no json"', "other.body"),
        ("[" * 100_000, "[" * 100_001, "other.body"),
        ("1e99999999999999999999", "1", "other.body"),
    ],
)
def test_payloads_that_only_write_or_lack_something_otherwise_hide_no_other_one(
    theirs: str, ours: str, kind: str
) -> None:
    old, new = [sent(20, body=theirs.encode())], [sent(20, body=ours.encode())]
    assert kinds(compare(old, new, WINDOW)) == {kind: ("id-20",)}
    same: dict[Payloads, set[str]] = {
        "json": {"other.body_form"},
        "json-without-nulls": {"other.body_form", "other.body_nulls"},
    }
    for payloads, left in same.items():
        assert kinds(compare(old, new, WINDOW, payloads)) == ({} if kind in left else {kind: ("id-20",)})
