"""The runner of a projection is killed at every await that it has: the model is the fold, up to its position."""

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from redis import Redis

from relay.demo.redis_server import RedisServer
from relay.demo.servers import free_port
from relay.projection.in_redis.ledger import prefix_of
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_redis import TRAIL
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import STREAM, TABLES, Events, headers_of
from tests.support.faulty_relay.failpoints import INSTANTS
from tests.support.fix_relay import TIMEOUT_S, Relay, wait_until
from tests.support.fix_stream import Streams

KEYS = 5
EVENTS = 20
# What the way of an event consists of, by words of the points' names, as in `test_kills`.
THE_WAY = {
    "connect": "Way.connect > connect",
    "claim": ".claim > ",
    "go on": "begin_term > ",
    "look at the stream": "begin_term > look_at",
    "a consumer": "open_consumer",
    "read": "StreamConsumer.batch",
    "a jump": "Term._unproved_jump",
    "bits": ".chunks > ",
    "apply": ".apply > ",
    "commit": "Applier.moving > __aexit__ > Store.moving > __aexit__",
    "beat": "Settler.beat > ",
    "look while idle": "Term._look_while_idle",
    "pass over": "Settler.pass_over",
    "park": ".with_care",
    "do as an operator wants": "Settler._do_as_wanted",
}
IN_REDIS = {what: words for what, words in THE_WAY.items() if what not in ("commit", "park")}
# Met before a stream was seen for the first time, or while there are no tables.
WHILE_NEW = (".prepare", "_make", "follow_stream")
# Met only if an event is refused, or one that was is to be given up.
OF_REFUSED = (".with_care", "_settle > _limit", ".park", ".count_applied", ".save_bits", "o_as_wanted")
# The one that happens to be the first to use a connection makes it.
BY_CHANCE = ("> Database.connection",)

Message = tuple[str, object, dict[str, str | None]]
Looked = tuple[int, dict[str, list[int]], set[int]]


class Model(Protocol):
    """A read model, and what is written down beside it."""

    def settings(self) -> dict[str, str]:
        """Return where a runner finds it."""

    def write(self, folder: Path) -> None:
        """Write the files of the projection."""

    def let_go(self) -> None:
        """Have the lease of a runner that is gone run out; one is said to have crashed."""

    def forget(self) -> None:
        """Take everything away."""

    def skip_refused(self) -> None:
        """Ask the owner to give up what was refused, so that what waits behind it is applied."""

    def lease_until(self) -> object:
        """Return until when the runner holds its lease: another value after each beat."""

    def look(self) -> Looked:
        """Return the position, the model, and the sequences of what is parked, as of one moment."""


class InPostgres:
    """The trail of the keys, in PostgreSQL."""

    def __init__(self, conn: "psycopg.Connection[tuple[Any, ...]]", mode: Mode) -> None:
        self._conn = conn
        self._mode = mode

    def settings(self) -> dict[str, str]:
        return {"RELAY_POSTGRES__DSN": self._conn.info.dsn}

    def write(self, folder: Path) -> None:
        text = FILE.replace("MODE", self._mode).replace('"orders.placed"', '"orders.>"')
        (folder / "trail.toml").write_text(text, "utf-8")
        (folder / "trail.sql").write_text(TABLES, "utf-8")

    def let_go(self) -> None:
        with suppress(psycopg.errors.UndefinedTable):
            self._conn.execute("UPDATE projection.state SET owner = NULL, lease_until = '-infinity', crashes = 1")

    def forget(self) -> None:
        self._conn.execute("DROP SCHEMA IF EXISTS projection, trail CASCADE")

    def skip_refused(self) -> None:
        with suppress(psycopg.errors.UndefinedTable):
            self._conn.execute("UPDATE projection.parked SET wanted = 'skip' WHERE reason IS NOT NULL")

    def lease_until(self) -> object:
        return self._conn.execute("SELECT lease_until FROM projection.state").fetchone()

    def look(self) -> Looked:
        try:
            (found,) = self._conn.execute(
                "SELECT position, (SELECT json_object_agg(key, numbers) FROM trail.trail),"
                " ARRAY(SELECT stream_seq FROM projection.parked) FROM projection.state"
            )
        except psycopg.errors.UndefinedTable:
            return 0, {}, set()
        return found[0], found[1] or {}, set(found[2])


