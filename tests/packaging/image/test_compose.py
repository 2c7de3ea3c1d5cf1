"""compose.yaml, as its reader starts it: orders reach the read model through the relay, over a NATS that is killed.

Grafana is left out. Prometheus is started if ``PROMETHEUS_IMAGE`` is set, so that the test needs no image but those of
the two servers.
"""

import http.client
import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import pytest

from relay.demo.servers import free_port
from tests.packaging.image.docker import docker
from tests.support.fix_console import FORM, SAME_ORIGIN
from tests.support.fix_relay import ROOT, wait_until

# It may be the first to build the image.
pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

Compose = Callable[..., str]
Ports = dict[str, str]
SERVICES = ("postgres", "nats", "migrate", "relay", "shop", "projection")


@pytest.fixture
def ports() -> Ports:
    """The ports on this machine, by the variable that says so to compose.yaml."""
    return {f"{name}_PORT": str(free_port()) for name in ("POSTGRES", "NATS", "CONSOLE", "PROMETHEUS")}


@pytest.fixture
def compose(image: str, ports: Ports) -> Iterator[Compose]:
    """Run docker compose on a project of the test's own; yield what it prints."""
    program = shlex.split(os.environ.get("COMPOSE") or "docker compose")
    project = f"relay{uuid.uuid4().hex[:12]}"
    told = os.environ | {"RELAY_IMAGE": image, "DEMO_RATE": "200"} | ports

    def run(*args: str) -> str:
        command = [*program, "--project-name", project, *args]
        done = subprocess.run(command, env=told, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    yield run
    run("--profile", "console", "--profile", "monitoring", "down", "--volumes", "--timeout", "5")


def shown_by_the_console(port: str, token: str) -> str:
    """Log in to the console with the token; return its page of streams."""
    with closing(http.client.HTTPConnection("localhost", int(port), timeout=30)) as connection:
        connection.request("POST", "/login", urlencode({"token": token}), FORM | SAME_ORIGIN)
        answer = connection.getresponse()
        assert answer.status == 303, answer.read()
        answer.read()
        connection.request("GET", "/streams", headers={"Cookie": answer.headers["set-cookie"].partition(";")[0]})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return text


def healths(rules: dict[str, Any]) -> set[str]:
    """Return what Prometheus says of the health of its rules."""
    return {rule["health"] for group in rules["groups"] for rule in group["rules"]}


def listens(port: str) -> bool:
    """Report whether something answers HTTP there."""
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=5):
            return True
    except OSError as error:
        return isinstance(error, urllib.error.HTTPError)


def test_orders_reach_the_read_model_through_two_relays_and_a_broker_that_is_killed(compose: Compose) -> None:
    compose("up", "--detach", "--scale", "relay=2", *SERVICES)

    def count(database: str, table: str, where: str = "true") -> int:
        dsn = f"postgresql://postgres:postgres@127.0.0.1/{database}"
        return int(
            compose("exec", "-T", "postgres", "psql", dsn, "-Atc", f"SELECT count(*) FROM {table} WHERE {where}")
        )

    wait_until("the read model is made", lambda: count("read_model", "pg_class", "relname = 'orders'"), 60)
    wait_until("the first orders are in the list", lambda: count("read_model", "order_list.orders") > 100, 60)
    compose("kill", "nats")
    wait_until("orders wait", lambda: count("shop", "outbox_events", "delivered_at IS NULL") > 100)
    compose("start", "nats")
    compose("stop", "shop")
    wait_until("all are delivered", lambda: count("shop", "outbox_events", "delivered_at IS NULL") == 0)
    placed = count("shop", "orders")
    wait_until("the list has caught up", lambda: count("read_model", "order_list.orders") == placed)
    relays = compose("ps", "--quiet", "relay").split()
    assert len(relays) == 2
    for container in relays:
        assert (
            docker("inspect", "--format={{.State.Running}} {{.HostConfig.ReadonlyRootfs}}", container) == "true true\n"
        )
    assert "iolation" not in compose("logs", "nats"), "the rights of compose/nats.conf are enough"


def test_volumes_keep_orders_and_stream_through_down_and_up(compose: Compose) -> None:
    def kept(name: str) -> int:
        dsn = "postgresql://postgres:postgres@127.0.0.1/shop"
        return int(compose("exec", "-T", "postgres", "psql", dsn, "-Atc", f"SELECT count(*) FROM {name}"))

    compose("up", "--detach", *SERVICES)
    wait_until(
        "orders are placed and delivered", lambda: kept("outbox_events WHERE delivered_at IS NOT NULL") > 100, 60
    )
    compose("stop", "shop")
    wait_until("all are delivered", lambda: kept("outbox_events WHERE delivered_at IS NULL") == 0)
    orders = kept("orders")
    compose("down", "--timeout", "5")
    compose("up", "--detach", "postgres", "nats", "migrate", "relay")
    assert kept("orders") == orders
    # It fails if a delivered event is not in its stream.
    compose("exec", "-T", "relay", "relay", "verify")


def test_the_console_shows_what_is_relayed_and_prometheus_finds_each_process(compose: Compose, ports: Ports) -> None:
    compose("--profile", "console", "up", "--detach", "--scale", "relay=2", *SERVICES, "console")
    wait_until("the console answers", lambda: listens(ports["CONSOLE_PORT"]), 60)
    token = (ROOT / "compose/console/token").read_text("utf-8").strip()
    wait_until("it shows the stream", lambda: "ORDERS" in shown_by_the_console(ports["CONSOLE_PORT"], token))
    if "PROMETHEUS_IMAGE" not in os.environ:
        return
    compose("--profile", "monitoring", "up", "--detach", "--no-recreate", "--scale", "relay=2", "relay", "prometheus")

    def asked(path: str) -> dict[str, Any]:
        url = f"http://localhost:{ports['PROMETHEUS_PORT']}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found

    wait_until("prometheus answers", lambda: listens(ports["PROMETHEUS_PORT"]), 60)
    wait_until("two relays and a projection are up", lambda: len(asked("query?query=up==1")["result"]) == 3, 60)
    wait_until("each rule is evaluated", lambda: healths(asked("rules")) == {"ok"}, 60)
