"""The judge of the read models of a chaos run: it finds what is wrong with one, and nothing else."""

import random
import zlib
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.history import Applied, Entry, History, Insert, Standing, Stored, Transaction
from tests.chaos.models import judge

KEYS = ("a", "b", "c", None)
Events = list[tuple[str, str | None]]  # id and key, in the order of the stream


@st.composite
def streams(draw: st.DrawFn) -> Events:
    return [(f"id{number}", draw(st.sampled_from(KEYS))) for number in range(draw(st.integers(4, 30)))]


def partition(event: tuple[str, str | None], partitions: int) -> int:
    return zlib.crc32((event[1] or event[0]).encode()) % partitions


def history(
    events: Events, model: Events, positions: list[int], status: str = "running", error: str | None = None
) -> History:
    inserts = tuple(Insert(id_, number, key, 0.0) for number, (id_, key) in enumerate(events, 1))
    entries: list[Entry] = [Transaction(1, "committed", 1.0, inserts)]
    entries += [Stored("ORDERS", seq, id_) for seq, (id_, _) in enumerate(events, 1)]
    entries += [Stored("LEDGER", seq, f"other{seq}") for seq in range(1, 4)]
    entries += [Standing("m", number, len(positions), at, status, error) for number, at in enumerate(positions)]
    entries += [Applied("m", key, id_) for id_, key in model]
    return History(entries)


def found(judged: History) -> dict[str, int]:
    return {name: len(lines) for name, lines in asdict(judge(judged)).items() if lines}


@given(streams(), st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_fold_of_the_stream_is_right_in_whatever_order_keys_come(
    events: Events, partitions: int, rng: random.Random
) -> None:
    keyless = [event for event in events if event[1] is None]
    rng.shuffle(keyless)
    model = [event for key in rng.sample(KEYS[:3], 3) for event in events if event[1] == key] + keyless
    assert found(history(events, model, [len(events)] * partitions)) == {}


@given(streams(), st.data())
def test_a_model_that_has_stopped_owes_what_is_up_to_its_position_and_no_more(
    events: Events, data: st.DataObject
) -> None:
    positions = [data.draw(st.integers(0, len(events))) for _ in range(2)]
    model = [event for seq, event in enumerate(events, 1) if seq <= positions[partition(event, 2)]]
    assert found(history(events, model, positions, "stopped", "why")) == {"stopped": 2}
    assert found(history(events, model, positions, "waiting", "why")).keys() <= {"behind"}


@given(streams(), st.data())
def test_an_event_that_is_missed_twice_or_foreign_is_named(events: Events, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events) - 1))
    id_, key = events[at]
    whole = [len(events)]
    assert judge(history(events, events[:at] + events[at + 1 :], whole)).missed == [f"{id_} in m, key {key}"]
    assert judge(history(events, [*events, events[at]], whole)).twice == [f"{id_} in m, key {key}: 2 times"]
    assert found(history(events, [*events, ("nobody", key)], whole)) == {"foreign": 1}
    moved = [*events[:at], (id_, "elsewhere"), *events[at + 1 :]]
    assert found(history(events, moved, whole)) == {"missed": 1, "foreign": 1}
    # What lies above the position of a model was not settled by it.
    stopped = history(events, events, [at], "stopped")
    assert found(stopped) == {"stopped": 1, "foreign": len(events) - at}


@given(streams(), st.data())
def test_two_events_of_a_key_in_another_order_are_found_and_of_none_are_not(
    events: Events, data: st.DataObject
) -> None:
    first, second = sorted(data.draw(st.lists(st.integers(0, len(events) - 1), min_size=2, max_size=2, unique=True)))
    model = list(events)
    model[first], model[second] = model[second], model[first]
    moved = {events[first][1], events[second][1]}
    broken = {
        key
        for key in moved - {None}
        if [event for event in model if event[1] == key] != [event for event in events if event[1] == key]
    }
    assert found(history(events, model, [len(events)])) == ({"reordered": len(broken)} if broken else {})


def test_an_event_that_is_twice_in_the_stream_is_owed_once() -> None:
    events: Events = [("id1", "a"), ("id2", "a"), ("id1", "a")]
    assert found(history(events, events[:2], [3])) == {}
    assert found(history(events, events, [3])) == {"twice": 1}


def test_a_model_that_is_not_at_the_end_is_behind() -> None:
    events: Events = [("id1", "a"), ("id2", "a")]
    assert found(history(events, events[:1], [1])) == {"behind": 1}


def test_a_run_without_read_models_has_none_to_judge() -> None:
    assert found(History([Stored("ORDERS", 1, "id1")])) == {}
