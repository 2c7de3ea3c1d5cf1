"""Grouping changes how many statements there are, and never the order of a key."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.grouping import Mode, group
from relay.projection.rules.incoming import Incoming
from tests.unit.projection.events import event

MODES = {"a": Mode.EACH, "b": Mode.SET, "c": Mode.FOLD, "d": Mode.SET}
BATCH = st.lists(st.tuples(st.sampled_from([None, "k1", "k2", "k3"]), st.sampled_from("abcd")), max_size=40)


def batch(keys: list[tuple[str | None, str]]) -> list[tuple[Incoming, str, Mode]]:
    return [(event(number, key=key), handler, MODES[handler]) for number, (key, handler) in enumerate(keys, 1)]


@given(keys=BATCH)
def test_every_event_is_applied_once_by_its_handler_and_each_key_in_order(keys: list[tuple[str | None, str]]) -> None:
    events = batch(keys)
    steps = group(events)
    applied = [(one.stream_seq, step.handler, step.mode) for step in steps for one in step.events]
    assert sorted(applied) == [(one.stream_seq, handler, mode) for one, handler, mode in events]
    by_key: dict[str, list[int]] = defaultdict(list)
    for step in steps:
        for one in step.events:
            if one.key is not None:
                by_key[one.key].append(one.stream_seq)
    assert all(seqs == sorted(seqs) for seqs in by_key.values())


@given(keys=BATCH)
def test_no_key_is_twice_in_a_statement_of_mode_set(keys: list[tuple[str | None, str]]) -> None:
    for step in group(batch(keys)):
        known = [one.key for one in step.events if one.key is not None]
        assert step.mode is not Mode.SET or len(known) == len(set(known))


@given(keys=st.lists(st.tuples(st.sampled_from([None, "k1", "k2"]), st.just("a")), max_size=40))
def test_mode_each_keeps_the_order_of_the_stream(keys: list[tuple[str | None, str]]) -> None:
    applied = [one.stream_seq for step in group(batch(keys)) for one in step.events]
    assert applied == sorted(applied)


def test_many_keys_of_one_topic_are_one_statement() -> None:
    events = batch([(f"k{number}", "b") for number in range(1000)])
    assert [len(step.events) for step in group(events)] == [1000]
    again = batch([("k1", "c")] * 1000)
    assert [len(step.events) for step in group(again)] == [1000]
