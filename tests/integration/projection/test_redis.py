"""A model in Redis is the fold of the stream as well: through kills, lost data, no memory, wrong types and poison."""

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from relay.config.settings import load
from relay.demo.redis_server import RedisServer
from relay.errors import ConfigError
from relay.projection.definition import Handler
from relay.projection.in_redis.client import Client
from relay.projection.in_redis.ledger import prefix_of
from relay.projection.in_redis.operator import want
from relay.projection.operator import ParkedEvent
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_redis import TRAIL, World, definition
from tests.integration.projection.fix_runner import Running, run_by_command
from tests.integration.projection.test_metrics import Http
from tests.integration.projection.world import STREAM, Events, filled, fold
from tests.support.fix_relay import holds_for, wait_until
from tests.support.relay_cli import done, relay


def test_the_model_is_the_fold_of_the_stream(world: World, events: Events, run: Any) -> None:
    events.make()
    events.fill(1, 2_500)
    run()
    world.reach(2_500)
    events.fill(5, 3)
    events.fill(2_501, 10)
    world.reach(2_513)
    assert world.trail() == filled(1, 2_510)
    assert (world.state()["applied"], world.state()["repeats"]) == ("2510", "3")


def test_what_is_no_json_is_refused_as_in_postgresql(world: World, events: Events, run: Any) -> None:
    events.make()
    for seq, value in enumerate((float("nan"), float("inf")), 1):
        events.send((seq, f"k{seq}"), payload={"i": value})
    events.send((3, "b"))
    run()
    world.reach(3)
    assert (world.trail(), [key for key, _ in world.parked()]) == ({"b": [3]}, ["k1", "k2"])
    assert world.ask("EVAL", "return tostring(cjson.decode('[0x10]')[1])", 0) == "16"


@pytest.mark.parametrize("failure", ["error()", "error(false)", "error(e.data.reason)", "error(nil, 0)"])
def test_an_error_without_a_text_refuses_the_event_too(world: World, events: Events, run: Any, failure: str) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "k"), payload={"i": 2, "bad": True})
    events.send((3, "k"), (4, "b"))
    lua = f"{TRAIL} if e.data.bad then {failure} end"
    run(definition(handlers=(Handler("orders.>", None, Mode.EACH, lua=lua),)))
    world.reach(4)
    assert world.trail() == {"a": [1], "b": [4]}
    assert world.parked() == [("k", "refused without a reason"), ("k", "")]


def test_a_parked_event_that_nothing_handles_any_more_stays_in_redis_too(
    world: World, events: Events, run: Any
) -> None:
    events.make()
    events.send((1, "a"), payload={"i": "x"})
    first = run()
    world.reach(1)
    first.stop()
    run(definition(handlers=(Handler("orders.other", None, Mode.EACH, lua=TRAIL),)))
    world.ask("HSET", f"{prefix_of('trail', 0)}:parked:1", "wanted", "retry")
    world.ask("SADD", f"{prefix_of('trail', 0)}:wanted", 1)
    told = "nothing is defined for orders.placed any more"
    wait_until("it is refused again", lambda: world.parked() == [("a", told)])
    assert world.state()["applied"] == "0"


def test_several_runners_apply_each_event_once(world: World, events: Events, run: Any) -> None:
    events.make()
    for _ in range(3):
        run(definition(partitions=2))
    wait_until("claimed", lambda: bool(world.state(0).get("owner")) and bool(world.state(1).get("owner")))
    for first in range(1, 601, 200):
        events.fill(first, 200)
        # Whoever owns it loses its lease in the middle: another one claims at once.
        world.ask("HSET", f"{prefix_of('trail', 0)}:state", "owner", "", "lease_until", 0)
    wait_until("all", lambda: [world.state(one)["position"] for one in (0, 1)] == ["600", "600"])
    assert world.trail() == filled(1, 600)


