"""What untrusted rows may ask for."""

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.database.origins import Origins
from relay.rules.sending.envelopes import Envelopes, Poison, knocking, size_on_the_wire
from relay.rules.stream.subjects import key_token, matches, subject_fault, template_fault

MEBIBYTE = 1024 * 1024


def event(topic: str = "t.x", *, key: str | None = "k", payload: bytes = b"{}", headers: object = None) -> Event:
    text = None if headers is None else json.dumps(headers)
    return Event(7, "an-id", topic, key, payload, text, 1_700_000_000.25, 0, False)


def make(envelopes: Envelopes, one: Event, limit: int = MEBIBYTE) -> tuple[str, dict[str, str]]:
    """Make subject and headers, and read the headers' lines."""
    subject, lines = envelopes.make(one, limit)
    assert not lines or lines.endswith("\r\n")
    pairs = [line.split(": ", 1) for line in lines.split("\r\n")[:-1]]
    return subject, dict(pairs)


def attempt(envelopes: Envelopes, one: Event, limit: int = MEBIBYTE) -> tuple[str, dict[str, str]] | str:
    """Make subject and headers, or give the reason why they are poison."""
    try:
        return make(envelopes, one, limit)
    except Poison as poison:
        return poison.reason


# Mostly what is nearly a subject: chance alone hardly ever makes one.
_HOSTILE = st.text(alphabet="aA0.-_$*>{} \t\r\n\x00\x7f\x85é\u2028/", max_size=8)
_NEARLY = st.builds("".join, st.lists(st.sampled_from(["_INBOX", "$JS", ".", "..", "a", "b-c"]) | _HOSTILE, max_size=5))


@given(_NEARLY | st.text(max_size=30))
def test_no_subject_that_is_let_through_can_do_harm(subject: str) -> None:
    harmless = (
        subject.isascii()
        and subject.isprintable()
        and not set(subject) & set(" *>")
        and all(subject.split("."))
        and not subject.startswith(("$", "_INBOX"))
    )
    assert (subject_fault(subject) is None) == harmless


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("", "empty"),
        (".", "empty token"),
        (".a", "empty token"),
        ("a.", "empty token"),
        ("a..b", "empty token"),
        ("a b", "space"),
        ("a\tb", "control"),
        ("a\r\nPUB b 0", "control"),
        ("a\n", "control"),
        ("a\x00", "control"),
        ("a\x7f", "control"),
        ("orders.é", "non-ASCII"),
        ("a.*", "wildcard"),
        ("a.>", "wildcard"),
        (">", "wildcard"),
        ("a*b", "wildcard"),
        ("$JS.API.STREAM.DELETE.X", "reserved"),
        ("$SYS.REQ.SERVER.PING", "reserved"),
        ("$KV.b.k", "reserved"),
        ("_INBOX.x", "reserved"),
        ("_INBOX_relay.1", "reserved"),
    ],
)
def test_a_hostile_subject_is_poison_by_its_topic(subject: str, fault: str) -> None:
    assert fault in (subject_fault(subject) or "")
    with pytest.raises(Poison, match=fault) as caught:
        Envelopes().make(event(subject), MEBIBYTE)
    assert caught.value.reason == "subject"


@pytest.mark.parametrize("template", ["{topic}", "shop.{topic}", "{key}", "{topic}.{key}", "{key}.{topic}.v1"])
@given(topic=_NEARLY, key=st.none() | _NEARLY)
def test_no_template_lets_a_row_out_of_the_rules(template: str, topic: str, key: str | None) -> None:
    made = attempt(Envelopes(template=template), event(topic, key=key))
    if isinstance(made, str):
        assert made == "subject"
        return
    assert subject_fault(made[0]) is None
    assert made[0] == template.replace("{key}", key_token(key)).replace("{topic}", topic)


def test_a_subject_may_have_1024_bytes() -> None:
    assert subject_fault("a" * 1024) is None
    assert "longer" in (subject_fault("a" * 1025) or "")


def test_a_refused_subject_stays_refused_and_no_text_of_it_is_long() -> None:
    envelopes = Envelopes(allow=["a.>"])
    for _ in range(2):
        with pytest.raises(Poison) as caught:
            envelopes.subject(event("b" * 1000))
        assert len(str(caught.value)) < 300
    assert len(envelopes.wanted(event("b" * 1000))) == 200


def test_many_topics_keep_their_own_subjects() -> None:
    envelopes = Envelopes(template="shop.{topic}")
    for number in [*range(10_050), 0, 1, 10_049]:
        assert envelopes.subject(event(f"t{number}")) == f"shop.t{number}"


