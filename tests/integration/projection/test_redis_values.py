"""What comes to a handler in Redis is what was sent, or the event is refused: numbers, keys, headers, seqs."""

import json
from typing import Any

import pytest

from relay.projection.definition import Handler
from relay.projection.in_redis.ledger import prefix_of
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_redis import TRAIL, World, definition
from tests.integration.projection.world import Events, fold, headers_of
from tests.support.fix_relay import wait_until

# Each is sent with an event before it and one behind it; None: it is refused.
VALUES: dict[bytes, str | None] = {
    b"9007199254740991": "9007199254740991",
    b"-9007199254740991": "-9007199254740991",
    b"9007199254740993": None,  # a double holds 9007199254740992 instead
    b"-9007199254740993": None,
    b"12345678901234567890123": None,
    b"1e400": None,
    b"-1e400": None,
    b"NaN": None,
    b"-Infinity": None,
    b"0x10": None,
    b"01": None,
    b"+1": None,
    b"--1": None,
    b"1e": None,
    b"-0": "0",
    b"-0.0": "0",
    b"1E+2": "100",
    b"0.1": "0.1",
    b"1e-400": "0",
    b"true": None,
    b"null": None,
    b"[null]": None,
    b"{}": None,
    b'"9007199254740993"': "9007199254740993",
    b'"\\ud83d\\ude00 \\u00e9"': "\U0001f600 \u00e9",
    b'"\\ud800"': None,
    b'"\xff"': None,
    b'""': "",
    b'1, "value": 2': "2",  # the last one counts, as in PostgreSQL
    b'1}, {"value": 2': None,
    b'1}\x00{"value": 2': None,
    b"[" * 2_000 + b"]" * 2_000: None,
}


def by_one(lua: str, **fields: Any) -> Any:
    """Make a projection whose only handler is this one."""
    return definition(handlers=(Handler("orders.>", None, Mode.EACH, lua=lua),), **fields)


@pytest.mark.parametrize("usual", [True, False], ids=["by columns", "one by one"])
def test_a_value_is_written_as_it_was_sent_or_its_event_is_refused(
    world: World, events: Events, run: Any, usual: bool
) -> None:
    """One by one since its headers are others than those of the event before."""
    events.make()
    sent = dict(enumerate(VALUES, 1))
    own: dict[str, str | None] = {} if usual else {"Other": "1"}
    for seq, value in sent.items():
        good, bad = (headers_of(2 * seq + one, f"{name}{seq}") for one, name in enumerate(("g", "v")))
        events.store([("orders.placed", {"value": seq}, good), ("orders.placed", b'{"value": %b}' % value, bad | own)])
    run(by_one("write('SET', 'value:' .. e.key, e.data.value)"))
    world.reach(2 * len(sent))
    found = {value: world.ask("GET", f"value:v{seq}") for seq, value in sent.items()}
    if found.get(b"0.1") == "0.10000000000000001":  # Redis 6.2 and 7.0 write all digits of a double
        found[b"0.1"] = "0.1"
    assert found == VALUES
    assert [key for key, _ in world.parked()] == [f"v{seq}" for seq, value in sent.items() if VALUES[value] is None]
    assert [world.ask("GET", f"value:g{seq}") for seq in sent] == list(map(str, sent))


KEYS = [
    "a key", "\u00e9", "e\u0301", "\U0001f600", "a\u2028b", '"', "\\", "'", "{a}", "%s", "[1]", "null", "0", "-1",
    "__index", "x" * 5_000, "a:b", "a\tb", "\x7f", "a\x1fb", "a,b", "",
]  # fmt: skip


@pytest.mark.parametrize("usual", [True, False], ids=["by columns", "one by one"])
def test_a_key_is_what_was_sent_also_while_its_events_are_parked(
    world: World, events: Events, run: Any, usual: bool
) -> None:
    events.make()
    own: dict[str, str | None] = {} if usual else {"Outbox-Created-At": None}
    seqs = range(1, 3 * len(KEYS) + 1)
    keys = KEYS * 3
    at_fault = len(KEYS) + 1  # the second event of the first key: the third one waits behind it
    for seq, key in zip(seqs, keys, strict=True):
        payload = {"i": "x" if seq == at_fault else seq}
        events.store([("orders.placed", payload, headers_of(seq, key) | own)])
    run()
    world.reach(3 * len(KEYS))
    expected = fold(*zip(seqs, keys, strict=True)) | {KEYS[0]: [1]}
    assert world.trail() == expected
    assert [key for key, _ in world.parked()] == [KEYS[0]] * 2


