"""The image, built and run as a cluster with the restricted profile runs it: `make image-test`."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay import __version__
from relay.demo.redis_server import RedisServer
from relay.demo.servers import NatsServer, free_port
from relay.errors import Exit
from tests.packaging.image.docker import CONFINED, Container, docker, layers_bytes
from tests.support.fix_registry import Registry
from tests.support.fix_relay import ROOT, Outbox, wait_until
from tests.support.fix_rights import NATS_USER, as_relay
from tests.support.fix_stream import Streams, assert_once_and_in_order

# The first of them builds it.
pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

MOST_BYTES = 60_000_000
MOST_BYTES_OF_THE_CONSOLE = 3_000_000
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\$", re.MULTILINE)

MakeContainer = Callable[..., Container]


@pytest.fixture
def make_container(image: str) -> Iterator[MakeContainer]:
    """Make containers of the image: ``make_container("run", RELAY_...="...")``; they are gone after the test."""
    made: list[Container] = []

    def make(*args: str, **environ: str) -> Container:
        made.append(Container(image, *args, **environ))
        return made[-1]

    yield make
    for container in made:
        container.remove()


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def inside(image: str, script: str) -> str:
    return docker("run", "--rm", *CONFINED, "--entrypoint=python3", image, "-c", script)


def test_it_is_small_and_says_what_it_is(image: str, base: str) -> None:
    assert layers_bytes(image) - layers_bytes(base) < MOST_BYTES
    (found,) = json.loads(docker("image", "inspect", image))
    config = found["Config"]
    label = "org.opencontainers.image."
    assert (config["Labels"][f"{label}version"], config["Labels"][f"{label}revision"]) == (__version__, "0123abc")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"]), "a cluster tells by the number that it is not root"
    assert (config["Entrypoint"], config["Cmd"]) == (["relay"], ["run"])


def test_the_packages_of_the_console_alone_add_little(image: str) -> None:
    """Counted as they lie on the disk, with what bytecode there is."""
    measuring = """
import importlib.metadata, re

def needed(package, extra=None):
    found = {package}
    for line in importlib.metadata.requires(package) or []:
        of = re.search("extra == .([a-z]+)", line)
        if of is None or of[1] == extra:
            name = re.match("[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-")
            found |= needed(name) if name in here else set()
    return found

