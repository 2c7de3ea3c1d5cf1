"""The HTTP API of both sides: measurements in, statistics and lag out."""

import html
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from redis import Redis, exceptions

from examples.telemetry.command import ingest, validated
from examples.web import WAIT_S, Answer, BadRequest, Request, Route, waited

_CHUNK = 8192  # seqs whose bits lie under one key
_LAG = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM outbox_events WHERE seq > %s
"""


class Api:
    """Answers from the write side, Redis and PostgreSQL; each request has a connection of its own."""

    def __init__(self, write_dsn: str, read_dsn: str, redis_url: str) -> None:
        self._write_dsn = write_dsn
        self._read_dsn = read_dsn
        self._redis_url = redis_url

    @property
    def routes(self) -> list[Route]:
        """What is served."""
        return [
            ("POST", r"/devices/(?P<device>[^/]+)/measurements", self.measure),
            ("GET", r"/devices/(?P<device>[^/]+)/stats", self.stats),
            ("GET", r"/regions", self.regions),
            ("GET", r"/metrics", self.metrics),
            ("GET", r"/", self.page),
        ]

    def measure(self, request: Request) -> Answer:
        """Take a measurement in; ``Read-After`` of the answer can be given to a query."""
        key = request.headers.get("Idempotency-Key", "")
        if not 0 < len(key) <= 200:
            raise BadRequest("the header Idempotency-Key is needed, of at most 200 characters")
        one = validated(request.args["device"], request.body)
        with psycopg.connect(self._write_dsn, autocommit=True) as conn:
            answer = ingest(conn, key, one)
        return Answer(answer, 201, {"Read-After": answer["token"]})

    def stats(self, request: Request) -> Answer:
        """Return the statistics of a device; 404 if it has sent nothing."""
        device = request.args["device"]
        with self._redis() as redis:
            headers = _stale(_wait(redis, request.headers.get("Read-After")))
            found: Any = redis.hgetall(f"device:stats:{device}")
        if not found:
            return Answer({"error": "this device has sent nothing yet"}, 404, headers)
        count = int(found["count"])
        return Answer(
            {
                "device": device,
                "count": count,
                "average_temperature": round(int(found["sum_temperature_mc"]) / count / 1000, 3),
                "average_humidity": round(int(found["sum_humidity_mp"]) / count / 1000, 3),
                "last_seen_ms": int(found["last_seen_ms"]),
                "last_updated_ms": int(found["updated_at_ms"]),
            },
            headers=headers,
        )

    def regions(self, request: Request) -> Answer:
        """Return the totals of each region."""
        with psycopg.connect(self._read_dsn, autocommit=True) as conn:
            headers = _stale(waited(conn, "region_totals", request.headers.get("Read-After")))
            query = (
                "SELECT region, count, sum_temperature_mc, sum_humidity_mp FROM region_totals.totals ORDER BY region"
            )
            rows = conn.execute(query).fetchall()
        return Answer(
            [
                {
                    "region": region,
                    "count": count,
                    "average_temperature": round(int(temperature) / count / 1000, 3),
                    "average_humidity": round(int(humidity) / count / 1000, 3),
                }
                for region, count, temperature, humidity in rows
            ],
            headers=headers,
        )

    def lags(self) -> dict[str, tuple[int, float]]:
        """Return for each read model how many events it lacks, and how old the oldest of these is in seconds."""
        with self._redis() as redis:
            in_redis = int(redis.get("telemetry:last_seq") or 0)
        with psycopg.connect(self._read_dsn, autocommit=True) as conn:
            row = conn.execute("SELECT coalesce(max(event_seq), 0) FROM region_totals.totals").fetchone()
        seqs = {"device_stats": in_redis, "region_totals": 0 if row is None else int(row[0])}
        found = {}
        with psycopg.connect(self._write_dsn, autocommit=True) as conn:
            for name, seq in seqs.items():
                row = conn.execute(_LAG, (seq,)).fetchone()
                found[name] = (0, 0.0) if row is None else (int(row[0]), float(row[1]))
        return found

    def metrics(self, request: Request) -> Answer:
        """Show the lag from write to read to Prometheus."""
        lines = ["# TYPE telemetry_write_to_read_lag_seconds gauge"]
        lines += [
            f'telemetry_write_to_read_lag_seconds{{projection="{name}"}} {lag:.3f}'
            for name, (_, lag) in self.lags().items()
        ]
        return Answer("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4")

    def page(self, request: Request) -> Answer:
        """Show the lag to people."""
        rows = "".join(
            f"<tr><td>{html.escape(name)}<td>{count:,} behind<td>{lag:.1f} s"
            for name, (count, lag) in self.lags().items()
        )
        head = "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=1><title>Lag</title>"
        return Answer(f"{head}<table>{rows}</table>", content_type="text/html; charset=utf-8")

    @contextmanager
    def _redis(self) -> Iterator["Redis"]:
        redis = Redis.from_url(self._redis_url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2)
        try:
            with redis:
                yield redis
        except exceptions.RedisError as error:
            raise ConnectionError("Redis cannot be used now") from error


def _wait(redis: Any, token: str | None) -> bool | None:
    """Wait until a device's statistics include an event; None if nobody asked, False if it takes too long."""
    if token is None:
        return None
    origin, _, number = token.rpartition(".")
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise BadRequest("Read-After is not a token of a measurement")
    chunk, offset = divmod(int(number), _CHUNK)
    byte, bit = divmod(offset, 8)
    deadline = time.monotonic() + WAIT_S
    while not redis.getbit(f"projection:{{device_stats.1.0}}:applied:{origin}:{chunk}", byte * 8 + 7 - bit):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _stale(fresh: bool | None) -> dict[str, str]:
    return {"Stale": "true"} if fresh is False else {}
