"""What of a poison a setting decides, and how large a message a stream has to take: the rules alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.operate.message_size import OWN_HEADERS_BYTES, LargeDead, TooSmall, command_to_raise, raised_to, too_small
from relay.operate.nats_status import StreamView
from relay.operate.poison import NEVER, refused_for_size, remedy, steering_header
from relay.operate.steering_headers import Allowing
from relay.outcomes import FailureClass
from relay.rules.failure.failures import BY_CODE, Refused, classify, describe

CATALOG = StreamView("CATALOG", subjects=("catalog.>",), max_msg_size=900)


def plain(topic: str, key: str | None) -> str | None:
    return topic


@pytest.mark.parametrize(
    ("error", "whose", "setting"),
    [
        (describe(Refused(10054, "message size exceeds maximum allowed")), "stream", "max_msg_size"),
        ("headers of 90 and payload of 2000000 bytes: the server takes 1048576", "server", "max_payload"),
        ("70000000 bytes: more than the relay reads, twice delivery.buffer_bytes, or 1 MiB", "relay", "buffer_bytes"),
        ("header Nats-TTL would steer the server and is not allowed", None, "headers.allow_nats"),
        ("the subject lies outside the allowed ones: 'x.y'", None, "subject.allow"),
        (describe(Refused(10111, "rollup not permitted")), None, "allow_rollup_hdrs"),
    ],
)
def test_what_a_setting_decides_is_told_with_it(error: str, whose: str | None, setting: str) -> None:
    found = remedy(error)
    assert refused_for_size(error) == whose
    assert found is not None and setting in found.meaning and "retry" in found.do


@pytest.mark.parametrize(
    "error",
    [
        None,
        "headers of 70000 bytes: the server takes 65535",
        "header Nats-Msg-Id would steer the server and is not allowed",
        "the headers are no JSON object",
        "the subject is empty: ''",
    ],
)
def test_what_no_setting_decides_can_never_be_sent(error: str | None) -> None:
    assert remedy(error) is None
    assert "never" in NEVER


def test_no_refusal_of_a_stream_that_is_no_poison_has_a_remedy() -> None:
    for code in BY_CODE:
        refused = Refused(code, "some text")
        if classify(refused).failure_class is not FailureClass.POISON:
            assert remedy(describe(refused)) is None


@given(st.integers(1, 10**9))
def test_a_raised_limit_takes_the_message_and_not_much_more(size: int) -> None:
    assert size <= raised_to(size) <= max(1024, 2 * size)
    assert command_to_raise("S", size) == f"relay stream edit S --max-msg-size {raised_to(size)}"


def test_a_stream_is_too_small_until_it_takes_the_largest_of_what_it_has_refused() -> None:
    large = [LargeDead("catalog.changed", "k", 38, 1223, 7.0), LargeDead("orders.placed", None, 2, 5000, 9.0)]
    assert too_small(large, [CATALOG, StreamView("ORDERS", subjects=("orders.>",))], plain) == [
        TooSmall("CATALOG", 900, 1223 + OWN_HEADERS_BYTES, 38, ("catalog.changed",), 7.0)
    ]
    assert too_small(large, [StreamView("CATALOG", subjects=("catalog.>",), max_msg_size=1523)], plain) == []
    assert too_small(large, [CATALOG], lambda topic, key: None) == []


STEERED = "header Nats-Rollup would steer the server and is not allowed"


def test_a_header_that_steers_is_named_and_those_that_no_setting_lets_through_are_not() -> None:
    assert steering_header(STEERED) == "Nats-Rollup"
    assert steering_header(STEERED.replace("Rollup", "Msg-Id")) is None
    assert steering_header("too long") is None and steering_header(None) is None


@pytest.mark.parametrize(
    ("allowing", "permitted", "now", "retried"),
    [
        (Allowing("Nats-Rollup", 2, 0, 0), None, "No relay lets", "it becomes a dead letter again"),
        (Allowing("Nats-Rollup", 2, 2, 0), True, "Every relay lets", "it has the stream delete older messages"),
        (Allowing("Nats-Rollup", 2, 2, 0), False, "Every relay lets", "its stream refuses it (allow_rollup_hdrs)"),
        (Allowing("Nats-Rollup", 2, 1, 0), None, "1 of 2 relays let", "else it becomes a dead letter again"),
        (Allowing("Nats-Rollup", 2, 0, 1), None, "1 of 2 relays do not say", "if a relay that lets it through"),
        (Allowing("Nats-Rollup", 0, 0, 0), None, "No relay is at work", "if a relay that lets it through"),
    ],
)
def test_each_decision_about_a_header_says_what_it_does(
    allowing: Allowing, permitted: bool | None, now: str, retried: str
) -> None:
    assert allowing.now().startswith(now)
    told = allowing.choices(blocks=True, permitted=permitted)
    assert retried in told and "Discard it: it is never sent; then its key goes on." in told
