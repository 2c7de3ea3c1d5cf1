"""A handler in Redis writes all of an event or nothing of it, and only by `write`, whatever else it tries."""

from typing import Any

import pytest

from relay.projection.in_redis.ledger import prefix_of
from tests.integration.projection.fix_redis import TRAIL, World, definition
from tests.integration.projection.world import Events, fold
from tests.support.fix_relay import holds_for, wait_until

# What a refused event has written before its last command fails, each of another kind.
WRITTEN = {
    "fields that are new": "write('HSET', 'h', 'new', 1, 'newer', 2) write('HINCRBY', 'h', 'more', 5)",
    "fields that are there": "write('HSET', 'h', 'a', 9, 'n', 9) write('HINCRBY', 'h', 'n', 5)"
    " write('HSETNX', 'h', 'z', 1)",
    "a hash that is new": "write('HSET', 'none', 'a', 1) write('HINCRBYFLOAT', 'none', 'b', 0.5)",
    "two keys": "write('HSET', 'h', 'a', 1) write('HSET', 'none', 'a', 1) write('HSET', 'h', 'b', 1)",
    "a field that goes": "write('HDEL', 'h', 'a', 'n') write('HSET', 'h', 'c', 1)",
    "a hash that goes": "write('DEL', 'h') write('HSET', 'h', 'c', 1)",
    "another type": "write('DEL', 'h') write('SET', 'h', 'text') write('APPEND', 'h', 'more')",
    "a time to live": "write('PERSIST', 'h') write('EXPIRE', 's', 1) write('SET', 'l', 1)",
    "other types": "write('RPUSH', 'l', 3) write('LPOP', 'l') write('SADD', 's', 'c') write('ZADD', 'none', 1, 'a')",
    "a key that is a number": "write('HSET', 123456789012345, 'a', 2) write('SET', 5, 'x') write('HSET', '5', 'a', 1)",
}


def whole(world: World) -> dict[str, object]:
    """Return all keys of the model with their values, and whether each has a time to live of more than a minute."""
    found: dict[str, object] = {}
    for key in sorted(world.ask("KEYS", "*")):
        if not key.startswith("projection:"):
            read = {"hash": "HGETALL", "list": "LRANGE", "set": "SMEMBERS", "string": "GET"}[world.ask("TYPE", key)]
            more = (0, -1) if read == "LRANGE" else ()
            found[key] = (world.ask(read, key, *more), world.ask("TTL", key) > 60)
    return found


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_refused_event_leaves_every_key_as_it_was(world: World, events: Events, run: Any, written: str) -> None:
    world.ask("HSET", "h", "a", 1, "n", 7)
    world.ask("HSET", "123456789012345", "a", 1)
    world.ask("RPUSH", "l", 1, 2)
    world.ask("SADD", "s", "a", "b")
    for key in ("h", "s"):
        world.ask("EXPIRE", key, 1_000)
    before = whole(world)
    events.make()
    events.send((1, "k"))
    run(definition(f"{written} write('HINCRBY', 'h', 'n', 'no number')"))
    world.reach(1)
    assert [key for key, _ in world.parked()] == ["k"]
    assert whole(world) == before


def test_of_a_large_hash_only_the_fields_that_change_are_copied(world: World, events: Events, run: Any) -> None:
    world.ask("HSET", "counts", *(part for number in range(2_000) for part in (f"old{number}", number)))
    events.make()
    events.fill(1, 50)
    run(definition("write('HINCRBY', 'counts', e.key, 1)\nwrite('HSET', 'last', e.key, e.seq)"))
    world.reach(50)
    assert "cmdstat_dump" not in world.ask("INFO", "commandstats")
    assert world.ask("HLEN", "counts") == 2_007


@pytest.mark.parametrize("count", [3_000, 5_000])
def test_a_command_of_many_arguments_is_carried_out_or_refused_and_others_are_applied_once(
    world: World, events: Events, run: Any, count: int
) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "b"), payload={"i": 2, "many": [0] * count})
    events.send((3, "c"))
    fields = "for i = 1, #e.data.many do e.data.many[i] = i end"
    many = f"if e.data.many then {fields} write('SADD', 'many', unpack(e.data.many)) end"
    run(definition(f"{many}\n{TRAIL}"))
    world.reach(3)
    good = count < 4_000
    assert world.ask("SCARD", "many") == (count if good else 0)
    assert world.trail() == fold((1, "a"), *([(2, "b")] if good else []), (3, "c"))
    assert [key for key, _ in world.parked()] == ([] if good else ["b"])


