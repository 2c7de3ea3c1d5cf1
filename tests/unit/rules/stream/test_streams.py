"""What is known of streams, and for how long."""

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.rules.stream.streams import StreamFacts, StreamMap, may_exist, qualified, split
from relay.rules.stream.subjects import matches, overlap


def test_a_subject_belongs_to_the_stream_that_takes_it() -> None:
    streams = StreamMap()
    orders, bills = StreamFacts("ORDERS", ("orders.>", "carts.*")), StreamFacts("BILLS", ("bills.>",))
    streams.learn(orders)
    streams.learn(bills)
    assert streams.find("orders.placed.eu") is orders
    assert streams.find("carts.filled") is orders
    assert streams.find("bills.sent") is bills
    assert streams.find("carts") is None
    assert streams.find("carts.filled.twice") is None


def test_what_is_not_known_is_asked_again_after_it_was_learned() -> None:
    streams = StreamMap()
    assert streams.find("orders.placed") is None
    orders = StreamFacts("ORDERS", ("orders.>",))
    streams.learn(orders)
    assert streams.find("orders.placed") is orders


def test_a_new_look_up_takes_the_place_of_the_old() -> None:
    streams = StreamMap()
    streams.learn(StreamFacts("ORDERS", ("orders.>",), atomic=False))
    assert streams.find("orders.placed") is not None
    streams.learn(StreamFacts("ORDERS", ("orders.>",), atomic=True))
    found = streams.find("orders.placed")
    assert found is not None and found.atomic
    streams.learn(StreamFacts("ORDERS", ("carts.>",)))
    assert streams.find("orders.placed") is None


def test_a_subject_that_moved_to_another_stream_is_found_there() -> None:
    streams = StreamMap()
    streams.learn(StreamFacts("OLD", ("orders.>", "old.>")))
    assert streams.find("orders.placed") is not None
    streams.learn(StreamFacts("OLD", ("old.>",)))
    new = StreamFacts("NEW", ("orders.>",))
    streams.learn(new)
    assert streams.find("orders.placed") is new


def test_after_a_new_connection_nothing_is_known() -> None:
    streams = StreamMap()
    streams.learn(StreamFacts("ORDERS", ("orders.>",)))
    assert streams.find("orders.placed") is not None
    streams.forget()
    assert streams.find("orders.placed") is None


def test_which_streams_took_a_subject_since_a_moment_is_remembered() -> None:
    streams = StreamMap()
    assert streams.since("orders.placed", 0.0) == set()
    streams.learn(StreamFacts("OLD", ("orders.>",)), "orders.placed", 10.0)
    streams.forget()
    assert streams.since("orders.placed", 20.0) == {"OLD"}, "nothing contradicts it"
    streams.learn(StreamFacts("NEW", ("orders.*",)), "orders.placed", 30.0)
    assert streams.name_of("orders.placed") == "NEW"
    assert streams.since("orders.placed", 30.0) == {"OLD", "NEW"}
    assert streams.since("orders.placed", 31.0) == {"NEW"}
    streams.learn(StreamFacts("OLD", ("orders.>",)), "orders.placed", 40.0)
    assert streams.name_of("orders.placed") == "OLD", "it came back, and no look-up has named the other one since"
    assert streams.since("orders.placed", 40.0) == {"OLD", "NEW"}
    assert streams.since("orders.placed", 41.0) == {"OLD"}


def test_a_stream_that_was_edited_has_taken_what_it_took_before() -> None:
    streams = StreamMap()
    streams.learn(StreamFacts("OLD", ("orders.>",)), "orders.placed", 10.0)
    streams.learn(StreamFacts("OLD", ("once.>",)), now=20.0)
    assert streams.find("orders.placed") is None
    assert streams.since("orders.placed", 15.0) == {"OLD"}
    assert streams.since("orders.placed", 21.0) == set()


_MOVES = st.lists(
    st.tuples(st.sampled_from(["learn", "forget", "edit"]), st.sampled_from("ABC"), st.sampled_from(["a.x", "b.x"])),
    max_size=12,
)


