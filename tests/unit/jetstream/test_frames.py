"""The wire form of messages, read again by the rules of the NATS client protocol."""

from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.frames import Message, batch, singles

Frame = tuple[str, str, bytes, str]
"""Reply subject, subject, payload, and the lines of the headers."""

_OWN = "Nats-Batch-Id: a.7\r\nNats-Batch-Sequence: "
_MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 2**63 - 1),
        st.sampled_from(["orders.placed", "a", "bestellungen.größe"]),
        st.binary(max_size=40),
        st.lists(st.tuples(st.sampled_from(["A", "Nats-Msg-Id"]), st.text("ab é€", max_size=5)), max_size=3).map(
            lambda pairs: "".join(f"{name}: {value}\r\n" for name, value in pairs)
        ),
    ),
    max_size=5,
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


@given(_MESSAGES)
def test_what_is_written_is_read_as_it_was(messages: list[Message]) -> None:
    assert _read(singles(messages, "_INBOX.x.")) == [
        (f"_INBOX.x.{token}", subject, payload, lines) for token, subject, payload, lines in messages
    ]


@given(_MESSAGES, st.integers(1, 100))
def test_each_message_of_a_batch_says_its_place_and_asks_for_no_answer(messages: list[Message], first: int) -> None:
    assert _read(batch(messages, _OWN, first)) == [
        ("", subject, payload, f"{lines}{_OWN}{position}\r\n")
        for position, (_, subject, payload, lines) in enumerate(messages, first)
    ]


@given(_MESSAGES, _MESSAGES)
def test_what_is_written_apart_may_be_sent_together(some: list[Message], others: list[Message]) -> None:
    wire = batch(some, _OWN, 1) + singles(others, "_INBOX.x.")
    assert _read(wire) == _read(batch(some, _OWN, 1)) + _read(singles(others, "_INBOX.x."))


def test_the_bytes_of_a_message() -> None:
    assert (
        singles([(7, "orders.placed", b"{}", "Nats-Msg-Id: 1\r\n")], "_INBOX.x.")
        == b"HPUB orders.placed _INBOX.x.7 28 30\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n{}\r\n"
    )
