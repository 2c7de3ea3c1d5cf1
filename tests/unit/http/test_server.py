"""HTTP: metrics and probes, over a real socket."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from relay.demo.servers import free_port
from relay.errors import ConfigError
from relay.http.health import RelayProbes, health_faults, ready_faults
from relay.http.server import HttpServer
from relay.observe.metrics import Metrics
from relay.observe.snapshot import HeldView, Snapshot, TermView
from tests.support.relay_cli import relay

GOOD = Snapshot(
    role="active",
    postgres_up=True,
    bell=True,
    last_progress=100.0,
    term=TermView(
        backlog=0,
        in_flight=0,
        waiting=0,
        retrying=0,
        watermark=0,
        watermark_at=1_700_000_000.0,
        shards=64,
        nats_trouble=None,
    ),
)


def term(**changes: Any) -> Snapshot:
    """Return the good snapshot with another term."""
    return replace(GOOD, term=replace(GOOD.term, **changes))


OUTAGE = {"held": (HeldView("outage", 1, 3),), "outages": ("broker: no answer\nat all",)}
OUTAGES = {"held": (HeldView("capacity", 2, 3), HeldView("outage", 20_000, 9)), "outages": ("subject a: mute",)}

Get = Callable[..., tuple[int, str, str]]


class World:
    """What the server is asked about."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.now = replace(GOOD, last_progress=time.monotonic())
        self.metrics.watch(lambda: self.now)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def port(world: World) -> Iterator[int]:
    server = HttpServer("127.0.0.1", 0, world.metrics.collect, RelayProbes(lambda: world.now))
    yield server.start()
    server.stop()


@pytest.fixture
def get(port: int) -> Get:
    def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type") or "", answer.read().decode()
        finally:
            connection.close()

    return ask


@pytest.mark.parametrize(
    ("now", "faults"),
    [
        (GOOD, []),
        (replace(GOOD, last_progress=80.0), ["the loop has not turned for 20 s"]),
        (term(stalled=True), ["events could be sent, and nothing was settled for 30 s"]),
        (replace(term(nats_trouble="refused", **OUTAGE), postgres_up=False), []),
    ],
)
def test_health_is_progress_and_nothing_else(now: Snapshot, faults: list[str]) -> None:
    assert health_faults(now, 100.0) == faults


@pytest.mark.parametrize(
    ("now", "faults"),
    [
        (GOOD, []),
        (replace(GOOD, last_progress=95.0), []),
        (replace(term(stalled=True), last_progress=94.0, role="starting"), ["the loop has not turned for 6 s"]),
        (replace(term(nats_trouble="not connected", paused="checking"), role="standby"), []),
        (replace(GOOD, role="standby", postgres_up=False), ["postgres down"]),
        (replace(GOOD, role="starting", postgres_up=False), ["starting"]),
        (replace(GOOD, role="starting", postgres_up=False, postgres_refusal="no\nright"), ["starting", r"no\nright"]),
        (replace(GOOD, postgres_up=False, postgres_refusal="no right"), ["no right"]),
        (replace(term(refused_rows=(3, "no")), seqs_again=True), []),
        (replace(GOOD, role="stopping"), ["stopping"]),
        (replace(term(nats_trouble="not connected", paused="checking"), changing_over=True), []),
        (replace(term(**OUTAGE), changing_over=True), [r"outage of broker: no answer\nat all"]),
        (term(**OUTAGES), ["outage of subject a: mute", "outage of 19999 more streams and subjects"]),
        (term(paused="the streams are not checked yet"), ["nothing is sent: the streams are not checked yet"]),
        (
            replace(term(nats_trouble="it\nsaid no", paused="checking", **OUTAGE), postgres_up=False),
            ["postgres down", r"nats down: it\nsaid no", r"outage of broker: no answer\nat all"],
        ),
    ],
)
def test_readiness_has_a_line_for_each_reason(now: Snapshot, faults: list[str]) -> None:
    assert ready_faults(now, 100.0) == faults


