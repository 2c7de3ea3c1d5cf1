"""What goes into a batch: one stream, a bounded size, no gap in a key; nothing gets lost on the way."""

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.sending import atomic_batch
from relay.rules.sending.atomic_batch import fit
from relay.rules.stream.streams import StreamFacts, StreamMap

TOPICS = ["orders.placed", "orders.sent", "other.thing"]
STREAMS = StreamMap()
STREAMS.learn(StreamFacts("ORDERS", ("orders.>",)))
STREAMS.learn(StreamFacts("OTHER", ("other.>",)))


def made(seq: int, topic: str, key: str | None, size: int) -> Event:
    return Event(seq, f"id-{seq}", topic, key, b"x" * size, None, 1.0, 0, None)


EVENTS = st.lists(
    st.tuples(st.sampled_from(TOPICS), st.sampled_from(["a", "b", None]), st.sampled_from([1, 1_500_000])),
    min_size=1,
    max_size=8,
).map(lambda rows: [made(seq, *row) for seq, row in enumerate(rows, 1)])


@given(EVENTS, st.sets(st.integers(2, 8), max_size=3))
def test_a_batch_is_of_one_stream_and_bounded_and_leaves_no_gap_in_a_key(events: list[Event], alone: set[int]) -> None:
    messages = [(event.seq, event.topic, event.payload, "") for event in events]
    chosen = fit(events, messages, STREAMS, alone)
    batch = {event.seq for event in chosen.events}

    assert chosen.events[0] is events[0]
    assert [message[0] for message in chosen.messages] == [event.seq for event in chosen.events]
    assert {STREAMS.find(event.topic) for event in chosen.events} == {chosen.stream}
    assert alone.isdisjoint(batch)
    size = sum(len(event.payload) for event in chosen.events)
    assert len(chosen.events) == 1 or size <= atomic_batch._BATCH_BYTES
    for key in ("a", "b"):
        own = [event.seq in batch for event in events if event.key == key]
        assert own == sorted(own, reverse=True), "a later event of a key goes before an earlier one"
    rest = [*chosen.behind, *chosen.left]
    assert sorted([*batch, *(event.seq for event in rest)]) == [event.seq for event in events]
    keys = {event.key for event in chosen.events if event.key is not None}
    assert {event.key for event in chosen.behind} <= keys
    assert keys.isdisjoint(event.key for event in chosen.left if event.key is not None)
