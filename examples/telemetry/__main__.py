"""``python -m examples.telemetry``: devices send, faults strike, and the read models must equal what was committed."""

import json
import sys
import threading
import time
import uuid
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from redis import Redis, exceptions

from examples.telemetry.api import Api
from examples.telemetry.command import create_tables
from examples.telemetry.fold import Fold, Stats, fold
from examples.traffic import Client, Traffic, main, run, verdict
from examples.web import Web
from examples.world import World, world

_PROJECTIONS = Path(__file__).with_name("projections")
_REGIONS = ("north", "south", "east")
_DEVICES = 12
# What a service in Go inserts (README.md): no key, no version.
_GO_INSERT = "INSERT INTO outbox_events (id, topic, payload, created_at) VALUES (%s, %s, %s, %s)"


class Devices(Traffic):
    """Threads that send measurements, some of them twice, some at once, some late."""

    def __init__(self, port: int, write_dsn: str, rate: float, seed: int) -> None:
        super().__init__([self._send, self._send, self._insert], seed)
        self._client = Client(port)
        self._write_dsn = write_dsn
        self._rate = rate
        self.sent = 0
        self.repeated = 0

    def _send(self, chance: Random) -> None:
        while not self.pause(2 / self._rate * chance.uniform(0.5, 1.5)):
            device = f"device-{chance.randrange(_DEVICES):02}"
            late_ms = chance.choice((0, 0, 0, 60_000))
            body = {
                "region": _REGIONS[int(device[-2:]) % len(_REGIONS)],
                "temperature": round(chance.uniform(-20, 40), 3),
                "humidity": round(chance.uniform(0, 100), 3),
                "measured_at_ms": int(time.time() * 1000) - late_ms,
            }
            key = str(uuid.UUID(int=chance.getrandbits(128)))
            answers: list[Any] = []
            times = chance.choice((1, 1, 1, 2))
            threads = [threading.Thread(target=self._post, args=(device, key, body, answers)) for _ in range(times)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with self.lock:
                self.sent += 1
                self.repeated += times - 1
                if len(answers) != times or any(one != answers[0] for one in answers):
                    self.faults.append(f"a measurement that was sent {times} times got {answers}")

    def _post(self, device: str, key: str, body: dict[str, Any], answers: list[Any]) -> None:
        try:
            _, answer, _ = self._client.ask(f"/devices/{device}/measurements", body, Idempotency_Key=key)
            answers.append(answer)
        except OSError as error:
            answers.append(str(error))

    def _insert(self, chance: Random) -> None:
        with psycopg.connect(self._write_dsn, autocommit=True) as conn:
            while not self.pause(10 / self._rate):
                payload = {
                    "device_id": f"old-{chance.randrange(3)}",
                    "temperature": round(chance.uniform(0, 30), 1),
                    "humidity": round(chance.uniform(0, 100), 1),
                    "timestamp": int(time.time()),
                }
                now = conn.execute("SELECT now()").fetchone()
                row = (str(uuid.uuid4()), "telemetry.ingested", json.dumps(payload), None if now is None else now[0])
                conn.execute(_GO_INSERT, row)
                with self.lock:
                    self.sent += 1


def committed(here: World) -> Fold:
    """Fold what was committed, by the outbox itself."""
    with psycopg.connect(here.write_dsn, autocommit=True) as conn:
        return fold(payload for (payload,) in conn.execute("SELECT payload FROM outbox_events ORDER BY seq").fetchall())


def read(here: World) -> Fold:
    """Read both models."""
    found = Fold()
    with Redis.from_url(here.redis.url, decode_responses=True) as redis:
        for key in redis.scan_iter("device:stats:*"):
            row: Any = redis.hgetall(key)
            names = ("count", "sum_temperature_mc", "sum_humidity_mp", "last_seen_ms")
            found.devices[key.removeprefix("device:stats:")] = Stats(*(int(row[name]) for name in names))
    with psycopg.connect(here.read_dsn, autocommit=True) as conn:
        query = "SELECT region, count, sum_temperature_mc, sum_humidity_mp FROM region_totals.totals"
        for region, *numbers in conn.execute(query).fetchall():
            found.regions[region] = Stats(*(int(number) for number in numbers))
    return found


def differences(wanted: Fold, found: Fold) -> list[str]:
    """Report how the models differ from the fold; regions keep no time."""
    regions = {
        name: Stats(one.count, one.sum_temperature_mc, one.sum_humidity_mp) for name, one in wanted.regions.items()
    }
    pairs = [("device", wanted.devices, found.devices), ("region", regions, found.regions)]
    return [
        f"{kind} {name}: {there.get(name)}, and committed was {must.get(name)}"
        for kind, must, there in pairs
        for name in sorted(must.keys() | there.keys())
        if must.get(name) != there.get(name)
    ]


def show(seconds: float, rate: float, seed: int) -> int:
    """Run the example; return the exit code."""
    with world(with_redis=True) as here:
        with psycopg.connect(here.write_dsn) as conn:
            create_tables(conn)
        relay = here.relay("TELEMETRY", "telemetry.>,outbox.watermark")
        runner = here.runner(_PROJECTIONS)
        api = Api(here.write_dsn, here.read_dsn, here.redis.url)
        try:
            with Web(api.routes) as web:
                devices = Devices(web.port, here.write_dsn, rate, seed)
                faults = {
                    "nats-server is killed": (0.25, here.nats.kill),
                    "nats-server is back": (0.35, here.nats.start),
                    "the runner of the projections is killed": (0.45, runner.kill),
                    "another runner starts": (0.55, runner.restart),
                    "Redis is killed": (0.7, here.redis.kill),
                    "Redis is back": (0.8, here.redis.start),
                }
                found = run(
                    devices,
                    seconds,
                    faults,
                    lambda: _line(here, api, devices),
                    lambda: differences(committed(here), read(here)),
                    f"http://127.0.0.1:{web.port}/ shows the lag",
                )
                stored = sum(one.count for one in committed(here).devices.values())
                if stored != devices.sent:
                    found.append(f"{stored} measurements were committed, and {devices.sent} were sent")
            relay.check()
        finally:
            runner.stop()
            relay.stop()
    return verdict(
        [*devices.faults, *found],
        f"{devices.sent} measurements, {devices.repeated} sent twice: both read models are exactly their fold",
    )


def _line(here: World, api: Api, devices: Devices) -> str:
    try:
        with Redis.from_url(here.redis.url, decode_responses=True) as redis:
            state: Any = redis.hgetall("projection:{device_stats.1.0}:state")
        lags = ", ".join(f"{name} {count} behind, {lag:.1f} s" for name, (count, lag) in api.lags().items())
    except (OSError, psycopg.Error, exceptions.RedisError):
        return f"sent {devices.sent}, sent twice {devices.repeated}; the read models cannot be read now"
    stream = f"read to {state.get('position', 0)} of the stream, {state.get('repeats', 0)} repeats"
    return f"sent {devices.sent}, sent twice {devices.repeated}; {stream}; {lags}"


if __name__ == "__main__":
    sys.exit(main(__doc__, show, rate=40.0))