def test_a_topic_that_is_known_keeps_no_key() -> None:
    envelopes = Envelopes(template="{topic}.{key}")
    assert envelopes.make(event("t", key="1"), MEBIBYTE)[0] == "t.1"
    assert envelopes.make(event("t", key="2"), MEBIBYTE)[0] == "t.2"
    assert envelopes.make(event("t", key=None), MEBIBYTE)[0] == "t._"


@pytest.mark.parametrize("subject", ["a", "orders.placed", "a.b-c.D_1", "x.$y", "a._INBOX", "a.{b}", "!.~"])
def test_plain_subjects_are_let_through(subject: str) -> None:
    assert subject_fault(subject) is None


_TOKEN = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(_TOKEN | st.just("*"), min_size=1, max_size=4),
    st.booleans(),
    st.lists(_TOKEN, min_size=1, max_size=5),
)
def test_patterns_match_token_by_token(pattern: list[str], tail: bool, subject: list[str]) -> None:
    def fits(left: list[str], right: list[str]) -> bool:
        if not left:
            return bool(right) if tail else not right
        return bool(right) and left[0] in ("*", right[0]) and fits(left[1:], right[1:])

    written = ".".join([*pattern, ">"] if tail else pattern)
    assert matches(written, ".".join(subject)) == fits(pattern, subject)


@given(st.none() | st.text(max_size=20) | _NEARLY)
def test_a_key_becomes_one_token(key: str | None) -> None:
    token = key_token(key)
    assert subject_fault(f"a.{token}") is None
    assert "." not in token


@given(st.text(min_size=1) | _NEARLY.filter(bool))
def test_no_two_keys_share_a_token(key: str) -> None:
    assert unquote(key_token(key)) == key


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_the_token_is_a_line(key: str | None) -> None:
    assert key_token(key) == "_"


def test_a_template_is_checked_before_anything_starts() -> None:
    assert template_fault("{topic}") is None
    assert template_fault("shop.{key}.{topic}") is None
    assert "unknown" in (template_fault("{other}") or "")
    assert template_fault("fixed") is not None
    for template in (
        "a..{topic}",
        "$JS.{topic}",
        "_INBOX.{key}",
        "a b.{topic}",
        "a.*.{topic}",
        "{topic}.>",
        "",
        "{}",
    ):
        assert template_fault(template) is not None


def test_a_template_takes_the_key_as_a_token() -> None:
    envelopes = Envelopes(template="shop.{key}.{topic}")
    assert envelopes.subject(event("placed", key="a.b")) == "shop.a%2Eb.placed"
    assert envelopes.subject(event("placed", key=None)) == "shop._.placed"


def test_only_allowed_subjects_pass() -> None:
    envelopes = Envelopes(allow=["orders.*"])
    assert envelopes.subject(event("orders.placed")) == "orders.placed"
    with pytest.raises(Poison, match="outside"):
        envelopes.subject(event("payments.made"))


def test_configured_headers_come_with_those_of_the_row() -> None:
    envelopes = Envelopes(add_key=True, add_seq=True, add_created_at=True)
    assert envelopes.headers(event(headers={"traceparent": "00-1", "n": 2, "b": True}), MEBIBYTE) == {
        "traceparent": "00-1",
        "n": "2",
        "b": "true",
        "Outbox-Key": "k",
        "Outbox-Seq": "7",
        "Outbox-Created-At": "2023-11-14T22:13:20.250000+00:00",
        "Nats-Msg-Id": "an-id",
    }


def test_a_row_lends_no_event_the_key_the_seq_or_the_replay_of_another_one() -> None:
    forwarded = {
        "Outbox-Key": "x",
        "outbox-key": "x",
        "Outbox-Seq": "1",
        "OUTBOX-ORIGIN": "x",
        "Outbox-Created-At": "x",
        "Outbox-Replay": "1",
        "Outbox-Replay-Of": "x",
    }
    own = event(key=None, headers=forwarded)
    sent = Envelopes(add_key=True, add_seq=True, add_created_at=True).headers(own, MEBIBYTE)
    assert sent == {
        "Outbox-Seq": "7",
        "Outbox-Created-At": "2023-11-14T22:13:20.250000+00:00",
        "Nats-Msg-Id": "an-id",
    }
    # What the relay does not send is the row's own affair.
    assert Envelopes().headers(own, MEBIBYTE) == {
        **{name: value for name, value in forwarded.items() if "Replay" not in name},
        "Nats-Msg-Id": "an-id",
    }