class InRedis:
    """The trail of the keys, in Redis."""

    def __init__(self, server: RedisServer, redis: Redis) -> None:
        self._url = server.url
        self._redis = redis
        self._prefix = prefix_of("trail", 0)

    def settings(self) -> dict[str, str]:
        return {"RELAY_REDIS__URL": self._url, "RELAY_POSTGRES__DSN": "postgresql://localhost:1/none"}

    def write(self, folder: Path) -> None:
        (folder / "trail.toml").write_text(
            f'[projection]\nname = "trail"\nstream = "{STREAM}"\nsubjects = ["orders.>"]\nstore = "redis"\n'
            f"[[on]]\ntopic = \"orders.>\"\nlua = '''{TRAIL}'''\n",
            "utf-8",
        )

    def let_go(self) -> None:
        if self._redis.exists(f"{self._prefix}:state"):
            self._redis.hset(f"{self._prefix}:state", mapping={"owner": "", "lease_until": 0, "crashes": 1})

    def forget(self) -> None:
        self._redis.flushall()

    def skip_refused(self) -> None:
        for number in map(str, self._redis.zrange(f"{self._prefix}:parked", 0, -1)):
            if self._redis.hget(f"{self._prefix}:parked:{number}", "reason"):
                self._redis.hset(f"{self._prefix}:parked:{number}", "wanted", "skip")
                self._redis.sadd(f"{self._prefix}:wanted", number)

    def lease_until(self) -> object:
        return self._redis.hget(f"{self._prefix}:state", "lease_until")

    def look(self) -> Looked:
        script = """
            local found, parked = {}, {}
            for _, key in ipairs(redis.call('KEYS', 'trail:*')) do
                found[#found + 1] = {key, redis.call('LRANGE', key, 0, -1)}
            end
            for _, number in ipairs(redis.call('ZRANGE', KEYS[1] .. ':parked', 0, -1)) do
                parked[#parked + 1] = redis.call('HGET', KEYS[1] .. ':parked:' .. number, 'stream_seq')
            end
            return {redis.call('HGET', KEYS[1] .. ':state', 'position') or '0', found, parked}
        """
        answer: Any = self._redis.eval(script, 1, self._prefix)
        position, found, parked = answer
        numbers = {key.removeprefix("trail:"): [int(one) for one in own] for key, own in found}
        return int(position), numbers, {int(one) for one in parked}


