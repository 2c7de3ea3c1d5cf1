"""An event as the relay carries it."""

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event


@given(st.binary(), st.text(), st.none() | st.text(), st.none() | st.text())
def test_everything_that_the_application_wrote_counts_as_memory(
    payload: bytes, topic: str, key: str | None, headers: str | None
) -> None:
    event = Event(1, "id", topic, key, payload, headers, 0.0, 0, None)
    assert event.size == len(payload) + sum(len(text or "") for text in (topic, key, headers))