def test_the_origin_goes_out_with_the_seq_alone() -> None:
    origins = Origins("0:aaaaaaaa,6:bbbbbbbb")
    assert "Outbox-Origin" not in Envelopes().with_origins(origins).headers(event(), MEBIBYTE)
    assert Envelopes(add_seq=True).with_origins(origins).headers(event(), MEBIBYTE)["Outbox-Origin"] == "bbbbbbbb"


def test_headers_of_null_are_none_and_one_of_null_is_left_out() -> None:
    plain = Envelopes().headers(event(), MEBIBYTE)
    assert Envelopes().headers(event()._replace(headers="null"), MEBIBYTE) == plain
    assert Envelopes().headers(event(headers={"a": None, "b": "2"}), MEBIBYTE) == plain | {"b": "2"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Rollup": "all"},
        {"NATS-TTL": "1s"},
        {"X": "a\r\nb"},
        {"X": "\x00"},
        {"a:b": "x"},
        {"a b": "x"},
        {"a\r\nb": "x"},
        {"": "x"},
        {"ü": "x"},
        {"a:b": None},
        {"X": [None]},
        {"X": {}},
        ["X"],
    ],
)
def test_a_header_that_breaks_a_rule_is_poison(headers: object) -> None:
    with pytest.raises(Poison):
        Envelopes().headers(event(headers=headers), MEBIBYTE)


def test_an_allowed_control_header_passes_and_the_message_id_never() -> None:
    envelopes = Envelopes(allow_nats=["Nats-TTL", "Nats-Msg-Id", "Nats-Batch-Commit"])
    assert envelopes.headers(event(headers={"nats-ttl": "1s"}), MEBIBYTE)["nats-ttl"] == "1s"
    for name in ("Nats-Msg-Id", "Nats-Batch-Commit"):
        with pytest.raises(Poison):
            envelopes.headers(event(headers={name: "1"}), MEBIBYTE)


@given(st.integers(-200, 200))
def test_the_size_is_counted_to_the_byte(spare: int) -> None:
    one = event(headers={"X": "ü" * 10})
    wire = len("NATS/1.0\r\n") + len("X: ") + 20 + 2 + len("Nats-Msg-Id: an-id\r\n") + 2
    limit = wire + len(one.payload) + spare
    if spare >= 0:
        assert Envelopes().make(one, limit)
    else:
        with pytest.raises(Poison, match="the server takes"):
            Envelopes().make(one, limit)


@given(st.integers(-50, 50))
def test_what_knocks_is_never_larger_than_the_server_takes(spare: int) -> None:
    one = event(headers={"X": "ü" * 10})
    _, lines = Envelopes().make(one, MEBIBYTE)
    limit = size_on_the_wire(lines, one.payload) + spare
    knocks = knocking(lines, one.payload, limit)
    if spare >= len("Nats-Expected-Stream: .\r\n"):
        assert knocks == f"Nats-Expected-Stream: .\r\n{lines}"
    else:
        assert knocks == lines


