"""Repeats are dropped, and a key with parked events waits as a whole."""

from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.intake import partition_of, sort_out
from relay.projection.rules.seq_bits import Chunk, ChunkId, SeqBits
from tests.unit.projection.events import event


def bits_of(*settled: int, **headers: str) -> SeqBits:
    bits = SeqBits()
    bits.take(ChunkId("", 0), Chunk())
    bits.accept(bits.with_settled([event(seq, seq=seq, **headers) for seq in settled]))
    return bits


@given(settled=st.sets(st.integers(1, 20)), seqs=st.lists(st.integers(1, 20), max_size=40))
def test_each_seq_is_due_at_most_once_and_only_if_it_was_not_settled(settled: set[int], seqs: list[int]) -> None:
    found = sort_out([event(at, seq=seq) for at, seq in enumerate(seqs, 1)], bits_of(*settled), ())
    due = [one.seq for one in found.due]
    assert due == list(dict.fromkeys(seq for seq in seqs if seq not in settled))
    assert found.repeats == len(seqs) - len(due) and found.doubt is None


def test_what_has_a_parked_key_waits_behind_it_and_others_flow() -> None:
    found = sort_out([event(1, seq=1, key="a"), event(2, seq=2, key="b"), event(3, seq=3)], bits_of(), {"a"})
    assert [one.seq for one in found.behind] == [1] and [one.seq for one in found.due] == [2, 3]


def test_a_repeat_of_a_parked_key_is_not_parked_again() -> None:
    found = sort_out([event(1, seq=1, key="a")], bits_of(1), {"a"})
    assert (found.behind, found.repeats) == ([], 1)


def test_a_replay_without_a_seq_is_ignored_and_one_with_a_seq_is_judged_by_its_bit() -> None:
    found = sort_out([event(1, Outbox_Replay="1"), event(2, seq=2, Outbox_Replay="1")], bits_of(), ())
    assert (found.ignored, [one.seq for one in found.due]) == (1, [2])
    assert sort_out([event(3, seq=2, Outbox_Replay="1")], bits_of(2), ()).repeats == 1


def test_a_seq_that_is_used_again_stops_the_projection() -> None:
    bits = bits_of(1, Outbox_Created_At="2026-01-01T00:00:00+00:00")
    found = sort_out([event(9, seq=1, Outbox_Created_At="2026-01-02T00:00:00+00:00")], bits, ())
    assert found.doubt is not None and "again" in found.doubt and not found.due


def test_an_event_without_a_seq_is_due_and_says_so() -> None:
    found = sort_out([event(1)], bits_of(), ())
    assert found.unnumbered and len(found.due) == 1


@given(keys=st.lists(st.sampled_from(["a", "b", None]), max_size=6))
def test_an_event_that_is_due_without_a_key_is_told(keys: list[str | None]) -> None:
    found = sort_out([event(at, seq=at, key=key) for at, key in enumerate(keys, 1)], bits_of(), {"b"})
    assert found.keyless == (None in keys)


@given(keys=st.lists(st.text(max_size=5)), partitions=st.integers(1, 8))
def test_each_key_has_one_partition(keys: list[str], partitions: int) -> None:
    for key in keys:
        found = {partition_of(event(at, key=key or None), partitions) for at in (1, 2)}
        assert len(found) == 1 and found <= set(range(partitions))


@given(
    settled=st.sets(st.integers(8_180, 8_200)),
    seqs=st.lists(st.one_of(st.none(), st.integers(8_180, 8_200)), max_size=12),
    origins=st.lists(st.sampled_from(["", "aa"]), min_size=12, max_size=12),
)
def test_a_batch_is_all_new_only_if_each_event_is_due(
    settled: set[int], seqs: list[int | None], origins: list[str]
) -> None:
    before = [event(seq, seq=seq) for seq in settled]
    events = [
        event(at, seq=seq, **({"Outbox_Origin": origin} if origin else {}))
        for at, (seq, origin) in enumerate(zip(seqs, origins, strict=False), 1)
    ]
    bits = SeqBits()
    for chunk in bits.missing([*before, *events]):
        bits.take(chunk, Chunk())
    bits.accept(bits.with_settled(before))
    one_by_one = [found for one in events if (found := sort_out([one], bits, {"parked"})).due]
    if events and bits.all_new(events):
        assert len(one_by_one) == len(events) and len(set(seqs)) == len(seqs)
    assert sort_out(events, bits, ()) == sort_out(events, bits, {"parked"})