class World:
    """A stream that is filled, a runner that reads it, and the model that it keeps."""

    def __init__(self, model: Model, streams: Streams, folder: Path) -> None:
        self.model = model
        self._events = Events(streams, streams.url)
        model.write(folder)
        environment = {
            **model.settings(),
            "RELAY_NATS__SERVERS": streams.url,
            "RELAY_HTTP__PORT": str(free_port()),
            "RELAY_PROJECTION_HTTP__ENABLED": "false",
            "RELAY_LOG__FORMAT": "json",
        }
        self.runner = Relay(folder, environment, ("projection", "run", str(folder)))
        self._points = folder / "points"
        self._seq = 0
        # By sequence of the stream: key and number of an event, None for what leaves nothing in the model.
        self._stored: list[tuple[str, int] | None] = []

    def begin(self) -> None:
        """Make the stream, and forget what the model has kept of an earlier one."""
        streams = self._events.streams
        for name in streams.api("STREAM.NAMES")["streams"] or ():
            streams.api(f"STREAM.DELETE.{name}")
        streams.make(STREAM, "orders.>", "other.>")
        self.model.forget()
        self._stored.clear()

    def fill(self, *, refused: bool) -> None:
        """Store new events, a repeat, and messages of others; if asked for, one that is refused and one behind it."""
        own = [(seq, f"k{seq % KEYS}") for seq in range(self._seq + 1, self._seq + 1 + EVENTS)]
        bad = f"bad{self._seq}"
        others = [(self._seq + EVENTS + 1, bad), (self._seq + EVENTS + 2, bad)] if refused else []
        self._seq += EVENTS + len(others)
        foreign: Message = ("other.thing", 1, {})
        events: list[Message] = [
            ("orders.placed", {"i": seq}, headers_of(seq, key)) for seq, key in (*own, *others, own[0])
        ]
        if refused:
            events[EVENTS] = ("orders.placed", {"i": "x"}, headers_of(*others[0]))
        self._events.store([foreign, *events, foreign])
        left = [(key, seq) for seq, key in others[1:]]
        self._stored += [None, *((key, seq) for seq, key in own), *([None] if refused else []), *left, None, None]

    def is_settled(self) -> bool:
        """Report whether everything is settled."""
        return self.model.look()[0] == len(self._stored)

    def check(self, when: str) -> None:
        """Hold the model against the fold of what the stream holds, up to its position and but for what is parked."""
        position, found, parked = self.model.look()
        fold: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(self._stored[:position], 1):
            if one is not None and place not in parked:
                fold[one[0]].append(one[1])
        assert found == dict(fold), when

    def points(self) -> list[str]:
        """Let a runner settle what is there, and a second one what comes then; return each await that they stood at."""
        self.begin()
        self.fill(refused=False)
        self.runner.patch(record=str(self._points), tidy="1")
        self.runner.start()
        wait_until("all is settled", self.is_settled)
        self.runner.kill()
        self.model.let_go()
        self.fill(refused=True)
        self.runner.start()
        wait_until("this as well", self.is_settled)
        self.model.skip_refused()
        resting = ("Settler.beat", "_look_while_idle", "_do_as_wanted", "no_crashes")
        wait_until("it rests", lambda: all(one in self._points.read_text("utf-8") for one in resting))
        wait_until("what was refused is given up", lambda: not self.model.look()[2])
        self.runner.kill()
        return list(dict.fromkeys(self._points.read_text("utf-8").splitlines()))

    def kill_at(self, point: str, instant: str) -> bool:
        """Start a runner that dies at a point, on what earlier ones have left; False if it did not come there."""
        if any(words in point for words in WHILE_NEW):
            self.begin()
        self.model.let_go()
        self.model.skip_refused()
        self.fill(refused=any(words in point for words in OF_REFUSED))
        self.runner.patch(failpoint=f"{instant} {point}", tidy="1")
        self.runner.start()
        died = self._dies()
        if not died:
            self.runner.kill()
        assert self.runner.wait() == -9, f"{instant} {point}"
        self.check(f"{instant} {point}")
        return died

    def end(self) -> None:
        """Have a runner settle what is left."""
        self.model.let_go()
        self.runner.patch()
        self.runner.start()
        wait_until("all is settled", self.is_settled)
        self.model.skip_refused()
        wait_until("nothing is parked", lambda: not self.model.look()[2])
        self.check("at the end")
        assert "Traceback" not in self.runner.text(), self.runner.text()[-3000:]

    def _dies(self) -> bool:
        deadline = time.monotonic() + TIMEOUT_S
        beats: set[object] = set()
        while not self.runner.ends_within(0.05):
            if time.monotonic() > deadline:
                return False
            if beats or self.is_settled():
                if not beats:
                    self.model.skip_refused()
                # Points of a runner at rest come with its beat: from the second to the third that is seen it is a whole
                # one. What was wanted before it began is done by then.
                beats.add(self.model.lease_until())
                if len(beats) == 3:
                    return False
        return True


def kill_everywhere(world: World, points: Sequence[str]) -> None:
    """Kill a runner at each point and instant; at most a tenth may not be come to."""
    # What is parked keeps others from being applied by columns: last.
    ordered = sorted(points, key=lambda point: any(words in point for words in OF_REFUSED))
    passed_by = [
        f"{instant} {point}"
        for point in ordered
        for instant in INSTANTS
        if not world.kill_at(point, instant) and not any(words in point for words in BY_CHANCE)
    ]
    assert len(passed_by) <= len(points) * len(INSTANTS) // 10, "\n".join(passed_by)
    world.end()


@pytest.mark.timeout(420)
@pytest.mark.parametrize("mode", [Mode.SET, Mode.EACH])
def test_a_kill_at_any_await_of_a_runner_leaves_the_fold_up_to_its_position(
    empty_database: str, streams: Streams, tmp_path: Path, mode: Mode
) -> None:
    """Of mode each only what differs is gone through: how events are applied."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        world = World(InPostgres(conn, mode), streams, tmp_path)
        try:
            points = world.points()
            for what, words in THE_WAY.items():
                assert [point for point in points if words in point], f"no await of: {what}"
            if mode is Mode.EACH:
                points = [point for point in points if "Applier." in point]
            kill_everywhere(world, points)
        finally:
            world.runner.end()


@pytest.mark.timeout(300)
def test_a_kill_at_any_await_of_a_runner_in_redis_leaves_the_fold_up_to_its_position(
    streams: Streams, tmp_path: Path
) -> None:
    """Only what differs from PostgreSQL is gone through: each question to Redis."""
    with RedisServer(tmp_path / "redis") as server, Redis(port=server.port, decode_responses=True) as redis:
        world = World(InRedis(server, redis), streams, tmp_path)
        try:
            points = world.points()
            for what, words in IN_REDIS.items():
                assert [point for point in points if words in point], f"no await of: {what}"
            kill_everywhere(world, [point for point in points if "Redis" in point])
        finally:
            world.runner.end()
