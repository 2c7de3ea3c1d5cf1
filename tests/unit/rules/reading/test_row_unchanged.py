"""Whether a row is still what was read of it: any change of what is sent is seen, and nothing else is taken for one."""

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.reading.row_unchanged import Digest, digest, is_still, is_still_unread, most_stored

texts = st.text(max_size=4)
events = st.builds(
    Event,
    seq=st.integers(1, 9),
    id=st.sampled_from(("id-1", "id-2")),
    topic=texts,
    key=st.none() | texts,
    payload=st.binary(max_size=4),
    headers=st.none() | texts,
    created_at=st.floats(0, 9),
    attempts=st.integers(0, 3),
    postponed=st.none() | st.booleans(),
)


def sent(event: Event) -> tuple[object, ...]:
    return event.id, event.topic, event.key, event.payload, event.headers


@given(read=events, now=events)
def test_an_event_is_still_what_was_read_if_all_that_is_sent_is_the_same(read: Event, now: Event) -> None:
    # No text of PostgreSQL holds a zero, so parts of it cannot run into each other.
    if "\0" in read.topic + now.topic + (read.headers or "") + (now.headers or ""):
        return
    found = Digest(now.id, now.key, digest(now))
    assert is_still(read, found) is (sent(read) == sent(now))


@given(read=events, attempts=st.integers(0, 9), postponed=st.booleans())
def test_what_the_relay_itself_writes_is_no_change(read: Event, attempts: int, postponed: bool) -> None:
    now = read._replace(attempts=attempts, postponed=postponed)
    assert is_still(read, Digest(now.id, now.key, digest(now)))


@given(read=events)
def test_a_row_that_is_not_pending_or_too_large_is_another_one(read: Event) -> None:
    assert not is_still(read, None)
    assert not is_still(read, Digest(read.id, read.key, None))
    assert most_stored([read, read._replace(topic="")]) > read.size


@given(size=st.integers(1, 2**40), now=st.integers(1, 2**40), words=st.text(min_size=1), others=st.text(min_size=1))
def test_what_was_not_read_is_the_same_by_its_size_or_if_it_still_cannot_be_read(
    size: int, now: int, words: str, others: str
) -> None:
    assert is_still_unread(size, now) is (size == now)
    assert is_still_unread(words, others)
    assert not is_still_unread(size, words)
    assert not is_still_unread(words, size)
