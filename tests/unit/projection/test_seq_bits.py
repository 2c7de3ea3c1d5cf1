"""One bit a seq: what was settled is known for ever, and nothing else is."""

from hypothesis import given
from hypothesis import strategies as st

from relay.projection.rules.seq_bits import CHUNK_BYTES, CHUNK_SEQS, Chunk, ChunkId, SeqBits
from tests.unit.projection.events import event

SEQS = st.sets(st.integers(min_value=1, max_value=3 * CHUNK_SEQS), max_size=60)


@given(batches=st.lists(SEQS, max_size=6), asked=SEQS)
def test_exactly_the_committed_seqs_are_settled(batches: list[set[int]], asked: set[int]) -> None:
    bits, stored, settled = SeqBits(), dict[ChunkId, Chunk](), set[int]()
    for number, batch in enumerate(batches):
        events = [event(seq, seq=seq) for seq in batch]
        for chunk in bits.missing(events):
            bits.take(chunk, stored.get(chunk, Chunk()))
        changed = bits.with_settled(events)
        if number % 3 == 2:
            continue  # rolled back
        stored |= changed
        bits.accept(changed)
        settled |= batch
    fresh = SeqBits()
    for reader in (bits, fresh):
        events = [event(seq, seq=seq) for seq in asked]
        for chunk in reader.missing(events):
            reader.take(chunk, stored.get(chunk, Chunk()))
        assert {one.seq for one in events if reader.settled(one)} == asked & settled
    assert all(len(chunk.bits) == CHUNK_BYTES for chunk in stored.values())


@given(
    settled=SEQS,
    seqs=st.one_of(
        st.lists(st.integers(1, 3 * CHUNK_SEQS), min_size=1, max_size=30),
        st.builds(lambda first, count: [*range(first, first + count)], st.integers(1, 20_000), st.integers(1, 9_000)),
    ),
)
def test_seqs_of_one_origin_are_judged_as_their_events_are(settled: set[int], seqs: list[int]) -> None:
    bits = SeqBits()
    before = [event(seq, seq=seq) for seq in settled]
    events = [
        event(at, seq=seq, Outbox_Origin="aa", Outbox_Created_At=f"2026-01-01T00:00:{seq % 60:02}+00:00")
        for at, seq in enumerate(seqs)
    ]
    assert bits.missing_of("aa", seqs) == bits.missing(events)
    for chunk in bits.missing([*before, *events]):
        bits.take(chunk, Chunk())
    bits.accept(bits.with_settled(before))
    assert bits.all_new_of("aa", seqs) == bits.all_new(events)
    created = [one.created or 0 for one in events]
    assert bits.with_settled_of("aa", seqs, created) == bits.with_settled(events)
    again = SeqBits()
    for chunk_id in bits.missing_of("aa", seqs) | again.missing(events):
        again.take(chunk_id, Chunk())
    again.accept(bits.with_settled_of("aa", seqs, created))
    assert all(again.settled(one) for one in events)


@given(late=st.sets(st.integers(1, 2 * CHUNK_SEQS - 1), min_size=1, max_size=200))
def test_what_comes_late_is_new_at_once_however_much_was_settled_around_it(late: set[int]) -> None:
    """Relays send keys side by side, so seqs do not rise in the stream."""
    bits = SeqBits()
    others = [seq for seq in range(1, 2 * CHUNK_SEQS) if seq not in late]
    for chunk in bits.missing_of("aa", others):
        bits.take(chunk, Chunk())
    bits.accept(bits.with_settled_of("aa", others, [0.0] * len(others)))
    assert bits.all_new_of("aa", sorted(late))
    bits.accept(bits.with_settled_of("aa", sorted(late), [0.0] * len(late)))
    assert not any(bits.all_new_of("aa", [seq]) for seq in late)


def test_each_origin_has_its_own_bits() -> None:
    bits = SeqBits()
    first, second = event(1, seq=5, Outbox_Origin="aa"), event(2, seq=5, Outbox_Origin="bb")
    for chunk in bits.missing([first, second]):
        bits.take(chunk, Chunk())
    bits.accept(bits.with_settled([first]))
    assert bits.settled(first) and not bits.settled(second)


def test_what_was_settled_without_an_origin_is_settled_for_each_one() -> None:
    bits = SeqBits()
    before, after, other = event(1, seq=5), event(2, seq=5, Outbox_Origin="aa"), event(3, seq=6, Outbox_Origin="aa")
    for chunk in bits.missing([before, after, other]):
        bits.take(chunk, Chunk())
    bits.accept(bits.with_settled([before]))
    assert bits.settled(after) and not bits.settled(other)


def test_a_seq_is_used_again_if_its_event_is_younger_than_all_near_it() -> None:
    bits = SeqBits()
    old, newer = "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"
    first, last = event(1, seq=5, Outbox_Created_At=old), event(2, seq=6, Outbox_Created_At=newer)
    bits.take(ChunkId("", 0), Chunk())
    bits.accept(bits.with_settled([first, last]))
    assert not bits.looks_reused(event(3, seq=5, Outbox_Created_At=old))
    assert not bits.looks_reused(event(3, seq=5))
    assert bits.looks_reused(event(3, seq=5, Outbox_Created_At="2026-01-01T00:00:02+00:00"))


def test_an_event_without_a_seq_has_no_bit() -> None:
    bits = SeqBits()
    assert not bits.missing([event(1)]) and not bits.settled(event(1)) and not bits.with_settled([event(1)])