def test_a_stream_that_was_made_new_repeats_nothing(world: World, events: Events, run: Any) -> None:
    events.make()
    events.fill(1, 50)
    run()
    world.reach(50)
    events.streams.api(f"STREAM.DELETE.{STREAM}")
    events.make()
    events.fill(31, 40)
    wait_until("all is applied", lambda: world.state()["applied"] == "70")
    assert world.trail() == filled(1, 70)
    assert world.state()["repeats"] == "20"


def test_a_kill_loses_nothing_and_repeats_nothing(world: World, events: Events, run: Any) -> None:
    events.make()
    events.fill(1, 3_000)
    run()
    wait_until("begun", lambda: int(world.state().get("position", 0)) > 0)
    world.server.kill()
    events.fill(3_001, 500)
    world.server.start()
    world.reach(3_500)
    assert world.trail() == filled(1, 3_500)


def test_a_server_that_has_lost_its_last_writes_gets_them_again(
    world: World, events: Events, run: Any, tmp_path: Path
) -> None:
    events.make()
    events.fill(1, 100)
    run()
    world.reach(100)
    copy = tmp_path / "copy"
    shutil.copytree(world.server.directory, copy)
    events.fill(101, 100)
    world.reach(200)
    world.server.kill()
    world.server.lose_everything()
    shutil.copytree(copy, world.server.directory, dirs_exist_ok=True)
    world.server.start()
    events.fill(201, 50)
    world.reach(250)
    assert world.trail() == filled(1, 250)


def test_a_server_that_has_lost_everything_is_filled_from_the_stream(world: World, events: Events, run: Any) -> None:
    run()
    world.lose_everything(events)
    events.fill(301, 5)
    world.reach(305)
    assert world.trail() == filled(1, 305)


def test_lost_data_that_the_stream_no_longer_holds_stops_the_projection(world: World, events: Events, run: Any) -> None:
    run()
    world.lose_everything(events, lambda: events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 200}))
    wait_until("stopped", lambda: world.state().get("status") == "stopped")
    assert "no longer holds sequences 1 to 199" in world.state()["error"]
    assert world.state()["gap_last"] == "199"


def test_without_memory_it_waits_and_nothing_is_half_done(world: World, events: Events, run: Any) -> None:
    events.make()
    events.fill(1, 100)
    run()
    world.reach(100)
    world.ask("CONFIG", "SET", "maxmemory", "1")
    events.fill(101, 100)
    # Redis 6.2 counts what a script meets as ERR, and newer servers by its name.
    refused = {"errorstat_OOM", "errorstat_ERR"}
    wait_until("it is refused", lambda: refused & set(world.ask("INFO", "errorstats")))
    assert world.state()["position"] == "100"
    world.ask("CONFIG", "SET", "maxmemory", "0")
    world.reach(200)
    assert world.trail() == filled(1, 200)
    assert world.parked() == []


