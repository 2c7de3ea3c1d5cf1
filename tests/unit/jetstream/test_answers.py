"""An answer that JetStream would not write proves nothing, whatever it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.answers import Acknowledged, Token, read, token_of
from relay.rules.failure.failures import Refused

_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)
_NAMES = ["stream", "seq", "domain", "count", "duplicate", "error", "err_code", "description"]
_ERROR = st.dictionaries(st.sampled_from(["err_code", "description", "code"]), _VALUE | st.integers(9_999, 20_001))
_ANSWER = st.dictionaries(st.sampled_from(_NAMES), _VALUE | _ERROR | st.sampled_from(["ORDERS", 7]), max_size=5)


@pytest.mark.parametrize(
    ("answer", "read_as"),
    [
        ({"stream": "ORDERS", "seq": 7}, Acknowledged("ORDERS", 7, False, None)),
        ({"stream": "ORDERS", "seq": 2**64 - 1}, Acknowledged("ORDERS", 2**64 - 1, False, None)),
        ({"stream": "ORDERS", "seq": 7, "duplicate": True}, Acknowledged("ORDERS", 7, True, None)),
        ({"stream": "ORDERS", "domain": "hub", "seq": 7}, Acknowledged("hub/ORDERS", 7, False, None)),
        ({"stream": "ORDERS", "seq": 7, "batch": "x", "count": 3}, Acknowledged("ORDERS", 7, False, 3)),
        ({"error": {"code": 400, "err_code": 10054, "description": "too large"}}, Refused(10054, "too large")),
        ({"error": {"code": 400, "err_code": 10054, "description": "a\x00b\ud800"}}, Refused(10054, "a\ufffdb\ufffd")),
    ],
)
def test_what_jetstream_says_is_read(answer: object, read_as: object) -> None:
    assert read(json.dumps(answer).encode()) == read_as


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"stream":"ORDERS"}',
        b'{"seq":7}',
        *(b'{"stream":"ORDERS","seq":%b}' % seq for seq in (b"0", b"-3", b'"7"', b"1.5", b"1e3", b"NaN", b"true")),
        b'{"stream":"ORDERS","seq":18446744073709551616}',
        *(b'{"stream":%b,"seq":7}' % name for name in (b"5", b'""', b'"a.b"', b'"a b"', b'"a/b"')),
        *(b'{"stream":%b,"seq":7}' % name for name in (b'"a\\u0000"', b'"\\ud800"')),
        b'{"stream":"ORDERS","domain":5,"seq":7}',
        b'{"stream":"ORDERS","seq":7,"count":"3"}',
        b'{"stream":"ORDERS","seq":7,"count":0}',
        b'{"error":null,"stream":"ORDERS","seq":7}',
        b'{"error":"no"}',
        b'{"error":{"code":400}}',
        b'{"error":{"err_code":99,"description":"no"}}',
        b'{"error":{"err_code":"10054"}}',
        b'{"error":{"err_code":10054,"description":{}}}',
    ],
)
def test_what_it_would_not_say_proves_nothing(body: bytes) -> None:
    assert read(body) is None


@given(_ANSWER)
def test_whatever_is_read_may_be_jetstreams_own_words(answer: dict[str, object]) -> None:
    match read(json.dumps(answer).encode()):
        case Acknowledged(stream, seq, _, events):
            assert "error" not in answer
            assert 0 < seq < 2**64
            assert events is None or 0 < events < 2**64
            assert stream.encode()
            assert "\x00" not in stream
        case Refused(code, description):
            assert 10_000 <= code < 20_000
            assert len(description) <= 500
            assert "\x00" not in description
            assert description.encode() is not None


@given(st.binary(max_size=40))
def test_no_bytes_end_the_reader(body: bytes) -> None:
    read(body)


@pytest.mark.parametrize(
    ("tail", "token"),
    [
        ("7", Token(False, 7)),
        ("-7", Token(False, -7)),
        ("b7", Token(True, 7)),
        *((tail, None) for tail in ("", "b", "x", "7.8", "\u0667", "b7b", "7" * 20, "7" * 5000)),
    ],
)
def test_only_what_we_sent_is_answered(tail: str, token: Token | None) -> None:
    assert token_of(tail) == token
