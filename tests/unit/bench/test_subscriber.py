"""The subscriber of the benchmark reads what NATS sends, however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from bench.subscriber import messages

_BODIES = st.binary(max_size=40) | st.just(b"HMSG orders.placed 1 20 30\r\nNats-Msg-Id: not this\r\n")


@given(st.lists(_BODIES), st.data())
def test_each_message_is_found_once_however_it_is_cut(bodies: list[bytes], data: st.DataObject) -> None:
    wire = b""
    for number, body in enumerate(bodies):
        headers = b"NATS/1.0\r\nNats-Msg-Id: event-%d\r\n\r\n" % number
        wire += b"HMSG orders.placed 1 %d %d\r\n%b%b\r\n" % (len(headers), len(headers) + len(body), headers, body)
        wire += b"PING\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)))))
    found: list[str] = []
    pings, left = 0, b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        identities, has_ping, left = messages(left + wire[start:end])
        found += identities
        pings += has_ping
    assert found == [f"event-{number}" for number in range(len(bodies))]
    assert left == b""
    assert bool(pings) == bool(bodies)