def test_a_server_that_cannot_write_to_its_disk_is_an_outage_and_nothing_is_half_done(
    tmp_path: Path, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "no-room"
    events.make()
    events.fill(1, 100)
    with RedisServer(directory, settings={"appendonly": "no", "save": "3600 1000000"}) as server:
        world = World(server)
        settings = load(None, {"redis.url": server.url, "nats.servers": (events.url,)}, environ={})
        running = Running([definition()], settings)
        try:
            world.reach(100)
            # A snapshot cannot take its place, so the server refuses every write, as it does once the disk is full.
            in_the_way = directory / "dump.rdb"
            in_the_way.mkdir()
            world.ask("BGSAVE")
            wait_until("no snapshot", lambda: world.ask("INFO")["rdb_last_bgsave_status"] == "err")
            with pytest.raises(ResponseError, match="MISCONF"):
                world.ask("SET", "a", "b")
            events.fill(101, 100)
            wait_until("it waits, and says why", lambda: "MISCONF" in str([vars(one) for one in caplog.records]))
            assert (world.state()["position"], world.parked()) == ("100", [])
            assert not [one for one in caplog.records if vars(one).get("relay_action") == "projection.stopped"]
            in_the_way.rmdir()
            world.ask("BGSAVE")
            world.reach(200)
            assert world.trail() == filled(1, 200)
            assert world.parked() == []
        finally:
            running.stop()


def test_a_server_that_would_evict_is_not_written_to(world: World, events: Events, run: Any) -> None:
    events.make()
    events.fill(1, 10)
    world.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    run()
    wait_until(
        "it has asked twice", lambda: world.ask("INFO", "commandstats").get("cmdstat_info", {}).get("calls", 0) > 1
    )
    assert world.ask("DBSIZE") == 0
    world.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    world.reach(10)


def test_a_wrong_type_parks_its_key_and_leaves_no_half_of_it(world: World, events: Events, run: Any) -> None:
    events.make()
    world.ask("SET", "trail:hot", "no list")
    swapped = "write('HINCRBY', 'counts', e.key, 1)\nwrite('RPUSH', 'trail:' .. e.key, string.format('%.0f', e.data.i))"
    events.send((1, "hot"), (2, "b"), (3, "hot"), (4, "b"))
    run(definition(swapped))
    world.reach(4)
    assert [(key, reason[:9]) for key, reason in world.parked()] == [("hot", "WRONGTYPE"), ("hot", "")]
    world.ask("DEL", "trail:hot")
    assert world.trail() == fold((2, "b"), (4, "b"))
    prefix = prefix_of("trail", 0)
    world.ask("HSET", f"{prefix}:parked:1", "wanted", "retry")
    world.ask("SADD", f"{prefix}:wanted", 1)
    wait_until("retried", lambda: world.parked() == [])
    events.send((5, "hot"))
    world.reach(5)
    assert world.trail() == fold((2, "b"), (4, "b"), (1, "hot"), (3, "hot"), (5, "hot"))


def test_what_a_failed_event_had_written_is_taken_back(world: World, events: Events, run: Any) -> None:
    events.make()
    half = "write('HSET', 'seen', e.key, 1)\nwrite('HINCRBYFLOAT', 'sums', e.key, e.data.i)"
    world.ask("HSET", "seen", "old", "1")
    events.send((1, "a"))
    events.send((2, "b"), payload={"i": "much"})
    run(definition(half))
    world.reach(2)
    assert world.ask("HGETALL", "seen") == {"old": "1", "a": "1"}
    assert world.ask("HGETALL", "sums") == {"a": "1"}
    assert [key for key, _ in world.parked()] == ["b"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(5, "attempt to index"), ({"i": None}, "number expected"), ({}, "number expected")],
)
def test_poison_parks_its_key_and_others_flow(
    world: World, events: Events, run: Any, payload: object, reason: str
) -> None:
    events.make()
    events.send((1, "a"), (2, "b"))
    events.send((3, "a"), payload=payload)
    events.send((4, "a"), (5, "b"))
    run()
    world.reach(5)
    assert world.trail() == fold((1, "a"), (2, "b"), (5, "b"))
    assert [key for key, _ in world.parked()] == ["a", "a"]
    assert reason in world.parked()[0][1]


def test_the_empty_key_is_a_key_like_any_other(world: World, events: Events, run: Any) -> None:
    events.make()
    events.send((1, ""), payload={"i": []})
    events.send((2, ""), (3, "b"))
    run()
    world.reach(3)
    assert [(key, bool(reason)) for key, reason in world.parked()] == [("", True), ("", False)]
    assert world.ask("HGETALL", f"{prefix_of('trail', 0)}:parked_keys") == {"\x00": "2"}
    assert world.trail() == fold((3, "b"))


def test_all_poison_stops_the_projection(world: World, events: Events, run: Any) -> None:
    events.make()
    events.send((1, "good"))
    events.send(*((seq, f"k{seq}") for seq in range(2, 40)), payload={})
    run()
    wait_until("stopped", lambda: world.state().get("status") == "stopped")
    assert "in a row" in world.state()["error"]
    assert "the last at sequence 11 (" in world.state()["error"]
    assert world.state()["position"] == "10"
    assert len(world.parked()) == 9


