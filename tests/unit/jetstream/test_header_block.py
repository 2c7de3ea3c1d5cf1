"""The headers of a message are read from the wire as they are, whatever somebody has written there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.header_block import headers_of, status_of


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 3\r\n\r\n", "204"),
        (b"NATS/1.0 404\r\n\r\n", "404"),
        (b"NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_a_status_is_that_of_the_first_line(block: bytes, status: str) -> None:
    assert status_of(block) == status


def test_the_first_of_each_name_counts_and_blanks_around_a_value_do_not() -> None:
    block = b"NATS/1.0\r\nNats-Msg-Id:  one \r\nNats-Msg-Id: two\r\nurl: http://a:1\r\nno header\r\n\r\n"
    assert headers_of(block) == {"Nats-Msg-Id": "one", "url": "http://a:1"}


@given(st.binary(max_size=200))
def test_whatever_stands_there_is_read(block: bytes) -> None:
    assert all(isinstance(value, str) for value in headers_of(block).values())
    assert len(status_of(block)) <= 3