def test_what_postgresql_answers_is_also_told_to_those_who_ask_the_table() -> None:
    assert replace(GOOD, postgres_up=False, postgres_refusal="no\nspace").notes() == [r"no\nspace"]
    assert replace(GOOD, postgres_refusal="no space").notes() == []


def test_the_probes_answer_200_and_503(world: World, get: Get) -> None:
    assert get("/healthz")[::2] == (200, "ok\n")
    assert get("/readyz?verbose")[::2] == (200, "ready: active\n")
    world.now = replace(world.now, term=term(refused_rows=(3, "no\nmark"), in_vain=2).term, seqs_again=True)
    status, _, body = get("/readyz")
    assert status == 200
    assert [line.partition(":")[0] for line in body.splitlines()] == [
        "ready",
        "marks, or other outcomes, of 3 events cannot be written",
        "2 events are pending again as soon as they are marked, and are not sent again",
        "seqs are drawn again, and read models that go by them may pass over new events",
    ]
    world.now = replace(world.now, role="standby", seqs_again=False, term=GOOD.term)
    assert get("/readyz")[::2] == (200, "ready: standby\n")
    world.now = replace(world.now, role="active", term=term(nats_trouble="refused", stalled=True).term)
    assert get("/healthz")[0] == 503
    assert get("/readyz")[::2] == (503, "nats down: refused\n")


def test_metrics_are_served_in_the_format_that_is_asked_for(get: Get) -> None:
    status, content_type, body = get("/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "outbox_relay_backlog_events 0.0" in body
    status, content_type, body = get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert (status, content_type.split(";")[0]) == (200, "application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_head_has_no_body_and_other_paths_and_methods_are_refused(get: Get) -> None:
    assert get("/healthz", "HEAD")[::2] == (200, "")
    assert get("/")[0] == 404
    assert get("/healthz", "POST")[0] == 501


def test_a_slow_peer_keeps_nobody_waiting(port: int, get: Get) -> None:
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert get("/healthz")[0] == 200


def test_a_port_that_is_taken_is_a_fault_of_configuration(port: int, world: World) -> None:
    second = HttpServer("127.0.0.1", port, world.metrics.collect, RelayProbes(lambda: world.now))
    with pytest.raises(ConfigError, match=rf"\[http\] cannot listen on 127.0.0.1 port {port}: "):
        second.start()
    second.stop()


def test_stopping_frees_the_port_and_ends_the_thread(world: World) -> None:
    server = HttpServer("127.0.0.1", 0, world.metrics.collect, RelayProbes(lambda: world.now))
    port = server.start()
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    again = HttpServer("127.0.0.1", port, world.metrics.collect, RelayProbes(lambda: world.now))
    assert again.start() == port
    again.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "http" and thread.is_alive()]


def test_relay_health_passes_on_what_the_relay_says_and_ends_with_0_or_1(port: int, world: World) -> None:
    asked = {"RELAY_HTTP__PORT": str(port), "RELAY_HTTP__HOST": "0.0.0.0"}
    good = relay(None, "health", **asked)
    assert (good.exit_code, good.stdout) == (0, "ok\n")
    assert relay(None, "health", "--ready", **asked).stdout == "ready: active\n"
    world.now = replace(world.now, term=term(**OUTAGE).term)
    assert relay(None, "health", **asked).exit_code == 0
    bad = relay(None, "health", "--ready", **asked)
    assert (bad.exit_code, bad.stdout) == (1, "")
    assert "outage of broker: no answer" in bad.stderr


def test_relay_health_ends_with_1_where_nobody_answers() -> None:
    result = relay(None, "health", "--http-port", str(free_port()))
    assert result.exit_code == 1
    assert "no relay answers at 127.0.0.1:" in result.stderr


@pytest.mark.parametrize("setting", ["RELAY_HTTP__PORT", "RELAY_HTTP__ENABLED"])
def test_relay_health_asks_nobody_where_no_port_is_configured(setting: str) -> None:
    assert relay(None, "health", **{setting: "0"}).exit_code == 2