def test_a_handler_that_calls_what_it_may_not_waits_and_parks_nothing(world: World, events: Events, run: Any) -> None:
    events.make()
    events.send((1, "a"))
    run(definition("write('FLUSHALL', 'x')"))
    wait_until("waits", lambda: "FLUSHALL cannot be called" in world.state().get("error", ""))
    assert (world.state()["position"], world.parked()) == ("0", [])


REFUSES = "if e.data.refuse then error(e.data.refuse, 0) end\n" + TRAIL


@pytest.mark.parametrize("on_refused", ["park", "skip", "stop"])
def test_no_log_line_and_no_status_repeats_what_a_handler_says_of_its_event(
    world: World, events: Events, run: Any, caplog: pytest.LogCaptureFixture, on_refused: str
) -> None:
    events.make()
    events.send((1, "a"), payload={"i": 1, "refuse": "ADA owes 12"})
    running = run(definition(REFUSES, on_refused=on_refused))

    def actions() -> set[str]:
        return {getattr(record, "relay_action", "") for record in caplog.records}

    wait_until("said", lambda: not actions().isdisjoint({"projection.refused", "projection.stopped"}))
    running.stop()
    told = [json.dumps(vars(record), default=str) for record in caplog.records] + [world.state()["error"]]
    assert any("refused" in one for one in told)
    assert not any("ADA" in one or "owes" in one for one in told)
    assert [reason for _, reason in world.parked()] == (["ADA owes 12"] if on_refused == "park" else [])


@pytest.mark.parametrize("text", ["NOPERM", "Wrong number of args", "misuse: FLUSHALL"])
def test_a_handlers_own_text_parks_its_event_whatever_it_says(
    world: World, events: Events, run: Any, text: str
) -> None:
    events.make()
    events.send((1, "a"), payload={"i": 1, "refuse": text})
    events.send((2, "b"))
    run(definition(REFUSES))
    world.reach(2)
    assert world.parked() == [("a", text)]
    assert world.trail() == fold((2, "b"))


FILE = """
[projection]
name = "trail"
store = "redis"
stream = "ORDERS"
subjects = "orders.>"
[[on]]
topic = "orders.placed"
lua = '''
LUA
'''
"""


@pytest.mark.parametrize("fault", ["the handler", "the policy", "a right"])
def test_a_fault_of_the_set_up_counts_as_configuration_and_not_as_an_outage(
    world: World, events: Events, empty_database: str, tmp_path: Path, fault: str
) -> None:
    events.make()
    events.send((1, "a"))
    path, url, served = tmp_path / "trail.toml", world.server.url, Http()
    path.write_text(FILE.replace("LUA", "write('FLUSHALL', 'x')" if fault == "the handler" else TRAIL), "utf-8")
    if fault == "the policy":
        world.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    if fault == "a right":
        world.ask("ACL", "SETUSER", "runner", "on", ">word", "~*", "+@all", "-@scripting")
        url = url.replace("redis://", "redis://runner:word@")
    port = str(served.port)
    with run_by_command(empty_database, events.url, path, RELAY_REDIS__URL=url, RELAY_PROJECTION_HTTP__PORT=port):
        wait_until("it is counted", lambda: served.value("failures_total", **{"class": "configuration"}))
        assert served.value("failures_total", **{"class": "outage"}) == 0


