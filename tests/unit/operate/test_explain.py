"""Why an event is where it is: the rules alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.operate.explain import MEANING, Facts, Other, explain, own_trouble
from relay.operate.hindrances import Hindrance
from relay.operate.subject_facts import Broker
from relay.outcomes import FailureClass
from relay.rules.failure.failure_class_of_old_rows import stored_class
from relay.rules.failure.failures import (
    BY_CODE,
    Failure,
    Forbidden,
    NoResponders,
    Refused,
    TimedOut,
    Unacknowledging,
    describe,
)

FINE = Broker(stream="ORDERS", window_s=120)


def facts(**changed: Any) -> Facts:
    """Make the facts of an event that is simply in line, and change some."""
    values: dict[str, Any] = {
        "seq": 50, "state": "pending", "key": "k", "age_s": 3.0, "attempts": 0, "last_error": None, "retry_in_s": None,
        "subject": "orders.placed", "subject_fault": None, "working": True, "owned": True, "ahead": 0,
        "ahead_exact": True, "in_the_way": (), "dead_ahead": (), "oldest_error": None, "broker": FINE,
        "ordered": True, "on_dead": "skip", "on_misconfigured": "hold", "max_attempts": 10, "hold_max_s": 15.0,
    }  # fmt: skip
    values |= changed
    return Facts(**{"failure_class": stored_class(None, values["last_error"]), **values})


def why(**changed: Any) -> str:
    return " ".join(explain(facts(**changed)).why)


FAILURES: list[Failure] = [
    *(Refused(code, "some text (with brackets)") for code in (*BY_CODE, 0, 12345)),
    Refused(10077, "maximum messages per subject exceeded"),
    NoResponders(True),
    NoResponders(False),
    NoResponders(None),
    TimedOut(),
    TimedOut(passed_over=3),
    Forbidden('permissions violation for publish to "orders.placed"'),
    Unacknowledging("ORDERS"),
]


def test_every_class_has_a_meaning() -> None:
    assert set(MEANING) == set(FailureClass)


def test_an_event_in_line_says_how_long_the_line_is() -> None:
    assert why() == "It is the oldest pending event, and nothing is in its way: it is on its way, or about to be."
    assert why(ahead=1) == "It is in line, behind 1 pending event."
    assert why(ahead=5, ahead_exact=False, oldest_error="no stream") == (
        "It is in line, behind more than 5 pending events. The oldest of these says: no stream."
    )


def test_without_a_relay_nothing_happens() -> None:
    told = explain(facts(working=False))
    assert told.next == "Nothing until a relay runs."
    assert told.do[0] == "relay run"


def test_without_an_owner_of_its_shard_an_event_waits_beside_relays_that_work() -> None:
    told = explain(facts(owned=False))
    assert told.why == ["No relay owns its shard now, though others are owned."]
    assert told.next.startswith("Nothing until a relay owns it")
    assert told.do[0] == "relay status"


def test_a_key_waits_for_its_earlier_event_unless_no_order_is_kept() -> None:
    waits = {"in_the_way": (Other(7, "retry", "refused by the stream: no (10999)"),)}
    assert "An earlier event of its key comes first: seq 7 (retry), which says: refused by" in why(**waits)
    assert explain(facts(**waits)).next == "It is sent when seq 7 is delivered or given up."
    assert "relay explain 7" in explain(facts(**waits)).do
    assert "earlier event" not in why(**waits, ordered=False)
    assert "earlier event" not in why(**waits, key=None)


def test_a_dead_letter_is_in_the_way_only_where_it_blocks() -> None:
    told = explain(facts(dead_ahead=(3, 4), on_dead="block"))
    assert "an operator to decide about dead letter 3, 4" in " ".join(told.why)
    assert told.next == "Nothing until that is decided."
    assert {"relay dead retry --seq 3", "relay dead discard --seq 3"} <= set(told.do)
    assert "dead letter" not in why(dead_ahead=(3, 4), on_dead="skip")


def test_a_retry_says_when_and_what_comes_after_it() -> None:
    last = {"state": "retry", "last_error": "refused by the stream: no (10999)", "retry_in_s": 41.6}
    told = explain(facts(**last, attempts=3))
    assert "attempt 3 of 10" in told.why[0]
    assert "Class unknown" in told.why[1]
    assert told.next == "It is sent again in 42 s."
    assert "it becomes a dead letter" in explain(facts(**last, attempts=9)).next
    assert "within five seconds" in explain(facts(state="retry", retry_in_s=-1.0)).next


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        (Broker(unreachable="connection refused"), "An outage is on, seen from here: connection refused."),
        (Broker(), "No stream takes the subject orders.placed now."),
        (Broker(stream="S", full="9 of 9 messages"), "Stream S is full and refuses new messages: 9 of 9 messages."),
        (Broker(stream="S", sealed=True), "is sealed"),
        (Broker(stream="S", no_ack=True), "is never acknowledged"),
    ],
)
def test_what_nats_says_now_is_told_with_what_follows(broker: Broker, words: str) -> None:
    assert words in why(broker=broker)
    assert "within 15 s of that being mended" in explain(facts(broker=broker)).next
    assert words in why(broker=broker, state="dead")


def test_a_missing_stream_may_be_the_end() -> None:
    assert "becomes a dead letter" in explain(facts(broker=Broker(), on_misconfigured="dead")).next


def test_poison_is_foreseen() -> None:
    told = explain(facts(subject=None, subject_fault="the subject is empty", broker=Broker(), attempts=0))
    assert told.why == ["It can never be sent as it is: the subject is empty."]
    assert told.next == "It becomes a dead letter when its turn comes."


def test_settled_events_say_what_an_operator_can_still_do() -> None:
    assert "relay replay --seq 50" in explain(facts(state="delivered")).do
    assert "relay replay --discarded --seq 50" in explain(facts(state="discarded")).do
    told = explain(facts(state="dead", last_error="refused by the stream: too long (10054)", on_dead="block"))
    assert told.why[1].startswith("Class poison")
    assert "Its key waits behind it" in told.why[2]
    assert told.do == ["relay dead retry --seq 50", "relay dead discard --seq 50"]


LARGE = "refused by the stream: message size exceeds maximum allowed (10054)"


def test_a_dead_letter_that_its_stream_is_too_small_for_names_the_limit_and_the_command_that_raises_it() -> None:
    small = Broker(stream="CATALOG", max_msg_size=900)
    told = explain(facts(state="dead", last_error=LARGE, size=1276, broker=small))
    assert "never" not in " ".join(told.why)
    assert "It takes 1,276 bytes, and stream CATALOG takes 900 (max_msg_size)." in told.why
    assert told.do[:2] == ["relay stream edit CATALOG --max-msg-size 2048", "relay dead retry --seq 50"]
    assert "then retry" in told.next
    raised = explain(
        facts(state="dead", last_error=LARGE, size=1276, broker=Broker(stream="CATALOG", max_msg_size=2048))
    )
    assert "a retry sends it now" in " ".join(raised.why)
    assert raised.do == ["relay dead retry --seq 50", "relay dead discard --seq 50"]
    away = explain(facts(state="dead", last_error=LARGE, size=1276, broker=Broker(unreachable="refused")))
    assert "what its stream takes is not known now" in " ".join(away.why)


def test_a_header_that_steers_says_what_it_would_do_and_which_setting_decides() -> None:
    fault = "header Nats-Rollup would steer the server and is not allowed"
    told = " ".join(explain(facts(state="dead", last_error=fault, subject=None, subject_fault=fault)).why)
    assert "headers.allow_nats" in told and "delete older messages" in told and "never" not in told
    waits = explain(facts(subject=None, subject_fault=fault))
    assert "cannot be sent now" in waits.why[0] and "headers.allow_nats" in waits.why[1]


@pytest.mark.parametrize("state", ["discarded", "delivered"])
def test_a_replay_that_cannot_work_is_not_offered(state: Any) -> None:
    fault = "header Nats-Rollup would steer the server and is not allowed"
    told = explain(facts(state=state, last_error=fault, subject=None, subject_fault=fault))
    assert not any("replay" in command for command in told.do)
    assert "A replay cannot send it now" in told.why[-1]
    small = Broker(stream="CATALOG", max_msg_size=900)
    assert not any("replay" in one for one in explain(facts(state=state, size=1276, broker=small)).do)


TEXT = st.none() | st.text(max_size=20) | st.sampled_from([describe(failure) for failure in FAILURES])
BROKERS = st.builds(
    Broker, unreachable=TEXT, unknown=TEXT, stream=st.none() | st.just("S"), full=TEXT, sealed=st.booleans(),
    no_ack=st.booleans(), max_msg_size=st.sampled_from([-1, 900]),
)  # fmt: skip


@given(
    st.builds(
        Facts,
        seq=st.integers(1), state=st.sampled_from(["pending", "retry", "dead", "discarded", "delivered"]),
        key=st.none() | st.text(max_size=3), age_s=st.floats(0, 1e9), attempts=st.integers(0, 1000), last_error=TEXT,
        failure_class=st.none() | st.sampled_from(FailureClass),
        retry_in_s=st.none() | st.floats(-1e9, 1e9), subject=st.none() | st.just("a"), subject_fault=TEXT,
        working=st.booleans(), owned=st.booleans(), ahead=st.integers(0, 9), ahead_exact=st.booleans(),
        in_the_way=st.lists(st.builds(Other, st.integers(1), st.just("retry"), TEXT), max_size=2).map(tuple),
        dead_ahead=st.lists(st.integers(1), max_size=2).map(tuple), oldest_error=TEXT, broker=BROKERS,
        ordered=st.booleans(), on_dead=st.sampled_from(["skip", "block"]),
        on_misconfigured=st.sampled_from(["hold", "dead"]), max_attempts=st.integers(1, 1000),
        hold_max_s=st.floats(0.1, 1e6), size=st.integers(0, 10**7),
    )
)  # fmt: skip
def test_whatever_is_known_there_is_a_reason_and_a_next_step(given_facts: Facts) -> None:
    told = explain(given_facts)
    assert told.why and all(told.why)
    assert told.next
    assert len(told.do) == len(set(told.do))
    if given_facts.state in ("pending", "retry") and not given_facts.working:
        assert "relay run" in told.do


@pytest.mark.parametrize(
    ("broker", "command"),
    [
        (Broker(), "relay stream create NAME --subject orders.placed"),
        (Broker(gone="ORDERS", took=("orders.>",)), "relay stream create ORDERS --subject 'orders.>'"),
        (Broker(stream="ORDERS", full="5 of 5 messages"), "relay stream edit ORDERS"),
        (Broker(stream="ORDERS", no_ack=True), "relay stream edit ORDERS --ack"),
    ],
)
def test_what_nats_has_in_the_way_comes_with_the_command_that_mends_it(broker: Broker, command: str) -> None:
    assert command in explain(facts(broker=broker)).do


@pytest.mark.parametrize("failure", [FailureClass.CAPACITY, FailureClass.CONFIGURATION])
def test_an_event_with_a_trouble_of_its_own_names_it_beside_the_outage(failure: FailureClass) -> None:
    away = {"broker": Broker(unreachable="refused"), "last_error": "no room", "failure_class": failure}
    told = explain(facts(**away))
    assert "no room" in told.why[0] and "An outage is on" in told.why[-1]
    assert told.next.startswith("Two things are in its way. First NATS")
    assert own_trouble(facts(**away)) is failure and own_trouble(facts(**away | {"broker": FINE})) is None
    other = away | {"failure_class": FailureClass.OUTAGE}
    assert own_trouble(facts(**other)) is None and "Two things" not in explain(facts(**other)).next


def test_what_is_mended_is_not_told_as_if_it_held() -> None:
    error = "refused by the stream: maximum messages exceeded (10077)"
    told = explain(facts(last_error=error))
    assert told.why == [f"When it was tried last it was held back: {error}. That is not so any more."]
    assert told.next.startswith("Nothing is in its way any more")
    large = {"state": "dead", "last_error": "refused by the stream: message size exceeds maximum allowed (10054)"}
    fits = explain(facts(**large, broker=Broker(stream="CATALOG", max_msg_size=2048), size=1500))
    assert "a retry sends it now" in " ".join(fits.why) and fits.next == "Nothing until an operator decides. Retry it."
    assert not any("can be sent once" in one for one in fits.why)
    still = explain(facts(**large, broker=Broker(stream="CATALOG", max_msg_size=900), size=1500))
    assert "Raise max_msg_size" in still.next


@pytest.mark.parametrize("broker", [Broker(unreachable="no"), Broker(unknown="no"), FINE])
def test_no_command_is_offered_where_no_stream_is_to_be_mended(broker: Broker) -> None:
    assert not any(command.startswith("nats") for command in explain(facts(broker=broker)).do)


@pytest.mark.parametrize("kind", ["rule", "trigger", "filter", "identity"])
def test_an_event_that_its_stream_holds_is_called_stored_and_says_what_may_refuse_its_mark(kind: Any) -> None:
    told = explain(facts(stored_at=7, hindrances=(Hindrance(kind, "theirs"),), last_error="the stream is full"))
    assert told.why[0] == "Stream ORDERS holds it, at sequence 7: its mark is missing."
    assert "theirs" in told.why[1]
    assert "not sent again" in told.next
    assert "theirs" in told.do[0]
    assert "GRANT" not in " ".join(told.do)


def test_an_event_that_its_stream_holds_is_marked_once_a_relay_runs() -> None:
    assert "looks for the event in the stream" in explain(facts(stored_at=7, working=False)).next


def test_an_event_behind_the_watermark_says_by_when_the_search_finds_it() -> None:
    told = explain(facts(found_within_s=40.0))
    assert told.why[0].startswith("It lies below the watermark")
    assert told.next.startswith("The search for such rows finds it within 40 s")
    assert "on its way" not in " ".join(told.why)
    assert "Nothing until a relay runs" in explain(facts(found_within_s=40.0, working=False)).next
    assert "It lies below" not in why(found_within_s=40.0, last_error="the stream is full"), "a relay has it in hand"
    told = explain(facts(found_within_s=40.0, stored_at=7))
    assert "taken back" in told.why[1]
    assert "finds it within 40 s, and it is sent again" in told.next


def test_what_nats_does_not_say_is_not_taken_for_nothing() -> None:
    silent = Broker(unknown="no answer to STREAM.INFO.ORDERS")
    assert "nothing is in its way" not in why(broker=silent)
    held = explain(facts(broker=silent, last_error="timed out", failure_class=FailureClass.OUTAGE))
    assert held.next == ("NATS does not say what is in its way: it is tried again within 15 s (failures.hold_max_s).")