@pytest.mark.parametrize("text", ['{"n": ' + "1" * 5000 + "}", '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}"])
def test_headers_that_python_cannot_read_are_poison(text: str) -> None:
    with pytest.raises(Poison, match="cannot be read"):
        Envelopes().headers(event()._replace(headers=text), MEBIBYTE)


def test_what_stands_in_a_topic_is_no_template() -> None:
    with pytest.raises(Poison):
        Envelopes(template="p.{topic}.{key}").subject(event("a.{topic} b"))
    assert Envelopes(template="p.{topic}.{key}").subject(event("a.{key}")) == "p.a.{key}.k"


def test_a_key_with_a_line_end_is_poison_only_as_a_header() -> None:
    one = event(key="a\r\nNats-Rollup: all")
    assert make(Envelopes(), one)[1] == {"Nats-Msg-Id": "an-id"}
    with pytest.raises(Poison, match="line end") as caught:
        Envelopes(add_key=True).make(one, MEBIBYTE)
    assert caught.value.reason == "headers"


_NAME = st.sampled_from(["X", "traceparent", "nats-rollup", "Nats-Msg-Id", "NATS-EXPECTED-STREAM", "Outbox-Seq"])
_VALUE = st.none() | st.booleans() | st.integers() | st.floats() | _HOSTILE | st.lists(st.integers(), max_size=1)


@given(st.dictionaries(_NAME | _HOSTILE, _VALUE, max_size=3) | st.lists(_VALUE, max_size=2) | _VALUE)
def test_no_header_of_a_row_steers_the_server_or_breaks_a_line(headers: object) -> None:
    one = event()._replace(headers=json.dumps(headers))
    made = attempt(Envelopes(add_seq=True), one)
    if isinstance(made, str):
        assert made == "headers"
        return
    sent = made[1]
    assert sent["Nats-Msg-Id"] == "an-id"
    assert sent["Outbox-Seq"] == "7"
    assert [name for name in sent if name.lower().startswith("nats-")] == ["Nats-Msg-Id"]
    for name, value in sent.items():
        assert name and name.isascii() and name.isprintable() and not set(name) & set(" :")
        assert not any((ord(letter) < 32 and letter != "\t") or ord(letter) == 127 for letter in value)


@pytest.mark.parametrize(
    "name", ["Nats-Msg-Id", "nats-msg-id", "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"]
)
def test_message_id_and_batch_are_ours_whatever_is_allowed(name: str) -> None:
    envelopes = Envelopes(allow_nats=[name, "Nats-TTL"])
    with pytest.raises(Poison, match="steer"):
        envelopes.make(event(headers={name: "x"}), MEBIBYTE)


def _wire(headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


@given(
    headers=st.none() | st.dictionaries(st.sampled_from(["A", "Trace"]), st.text("aé", max_size=40), max_size=2),
    configured=st.booleans(),
    key=st.none() | st.text("kü", max_size=5000),
    payload_bytes=st.integers(0, 9000),
    limit=st.integers(0, 10_000),
    near=st.none() | st.integers(-2, 2),
)
def test_a_message_passes_when_the_server_would_take_it(
    headers: dict[str, str] | None,
    configured: bool,
    key: str | None,
    payload_bytes: int,
    limit: int,
    near: int | None,
) -> None:
    envelopes = Envelopes(add_key=configured, add_seq=configured, add_created_at=configured)
    one = event(key=key, payload=b"x" * payload_bytes, headers=headers)
    made = make(envelopes, one, 10**9)
    size = len(_wire(made[1])) + payload_bytes
    limit = limit if near is None else size + near
    assert attempt(envelopes, one, limit) == (made if size <= limit else "size")


def test_a_key_as_a_header_counts_however_long_it_is() -> None:
    envelopes = Envelopes(add_key=True)
    one = event(key="k" * 5000)
    size = len(_wire(make(envelopes, one)[1])) + len(one.payload)
    assert attempt(envelopes, one, size) != "size"
    assert attempt(envelopes, one, size - 1) == "size"


@pytest.mark.parametrize("spare", [0, 1, -1])
def test_headers_may_have_65535_bytes(spare: int) -> None:
    bare = len(_wire({"X": "", "Nats-Msg-Id": "an-id"}))
    one = event(headers={"X": "v" * (65_535 - bare - spare)})
    if spare < 0:
        with pytest.raises(Poison, match="the server takes 65535"):
            Envelopes().make(one, MEBIBYTE)
    else:
        assert len(_wire(make(Envelopes(), one)[1])) == 65_535 - spare


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["t.x", "t.y", "no good", "$JS.x"]),
            st.integers(0, 9000),
            st.none() | st.just({"A": "b"}) | st.just({"Nats-Rollup": "all"}),
            st.sampled_from([0, 0, 0, 5, "broken"]),
        ),
        max_size=6,
    ),
    configured=st.booleans(),
    template=st.sampled_from(["{topic}", "{topic}.{key}"]),
    limit=st.integers(0, 10_000),
    most_bytes=st.integers(0, 10_000),
)
def test_messages_of_many_are_those_of_each_up_to_the_first_that_cannot_be_sent_so(
    rows: list[tuple[str, int, object, int | str]], configured: bool, template: str, limit: int, most_bytes: int
) -> None:
    envelopes = Envelopes(template=template, add_seq=configured)
    events = [
        event(topic, payload=b"x" * size, headers=headers)._replace(seq=seq, unread=unread)
        for seq, (topic, size, headers, unread) in enumerate(rows)
    ]
    wanted = []
    for one in events:
        try:
            subject, lines = envelopes.make(one, limit)
        except Poison:
            break
        if len(one.payload) > most_bytes:
            break
        wanted.append((one.seq, subject, one.payload, lines))
    assert envelopes.make_all(events, limit, most_bytes) == wanted