def test_a_file_is_checked_and_run(world: World, events: Events, empty_database: str, tmp_path: Path) -> None:
    events.make()
    path = tmp_path / "trail.toml"
    env = {"RELAY_NATS__SERVERS": events.url, "RELAY_REDIS__URL": world.server.url}
    path.write_text(FILE.replace("LUA", "write('SET', "), "utf-8")
    checked = relay(empty_database, "projection", "check", str(path), **env)
    assert (checked.exit_code, "compiling script" in checked.stdout) == (8, True)
    path.write_text(FILE.replace("LUA", TRAIL), "utf-8")
    done(empty_database, "projection", "check", str(path), **env)
    assert world.ask("DBSIZE") == 0
    assert relay(empty_database, "projection", "check", str(path), RELAY_NATS__SERVERS=events.url).exit_code == 8
    events.fill(1, 20)
    with run_by_command(empty_database, events.url, path, RELAY_REDIS__URL=world.server.url):
        world.reach(20)
    path.write_text(path.read_text("utf-8").replace("[[on]]", "version = 2\n[[on]]"), "utf-8")
    raised = relay(empty_database, "projection", "check", str(path), **env)
    assert (raised.exit_code, "version: its model is of version 1" in raised.stdout) == (8, True)
    assert world.trail() == filled(1, 20)
    assert world.state()["owner"] == ""


def test_the_doctor_says_how_each_projection_in_redis_is(
    world: World, events: Events, empty_database: str, run: Any
) -> None:
    def told(url: str) -> dict[str, tuple[str, str]]:
        environ = {"RELAY_NATS__SERVERS": events.url, "RELAY_REDIS__URL": url}
        found = json.loads(relay(empty_database, "doctor", "--output", "json", **environ).stdout)["findings"]
        return {one["check"]: (one["level"], one["seen"]) for one in found if one["part"] == "projections"}

    events.make()
    events.fill(1, 20)
    one = run()
    world.reach(20)
    assert told(world.server.url)["redis"][0] == "ok"
    assert told(world.server.url)["projection trail"] == ("ok", "running, at sequence 20 of its stream")
    one.stop()
    level, seen = told(world.server.url)["projection trail"]
    assert (level, seen.startswith("nobody runs it")) == ("fault", True)
    world.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    level, seen = told(world.server.url)["redis"]
    assert (level, "maxmemory-policy is allkeys-lru" in seen) == ("fault", True)
    assert told("redis://127.0.0.1:1/0")["redis"][0] == "fault"


def test_an_operator_sees_retries_skips_pauses_and_resumes(world: World, events: Events, run: Any) -> None:
    def command(*args: str) -> list[dict[str, Any]]:
        lines = done(None, "projection", "redis", *args, RELAY_REDIS__URL=world.server.url).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    events.make()
    events.send((1, "a"))
    events.send((2, "a"), (3, "b"), payload={})
    events.send((4, "a"))
    run()
    world.reach(4)
    (listed,) = command("list")
    assert (listed["name"], listed["position"], listed["parked"], listed["status"]) == ("trail", 4, 3, "running")
    assert [(one["number"], one["seq"], one["key"]) for one in command("parked", "trail")] == [
        (1, 2, "a"),
        (2, 3, "b"),
        (3, 4, "a"),
    ]
    retried = done(None, "projection", "redis", "retry", "trail", "--dry-run", RELAY_REDIS__URL=world.server.url)
    assert "retry 2 parked events" in retried.stderr  # the third only waits behind another one
    command("retry", "trail", "--key", "b", "--yes")
    wait_until("tried", lambda: world.ask("SCARD", f"{prefix_of('trail', 0)}:wanted") == 0)
    assert [one["number"] for one in command("parked", "trail")] == [1, 2, 3]
    assert command("list")[0]["applied"] == 1
    command("skip", "trail", "--number", "1", "--number", "2", "--yes")
    wait_until("skipped", lambda: command("parked", "trail") == [])
    assert world.trail() == fold((1, "a"), (4, "a"))
    assert command("list")[0]["applied"] == 2
    command("pause", "trail", "--yes")
    events.send((5, "a"))
    assert command("list")[0]["status"] == "paused"
    command("resume", "trail", "--yes")
    world.reach(5)
    assert relay(None, "projection", "redis", "pause", "none", RELAY_REDIS__URL=world.server.url).exit_code != 0


