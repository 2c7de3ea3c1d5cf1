"""compose.yaml, as its reader starts it: orders reach the read model through the relay, over a NATS that is killed.

Prometheus and Grafana are left out, so that the test needs no image but those of the two servers.
"""

import os
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest

from relay.demo.servers import free_port
from tests.packaging.image.docker import docker
from tests.support.fix_relay import ROOT, wait_until

# It may be the first to build the image.
pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

Compose = Callable[..., str]


@pytest.fixture
def compose(image: str) -> Iterator[Compose]:
    """Run docker compose on a project of the test's own; yield what it prints."""
    program = shlex.split(os.environ.get("COMPOSE") or "docker compose")
    project = f"relay{uuid.uuid4().hex[:12]}"
    told = os.environ | {"RELAY_IMAGE": image, "DEMO_RATE": "200"}
    told |= {name: str(free_port()) for name in ("POSTGRES_PORT", "NATS_PORT")}

    def run(*args: str) -> str:
        command = [*program, "--project-name", project, *args]
        done = subprocess.run(command, env=told, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    yield run
    run("down", "--volumes", "--timeout", "5")


def test_orders_reach_the_read_model_through_two_relays_and_a_broker_that_is_killed(compose: Compose) -> None:
    compose("up", "--detach", "--scale", "relay=2", "postgres", "nats", "migrate", "relay", "shop", "projection")

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