@given(_MOVES, st.integers(0, 12))
@example([("edit", "A", "a.x"), ("learn", "B", "a.x"), ("edit", "A", "a.x")], 0)
def test_a_stream_that_was_named_for_a_subject_since_a_moment_is_among_those_that_are_remembered(
    moves: list[tuple[str, str, str]], moment: int
) -> None:
    streams, named = StreamMap(), set[str]()
    for at, (act, name, subject) in enumerate(moves):
        if act == "forget":
            streams.forget()
        else:
            streams.learn(
                StreamFacts(name, (subject,) if act == "learn" else (subject, "c.x")),
                subject if act == "learn" else "",
                float(at),
            )
        takes_it = streams.name_of("a.x")
        if takes_it is not None and at >= moment:
            named.add(takes_it)
    assert named <= streams.since("a.x", float(moment))


def test_of_streams_that_took_a_subject_the_newest_ones_are_kept() -> None:
    streams = StreamMap(most_former=2)
    for at, name in enumerate("ABCD"):
        streams.learn(StreamFacts(name, ("orders.>",)), "orders.placed", float(at))
    assert streams.since("orders.placed", 0.0) == {"B", "C", "D"}


_TOKEN = st.sampled_from(["a", "b", "*"])
_PATTERN = st.builds(
    lambda tokens, tail: ".".join([*tokens, ">"] if tail else tokens),
    st.lists(_TOKEN, min_size=1, max_size=3),
    st.booleans(),
)


@given(
    st.lists(st.lists(_PATTERN, min_size=1, max_size=2), max_size=3),
    st.lists(st.text("ab.", min_size=1, max_size=5), max_size=12),
    st.integers(1, 4),
)
def test_however_many_subjects_are_kept_the_answer_is_the_same(
    patterns: list[list[str]], subjects: list[str], most: int
) -> None:
    streams = StreamMap(most_subjects=most)
    known = [StreamFacts(f"S{number}", tuple(ones)) for number, ones in enumerate(patterns)]
    for facts in known:
        streams.learn(facts)
    for subject in subjects * 2:
        takers = [facts for facts in known if any(matches(pattern, subject) for pattern in facts.subjects)]
        assert streams.find(subject) is (takers[0] if takers else None)


@given(st.text("abz-_", max_size=6), st.text("ABZ-_", min_size=1, max_size=6))
def test_a_stream_is_written_with_its_domain_so_that_a_namesake_is_another_one(domain: str, name: str) -> None:
    assert split(qualified(domain, name)) == (domain, name)
    assert (qualified(domain, name) == qualified("", name)) == (domain == "")


def test_the_name_of_the_stream_of_a_subject_is_known_or_not() -> None:
    streams = StreamMap()
    streams.learn(StreamFacts("hub/ORDERS", ("orders.>",)))
    assert streams.name_of("orders.placed") == "hub/ORDERS"
    assert streams.name_of("bills.sent") is None


@given(st.text(max_size=20))
def test_a_name_that_may_exist_is_one_token_of_a_subject_for_name_and_domain(stream: str) -> None:
    if may_exist(stream):
        domain, name = split(stream)
        assert name
        for part in (domain, name):
            assert not set(part) & set(".*>/\\\x00") and not any(char.isspace() for char in part)


@pytest.mark.parametrize("stream", ["ORDERS", "hub/ORDERS", "O-1_2", "Ünicode"])
def test_names_of_streams_may_exist(stream: str) -> None:
    assert may_exist(stream)


@pytest.mark.parametrize("stream", ["", "hub/", "a.b", "a b", "*", ">", "a\r\nPUB x 0", "a/b c", "x" * 600])
def test_names_that_no_server_lets_in_are_asked_of_none(stream: str) -> None:
    assert not may_exist(stream)


_TOKENS = ["a", "b", "*"]
_PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.sampled_from(_TOKENS), max_size=3),
    st.sampled_from([["a"], ["*"], [">"]]),
)
_SUBJECTS = [".".join(tokens) for size in range(1, 6) for tokens in product("ab", repeat=size)]


@given(_PATTERNS, _PATTERNS)
def test_two_patterns_overlap_if_some_subject_matches_both(one: str, other: str) -> None:
    assert overlap(one, other) == any(matches(one, subject) and matches(other, subject) for subject in _SUBJECTS)


def test_a_stream_that_was_never_seen_may_take_any_subject() -> None:
    streams = StreamMap()
    assert streams.never_seen({"A", "B"}) == {"A", "B"}
    assert hash(streams.never_seen({"A", "B"})), "probes are kept by it"
    streams.learn(StreamFacts("A", ("a.>",)), "a.x")
    assert streams.never_seen({"A", "B"}) == {"B"}
    streams.forget()
    assert streams.never_seen({"A", "B"}) == {"B"}
