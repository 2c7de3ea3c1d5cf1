"""The write side: take a measurement in once, with its event, in one transaction."""

import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from outbox_client import Event, Outbox
from outbox_client.commands import CREATE_INDEX, CREATE_TABLE, KeyReused, once, remember
from outbox_client.reading import token

from examples.web import BadRequest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OUTBOX = Outbox()


class Measurement(NamedTuple):
    """A measurement, checked; numbers in thousandths, the time in Unix milliseconds."""

    device: str
    region: str
    temperature_mc: int
    humidity_mp: int
    measured_at_ms: int


def create_tables(conn: psycopg.Connection[Any]) -> None:
    """Make the tables of the write side."""
    conn.execute(Path(__file__).with_name("schema.sql").read_bytes())
    conn.execute(CREATE_TABLE.encode())
    conn.execute(CREATE_INDEX.encode())


def validated(device: str, body: Any) -> Measurement:
    """Check what a device has sent.

    Raises:
        BadRequest: Something is wrong with it.
    """
    if not isinstance(body, dict) or not _NAME.fullmatch(device):
        raise BadRequest("send {region, temperature, humidity, measured_at_ms} for a device with a plain name")
    region = body.get("region")
    if not isinstance(region, str) or not _NAME.fullmatch(region):
        raise BadRequest("region must be a plain name")
    temperature = _thousandths(body, "temperature", -100, 200)
    humidity = _thousandths(body, "humidity", 0, 100)
    at = body.get("measured_at_ms", int(time.time() * 1000))
    if not isinstance(at, int) or isinstance(at, bool) or not 0 < at < 2**48:
        raise BadRequest("measured_at_ms must be Unix milliseconds")
    return Measurement(device, region, temperature, humidity, at)


def _thousandths(body: dict[str, Any], name: str, low: int, high: int) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadRequest(f"{name} must be a number from {low} to {high}")
    return round(value * 1000)


def ingest(conn: psycopg.Connection[Any], key: str, one: Measurement) -> dict[str, Any]:
    """Store a measurement and its event; a repeat of the key gets the answer of the first time.

    The key is inserted first: of two at once the second waits for the first, and finds its answer.

    Raises:
        BadRequest: The key was used for another measurement.
        psycopg.Error: Nothing was stored.
    """
    with conn.transaction():
        try:
            earlier = once(conn, f"{one.device}/{key}", request=one._asdict())
        except KeyReused:
            raise BadRequest("the idempotency key was used for another measurement", 422) from None
        if earlier is not None:
            return dict(earlier.result)
        found = conn.execute(
            "INSERT INTO measurements (device, region, temperature_mc, humidity_mp, measured_at_ms)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id",
            one,
        ).fetchone()
        event = Event("telemetry.ingested", one._asdict(), key=one.device, headers={"Event-Version": "2"})
        _OUTBOX.publish(conn, event)
        answer = {"measurement": None if found is None else found[0], "token": token(conn, event.id)}
        remember(conn, f"{one.device}/{key}", answer)
    return answer