def test_a_retry_of_everything_leaves_what_somebody_has_asked_to_skip(world: World, events: Events, run: Any) -> None:
    events.make()
    events.send((1, "a"), (2, "b"), payload={})
    run()
    world.reach(2)
    # While it is paused, nothing that is asked for is done.
    for asked in (("pause", "trail"), ("skip", "trail", "--number", "1"), ("retry", "trail")):
        done(None, "projection", "redis", *asked, "--yes", RELAY_REDIS__URL=world.server.url)
    rows = [f"{prefix_of('trail', 0)}:parked:{number}" for number in (1, 2)]
    assert [world.ask("HGET", row, "wanted") for row in rows] == ["skip", "retry"]


def test_a_number_that_two_partitions_have_parked_is_skipped_in_the_one_that_is_named(
    world: World, events: Events, run: Any
) -> None:
    url = {"RELAY_REDIS__URL": world.server.url}
    keys = [next(key for key in "abcdefgh" if zlib.crc32(key.encode()) % 2 == one) for one in (0, 1)]
    events.make()
    events.send((1, keys[0]), (2, keys[1]), payload={})
    run(definition(partitions=2))
    wait_until("both are parked", lambda: [len(world.parked(one)) for one in (0, 1)] == [1, 1])
    refused = relay(None, "projection", "redis", "skip", "trail", "--number", "1", "--yes", **url)
    assert (refused.exit_code, "partitions 0, 1" in refused.stderr) == (1, True)
    assert all("wanted" not in world.ask("HGETALL", f"{prefix_of('trail', one)}:parked:1") for one in (0, 1))
    done(None, "projection", "redis", "skip", "trail", "--number", "1", "--partition", "1", "--yes", **url)
    wait_until("it is skipped", lambda: world.parked(1) == [])
    assert [key for key, _ in world.parked(0)] == [keys[0]]


async def test_asking_for_an_event_that_is_gone_leaves_nothing_behind(world: World) -> None:
    client = Client(world.server.url)
    gone = ParkedEvent(7, 0, "a", 1, 1, "orders.placed", "refused", None, 0.0)
    assert await want(client, "trail", [gone], "retry") == 0
    await client.close()
    assert world.ask("DBSIZE") == 0


def test_another_version_is_refused(world: World, events: Events, run: Any) -> None:
    events.make()
    events.fill(1, 3)
    first = run()
    world.reach(3)
    first.stop()
    second = run(definition(version=2))
    wait_until("it has ended", lambda: not second.running)
    with pytest.raises(ConfigError, match="version 1"):
        second.stop()


def test_a_server_that_begins_to_evict_is_not_written_to_any_more(
    world: World, events: Events, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The policy is set while the projection works; and its connection is to be made again."""
    events.make()
    events.fill(1, 10)
    run()
    world.reach(10)
    world.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    reason = "its maxmemory-policy is allkeys-lru"
    wait_until("it waits, and says why", lambda: reason in world.state().get("error", ""))
    assert reason in str([vars(one) for one in caplog.records])
    events.fill(11, 10)
    world.ask("CLIENT", "KILL", "TYPE", "normal")
    holds_for(3, "nothing is written", lambda: world.state()["position"] == "10")
    world.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    world.reach(20)


@pytest.mark.parametrize("way", ["emptied", "set back", "paused"])
def test_why_a_partition_was_lost_is_told(
    world: World, events: Events, run: Any, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    events.make()
    events.fill(1, 10)
    run()
    world.reach(10)
    state = f"{prefix_of('trail', 0)}:state"
    match way:
        case "emptied":
            world.ask("FLUSHALL")
        case "set back":
            world.ask("HINCRBY", state, "epoch", -1)
        case "paused":
            world.ask("HSET", state, "paused", "1")

    def reasons() -> str:
        return str([vars(one) for one in caplog.records if vars(one).get("relay_action") == "projection.lost"])

    said = {"emptied": "is gone, as after FLUSHALL", "set back": "was changed or set back", "paused": "has paused it"}
    wait_until("it is told", lambda: said[way] in reasons())
    assert "another owner" not in reasons()