def test_many_fields_of_many_commands_are_put_back(world: World, events: Events, run: Any) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "b"), payload={"i": 2, "many": True})
    events.send((3, "c"))
    many = "for i = 1, 9000 do write('HSET', 'many', 'f' .. i, i) end write('HINCRBY', 'many', 'f1', 'x')"
    run(definition(f"if e.data.many then {many} end\n{TRAIL}"))
    world.reach(3)
    assert world.ask("EXISTS", "many") == 0
    assert world.trail() == fold((1, "a"), (3, "c"))


@pytest.mark.parametrize("body", ["write('SET', e.key, e.data.i)", "read('GET', e.key) write('SET', 'seen', 1)"])
def test_an_event_that_names_the_projections_own_keys_is_refused_and_others_are_applied(
    world: World, events: Events, run: Any, body: str
) -> None:
    events.make()
    own = prefix_of("trail", 0)
    keys = [f"{own}:state", f"{own}:parked", "projection:{other.1.0}:state"]
    events.send((1, "a"), *((seq, key) for seq, key in enumerate(keys, 2)), (5, "projection:mine"), (6, "b"))
    run(definition(f"{body}\n{TRAIL}"))
    world.reach(6)
    assert {key for key, _ in world.parked()} == set(keys)
    assert world.trail() == fold((1, "a"), (5, "projection:mine"), (6, "b"))


@pytest.mark.parametrize("name", ["state", "prefix", "queue", "writes", "batch", "place", "handlers", "none", "read"])
def test_a_name_that_a_handler_forgets_to_make_local_is_none_of_ours(
    world: World, events: Events, run: Any, name: str
) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "b"), payload={"i": 2, "bad": True})
    events.send((3, "c"))
    run(definition(f"{TRAIL}\nif e.data.bad then {name} = 'mine' end"))
    world.reach(3)
    parked = [] if name == "read" else ["b"]  # that is a parameter: its own
    assert [key for key, _ in world.parked()] == parked
    assert world.trail() == fold((1, "a"), *([] if parked else [(2, "b")]), (3, "c"))


@pytest.mark.parametrize(
    "lua",
    [
        "redis.call('SET', 'around', 1)",
        "redis.pcall('SET', 'around', 1)",
        "if server then server.call('SET', 'around', 1) end",
        "KEYS[1] = 'around'",
        "ARGV[3] = '{}'",
        "write('SET', 'around', #ARGV[2])",
    ],
)
def test_a_handler_that_goes_around_write_waits_and_nothing_is_written(
    world: World, events: Events, run: Any, lua: str
) -> None:
    events.make()
    events.send((1, "a"))
    run(definition(lua))
    wait_until("it waits", lambda: "call read and write" in world.state().get("error", ""))
    assert (world.ask("EXISTS", "around"), world.state()["position"], world.parked()) == (0, "0", [])


def test_what_a_handler_does_to_its_event_changes_nothing_else(world: World, events: Events, run: Any) -> None:
    """An event is parked as it came, under its own key and seq."""
    events.make()
    events.send((1, "a"), (2, "b"), payload={"i": "x"})
    events.send((3, "a"), (4, "c"))
    change = "local key = e.key e.key, e.seq, e.stream_seq, e.topic, e.id = 'other', '9', '9', 'other', 'other'"
    run(definition(f"{change}\n{TRAIL.replace('e.key', 'key')}"))
    world.reach(4)
    assert [key for key, _ in world.parked()] == ["a", "b", "a"]
    prefix = prefix_of("trail", 0)
    rows = [world.ask("HMGET", f"{prefix}:parked:{number}", "seq", "stream_seq", "subject") for number in (1, 2, 3)]
    assert rows == [[seq, seq, "orders.placed"] for seq in ("1", "2", "3")]
    assert world.trail() == fold((4, "c"))
    holds_for(1, "it stays", lambda: world.state()["position"] == "4")