here = {one.name.lower().replace("_", "-") for one in importlib.metadata.distributions()}
added = needed("outbox-relay", "console") - needed("outbox-relay") - needed("outbox-relay", "redis")
size = 0
for package in added:
    for file in importlib.metadata.files(package):
        path = file.locate()
        found = [path, *path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc")]
        size += sum(one.stat().st_size for one in found if one.exists())
print(*sorted(added), size)
"""
    *added, size = inside(image, measuring).split()
    assert {"jinja2", "starlette", "uvicorn"} <= set(added)
    assert int(size) <= MOST_BYTES_OF_THE_CONSOLE


def test_it_reaches_the_models_that_projections_keep_in_redis(make_container: MakeContainer, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        container = make_container("projection", "redis", "list", RELAY_REDIS__URL=server.url)
        assert container.wait() == Exit.DONE, container.log()


def test_what_it_holds_is_what_is_locked_to_run_and_the_relay(image: str) -> None:
    listing = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    locked = {f"{name}=={number}" for name, number in LOCKED.findall((ROOT / "requirements/runtime.txt").read_text())}
    held = {line.lower().replace("_", "-") for line in inside(image, listing).split()}
    assert held == {f"outbox-relay=={__version__}", *locked}


def test_it_runs_from_a_registry_that_it_was_pushed_to(image: str, registry: Registry) -> None:
    name = f"{registry.host}/outbox-relay:{__version__}"
    docker("tag", image, name)
    try:
        docker("push", name)
        assert registry.tags("outbox-relay") == [__version__]
        docker("rmi", name)
        assert docker("run", "--rm", "--pull=always", *CONFINED, name, "version") == f"{__version__}\n"
    finally:
        docker("rmi", "--force", name)


def test_nothing_of_it_is_for_building_or_testing_and_nothing_is_left_to_compile(image: str, base: str) -> None:
    looking = """
import pathlib, shutil, sys
print(*(name for name in sys.argv[1].split() if shutil.which(name)))
root = pathlib.Path('/opt/relay')
print(*(path for path in root.rglob('*') if path.name in ('tests', 'bench', 'nats-server', 'pip')
    or path.name == 'postgres' and path.is_file()))
print(sum(1 for path in root.rglob('relay/**/*.py')), sum(1 for path in root.rglob('relay/**/*.pyc')))
""".replace("sys.argv[1]", repr("cc gcc clang make pip pip3 pytest nats-server postgres initdb uv"))
    found, left, compiled = inside(image, looking).split("\n")[:3]
    in_base = docker("run", "--rm", "--entrypoint=python3", base, "-c", looking.split("root =")[0].strip()).split("\n")[
        0
    ]
    assert set(found.split()) <= set(in_base.split())
    assert left == ""
    sources, bytecode = map(int, compiled.split())
    assert sources == bytecode > 0


def test_confined_it_migrates_and_relays_and_a_sigterm_in_mid_batch_loses_nothing(
    empty_database: str, own_nats: NatsServer, make_container: MakeContainer
) -> None:
    migrator = make_container("migrate", RELAY_POSTGRES__DSN=empty_database)
    assert migrator.wait() == Exit.DONE, migrator.log()
    outbox, streams = Outbox(empty_database), Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    port = free_port()
    told = {
        "RELAY_POSTGRES__DSN": as_relay(empty_database),
        "RELAY_NATS__SERVERS": own_nats.url,
        **{f"RELAY_{name.upper()}": value for name, value in NATS_USER.items()},
        "RELAY_HTTP__PORT": str(port),
        # It is not to give up while the server is frozen.
        "RELAY_NATS__PING_INTERVAL_S": "30",
        "RELAY_DELIVERY__ACK_TIMEOUT_S": "30",
        # Part of the events stays unsent at the end of the first run.
        "RELAY_DELIVERY__FETCH_BATCH": "100",
        "RELAY_DELIVERY__WINDOW": "100",
    }
    first = make_container(**told)
    first.becomes("healthy")
    assert first.inside("relay", "health", "--ready") == "ready: active\n"
    own_nats.pause()
    outbox.fill("orders.placed", 1000, keys=200)
    wait_until("events in flight", lambda: "outbox_relay_in_flight_events 100.0" in metrics(port))
    first.signal("TERM")
    wait_until("it says that it stops", lambda: '"relay.stopping"' in first.log())
    own_nats.resume()
    assert first.wait() == Exit.DONE, first.log()
    delivered = outbox.count("delivered_at IS NOT NULL")
    assert 100 <= delivered < 1000
    assert streams.messages("ORDERS") == delivered, "each event that the stream took is marked"
    second = make_container(**told)
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 1000, 200)
    second.signal("TERM")
    assert second.wait() == Exit.DONE, second.log()
    assert "Traceback" not in first.log() + second.log()
    outbox.conn.close()


def test_it_says_that_it_is_ill_where_nothing_turns(make_container: MakeContainer) -> None:
    """Alive, and not serving: as a relay that hangs in its start."""
    container = make_container(
        RELAY_POSTGRES__DSN="postgresql://nobody@127.0.0.1:1/none",
        RELAY_NATS__SERVERS="nats://127.0.0.1:1",
        RELAY_HTTP__PORT=str(free_port()),
    )
    container.becomes("healthy")
    container.signal("STOP")
    container.becomes("unhealthy")
    container.signal("CONT")
    container.signal("TERM")
    assert container.wait() == Exit.DONE, container.log()