@pytest.mark.parametrize("first", [2**53 - 20, 2**62 + 8_150, 2**63 - 60], ids=["2^53", "2^62", "2^63"])
@pytest.mark.parametrize("count", [7, 60], ids=["few", "many"])
@pytest.mark.parametrize("stops", [False, True], ids=["whole", "halted"])
def test_the_bit_of_each_seq_is_its_own(
    world: World, events: Events, run: Any, first: int, count: int, stops: bool
) -> None:
    """Sent again after a restart, all are repeats, and those beside them are new; also if a batch had to stop."""
    last = first + count - 1
    lua = TRAIL.replace("string.format('%.0f', e.data.i)", "e.seq")
    if stops:
        lua = f"if e.data.bad and read('EXISTS', 'mended') == 0 then error('bad') end {lua}"
    projection = by_one(lua, on_refused="stop" if stops else "park")

    def send(*seqs: int) -> None:
        sent = [headers_of(seq - first, "k") | {"Outbox-Seq": str(seq)} for seq in seqs]
        events.store([("orders.placed", {"bad": stops and one == sent[-1]}, one) for one in sent])

    events.make()
    send(*range(first, last + 1))
    one = run(projection)
    if stops:
        wait_until("stopped", lambda: world.state().get("status") == "stopped")
        assert world.state()["position"] == str(count - 1)
    else:
        world.reach(count)
    one.stop()
    world.ask("SET", "mended", 1)
    world.ask("HSET", f"{prefix_of('trail', 0)}:state", "status", "new")
    before = [first - 1, first - 8_192] if stops else [first - 1]
    send(*range(first, last + 1), *before)
    run(projection)
    world.reach(2 * count + len(before))
    assert world.state()["repeats"] == str(count)
    assert world.trail() == fold(*((seq, "k") for seq in [*range(first, last + 1), *before]))


def test_a_parked_event_keeps_its_headers_however_its_batch_was_read(world: World, events: Events, run: Any) -> None:
    own: dict[str, str | None] = {
        "traceparent": "00-ab: cd",
        "X": "",
        "Note": "\u00e9 \U0001f600",
        "1": "one",
        "Outbox-Origin": "0badcafe",
    }
    events.make()
    sent = [headers_of(seq, f"k{seq}") | own for seq in range(1, 4)]
    sent[2] |= {"Only": "here"}
    for first in (sent[:2], sent[2:]):
        events.store([("orders.placed", b'{"i": "x"}', one) for one in first])
    run()
    world.reach(3)
    prefix = prefix_of("trail", 0)
    rows = [world.ask("HGETALL", f"{prefix}:parked:{number}") for number in (1, 2, 3)]
    assert [json.loads(row["headers"]) for row in rows] == sent
    assert [row["payload"] for row in rows] == ['{"i": "x"}'] * 3


def test_a_handler_sees_each_field_of_its_event(world: World, events: Events, run: Any) -> None:
    names = ["key", "seq", "stream_seq", "id", "topic", "at", "version", "now"]
    lua = "".join(f"write('HSET', 'seen:' .. e.stream_seq, '{name}', tostring(e.{name}))\n" for name in names)
    events.make()
    usual = [headers_of(seq, f"k{seq}") | {"Event-Version": str(seq)} for seq in (1, 2)]
    others: list[dict[str, str | None]] = [headers_of(3, "k3"), {"Nats-Msg-Id": "four"}]
    events.store([("orders.placed", {}, one) for one in usual])
    events.store([("orders.paid", {}, one) for one in others])
    run(by_one(lua))
    world.reach(4)
    seen = [world.ask("HGETALL", f"seen:{place}") for place in range(1, 5)]
    for place, (one, headers) in enumerate(zip(seen, [*usual, *others], strict=True), 1):
        assert one["stream_seq"] == str(place)
        assert one["id"] == headers["Nats-Msg-Id"]
        assert one["key"] == headers.get("Outbox-Key", "nil")
        assert one["seq"] == headers.get("Outbox-Seq", "nil")
        assert one["version"] == headers.get("Event-Version", "1")
        assert one["at"] == headers.get("Outbox-Created-At", one["at"])
        assert one["topic"] == ("orders.placed" if place < 3 else "orders.paid")
        assert int(one["now"]) > 1_700_000_000_000
