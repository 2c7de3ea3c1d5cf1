"""The wire form of messages, read again by the rules of the NATS client protocol."""

from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.frames import Frame, encode

_FRAME = st.tuples(
    st.sampled_from(["", "_INBOX.a.1"]),
    st.sampled_from(["orders.placed", "a"]),
    st.binary(max_size=40),
    st.lists(st.tuples(st.sampled_from(["A", "Nats-Msg-Id"]), st.text("ab é€", max_size=5)), max_size=3).map(
        lambda pairs: "".join(f"{name}: {value}\r\n" for name, value in pairs)
    ),
)


def _read(wire: bytes) -> list[Frame]:
    """Read HPUB commands as a server does: by the sizes that they announce."""
    frames: list[Frame] = []
    while wire:
        line, wire = wire.split(b"\r\n", 1)
        command, subject, *reply, header_bytes, total_bytes = line.decode().split()
        assert command == "HPUB"
        headers, payload = wire[: int(header_bytes)], wire[int(header_bytes) : int(total_bytes)]
        assert headers.startswith(b"NATS/1.0\r\n")
        assert headers.endswith(b"\r\n\r\n")
        assert wire[int(total_bytes) :].startswith(b"\r\n")
        wire = wire[int(total_bytes) + 2 :]
        frames.append(("".join(reply), subject, payload, headers[10:-2].decode()))
    return frames


@given(st.lists(_FRAME, max_size=5))
def test_what_is_written_is_read_as_it_was(frames: list[Frame]) -> None:
    assert _read(encode(frames)) == frames


def test_the_bytes_of_a_message() -> None:
    assert (
        encode([("_INBOX.x.7", "orders.placed", b"{}", "Nats-Msg-Id: 1\r\n")])
        == b"HPUB orders.placed _INBOX.x.7 28 30\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n{}\r\n"
    )
