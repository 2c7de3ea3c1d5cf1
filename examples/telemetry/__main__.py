"""``python -m examples.telemetry``: devices send, faults strike, and the read models must equal what was committed."""

import argparse
import json
import random
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis, exceptions

from examples.telemetry.api import Api
from examples.telemetry.command import create_tables
from examples.telemetry.fold import Fold, Stats, fold
from examples.web import Web
from examples.world import Show, World, world

_PROJECTIONS = Path(__file__).with_name("projections")
_REGIONS = ("north", "south", "east")
_DEVICES = 12
_SETTLES_WITHIN_S = 60.0
# What a service in Go inserts (README.md): no key, no version.
_GO_INSERT = "INSERT INTO outbox_events (id, topic, payload, created_at) VALUES (%s, %s, %s, %s)"


class Devices:
    """Threads that send measurements, some of them twice, some at once, some late."""

    def __init__(self, port: int, write_dsn: str, rate: float, seed: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._write_dsn = write_dsn
        self._rate = rate
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(seed + number,)) for number in range(2)]
        self._threads.append(threading.Thread(target=self._insert, args=(seed,)))
        self._lock = threading.Lock()
        self.sent = 0
        self.repeated = 0
        self.faults: list[str] = []

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _send(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._end.wait(2 / self._rate * chance.uniform(0.5, 1.5)):
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
            with self._lock:
                self.sent += 1
                self.repeated += times - 1
                if len(answers) != times or any(one != answers[0] for one in answers):
                    self.faults.append(f"a measurement that was sent {times} times got {answers}")

    def _post(self, device: str, key: str, body: dict[str, Any], answers: list[Any]) -> None:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310  # our own server
            f"{self._url}/devices/{device}/measurements", json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # our own server
                answers.append(json.load(answer))
        except urllib.error.URLError as error:
            answers.append(str(error))

    def _insert(self, seed: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(self._write_dsn, autocommit=True) as conn:
            while not self._end.wait(10 / self._rate):
                payload = {
                    "device_id": f"old-{chance.randrange(3)}",
                    "temperature": round(chance.uniform(0, 30), 1),
                    "humidity": round(chance.uniform(0, 100), 1),
                    "timestamp": int(time.time()),
                }
                now = conn.execute("SELECT now()").fetchone()
                row = (str(uuid.uuid4()), "telemetry.ingested", json.dumps(payload), None if now is None else now[0])
                conn.execute(_GO_INSERT, row)
                with self._lock:
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
    """Say where the models are not the fold; regions keep no time."""
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
                running = Show(
                    seconds,
                    {
                        "nats-server is killed": (0.25, here.nats.kill),
                        "nats-server is back": (0.35, here.nats.start),
                        "the runner of the projections is killed": (0.45, runner.kill),
                        "another runner starts": (0.55, runner.restart),
                        "Redis is killed": (0.7, here.redis.kill),
                        "Redis is back": (0.8, here.redis.start),
                    },
                )
                running.say(f"http://127.0.0.1:{web.port}/ shows the lag")
                devices.start()
                try:
                    while not running.over:
                        running.beat(lambda: _line(here, api, devices))
                        time.sleep(0.1)
                finally:
                    devices.stop()
                found = _settle(here, api, devices, running)
                stored = sum(one.count for one in committed(here).devices.values())
                if stored != devices.sent:
                    found.append(f"{stored} measurements were committed, and {devices.sent} were sent")
            relay.check()
        finally:
            runner.stop()
            relay.stop()
    for fault in [*devices.faults, *found]:
        print(fault, file=sys.stderr)
    if devices.faults or found:
        return 1
    print(f"{devices.sent} measurements, {devices.repeated} sent twice: both read models are exactly their fold")
    return 0


def _settle(here: World, api: Api, devices: Devices, running: Show) -> list[str]:
    """Wait until the models are level; return in what they differ then."""
    deadline = time.monotonic() + _SETTLES_WITHIN_S
    while True:
        found = differences(committed(here), read(here))
        if not found or time.monotonic() > deadline:
            # What comes late must not change it: look once more after everything has been settled.
            running.say(_line(here, api, devices))
            return found
        running.beat(lambda: _line(here, api, devices))
        time.sleep(0.2)


def _line(here: World, api: Api, devices: Devices) -> str:
    try:
        with Redis.from_url(here.redis.url, decode_responses=True) as redis:
            state: Any = redis.hgetall("projection:{device_stats.1.0}:state")
        lags = ", ".join(f"{name} {count} behind, {lag:.1f} s" for name, (count, lag) in api.lags().items())
    except (OSError, psycopg.Error, exceptions.RedisError):
        return f"sent {devices.sent}, sent twice {devices.repeated}; the read models cannot be read now"
    stream = f"read to {state.get('position', 0)} of the stream, {state.get('repeats', 0)} repeats"
    return f"sent {devices.sent}, sent twice {devices.repeated}; {stream}; {lags}"


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25.0, help="how long devices send")
    parser.add_argument("--rate", type=float, default=40.0, help="measurements a second")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    return show(args.seconds, args.rate, args.seed)


if __name__ == "__main__":
    sys.exit(main())
