"""helm installs, tests, upgrades, rolls back and uninstalls; what it makes runs, on real servers.

The pods run the command line of the manifest, with its environment and its files: so the chart's flags, variables and
paths are known to be the program's own.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay import __version__
from relay.demo.servers import PostgresServer, free_port
from tests.integration.projection.world import run_sql
from tests.kube.cluster import NAMESPACE, Cluster
from tests.kube.store import PODS, Key
from tests.packaging.chart.test_projections import DEFINITION, PROJECTIONS
from tests.support.fix_helm import CHART, MINIMAL, config_toml, helm, merged, only, render
from tests.support.fix_registry import Registry
from tests.support.fix_relay import Outbox, wait_until
from tests.support.fix_rights import NATS_USER, as_relay, let_relay_in
from tests.support.fix_stream import Streams

# helm waits for minutes in each of its steps, and a step waits for whole processes.
pytestmark = pytest.mark.timeout(600)
PATIENT_S = 180.0
HOOKS = {("Pod", "relay-outbox-relay-doctor"), ("Pod", "relay-outbox-relay-round-trip")}


@dataclass
class Shop:
    """A release in a cluster, and the two ends that it connects."""

    kube: Cluster
    outbox: Outbox
    streams: Streams
    values: dict[str, Any]

    def helm(self, command: str, *args: str, **values: Any) -> str:
        """Run a command of helm that must succeed, and wait as helm does; return what it says."""
        layers = merged(self.values, values) if command in ("install", "upgrade") else None
        chart = [str(CHART), "--wait"] if layers else []
        return self.kube.helm(command, "relay", *chart, *args, values=layers).stdout

    def delivers(self) -> None:
        """Commit an event, and wait until it is delivered."""
        self.outbox.delivered(self.outbox.insert("orders.placed", "k", {"i": 1}), PATIENT_S)

    def checksums(self) -> set[str]:
        """Return the settings that the ready pods run with, as their checksums."""
        pods = self.kube.ready_pods().values()
        return {pod["metadata"]["annotations"]["checksum/config"] for pod in pods}

    def exit_codes(self, container: str) -> list[int]:
        """Return the exit codes of the containers of a name that have ended."""
        return [one.code for one in self.kube.kubelet.ended if one.container == container]


@pytest.fixture
def bare_postgres(tmp_path: Path) -> Iterator[str]:
    """The address of a PostgreSQL of the test's own, fit for `relay doctor`, with nothing in it."""
    with PostgresServer(tmp_path / "postgres") as server:
        let_relay_in(server.dsn())
        yield server.dsn()


@pytest.fixture
def shop(kube: Cluster, bare_postgres: str, streams: Streams) -> Iterator[Shop]:
    """What is there before the first install: servers, a stream, Secrets."""
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True)
    kube.secret("shop-outbox", relay=as_relay(bare_postgres), owner=bare_postgres)
    kube.secret("shop-nats", password=NATS_USER["nats__password"])
    switched_on = ("podDisruptionBudget", "networkPolicy", "podMonitor", "prometheusRule", "dashboard")
    values = {
        "postgres": {"dsnSecret": {"name": "shop-outbox", "key": "relay"}},
        "migration": {"dsnSecret": {"name": "shop-outbox", "key": "owner"}},
        "nats": {"passwordSecret": {"name": "shop-nats"}},
        "config": {
            "nats": {"servers": [streams.url], "user": NATS_USER["nats__user"]},
            "http": {"port": free_port()},
        },
        "test": {"topic": "orders.trial"},
        **{name: {"enabled": True} for name in switched_on},
    }
    outbox = Outbox(bare_postgres)
    with outbox.conn:
        yield Shop(kube, outbox, streams, values)


def test_a_release_relays_from_install_to_uninstall(shop: Shop) -> None:
    kube = shop.kube

    assert "2 relays share the outbox" in shop.helm("install")
    assert shop.exit_codes("relay") == [0], "the migration"
    assert len(kube.ready_pods()) == 2
    shop.delivers()
    first = shop.checksums()

    said = shop.helm("test", "--logs")
    assert "no faults, " in said
    assert " is in stream ORDERS at sequence " in said

    shop.outbox.fill("orders.placed", 2000, 50)
    kube.watch_readiness()
    shop.helm("upgrade", config={"delivery": {"fetch_batch": 500}})
    assert kube.fewest_ready == 2, "no relay goes before its successor is ready"
    assert len(shop.checksums()) == 1 and shop.checksums() != first
    shop.delivers()

    shop.helm("rollback", "1", "--wait")
    assert shop.checksums() == first
    shop.delivers()

    assert "uninstalled" in shop.helm("uninstall", "--wait")
    wait_until("every pod gone", lambda: kube.there() == HOOKS, PATIENT_S)
    shop.outbox.drained()
    relayed = [one for one in kube.kubelet.ended if one.container == "outbox-relay"]
    assert len(relayed) == 6
    assert [(one.code, one.killed) for one in relayed] == [(0, False)] * 6
    assert all(one.told_s is not None for one in relayed)
    identities = [message.headers["Nats-Msg-Id"] for message in shop.streams.read("ORDERS")]
    assert len(identities) == len(set(identities)) == shop.outbox.count("true") == 2004


def test_a_release_installs_from_a_registry_that_the_chart_was_pushed_to(
    shop: Shop, registry: Registry, tmp_path: Path
) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path))
    (packed,) = tmp_path.glob("outbox-relay-*.tgz")
    charts = f"oci://{registry.host}/charts"
    helm("push", str(packed), charts, "--plain-http")
    assert registry.tags("charts/outbox-relay") == [__version__]

    told = ("--version", __version__, "--plain-http", "--wait")
    shop.kube.helm("install", "relay", f"{charts}/outbox-relay", *told, values=shop.values)
    shop.delivers()
    shop.helm("uninstall", "--wait")


def test_a_migration_that_fails_ends_the_install_and_nothing_runs(shop: Shop) -> None:
    shop.kube.secret("wrong", dsn="postgresql://nobody@127.0.0.1:1/nowhere")
    values = merged(shop.values, {"migration": {"dsnSecret": {"name": "wrong", "key": "dsn"}, "backoffLimit": 1}})
    done = shop.kube.helm("install", "relay", str(CHART), values=values, check=False)
    assert done.returncode != 0 and "BackoffLimitExceeded" in done.stderr
    assert shop.exit_codes("relay") == [5, 5]
    assert "Deployment" not in {kind for kind, _ in shop.kube.there()}
    (job,) = [name for kind, name in shop.kube.there() if kind == "Job"]
    assert job == "relay-outbox-relay-migrate" and "PostgreSQL does not answer" in shop.kube.logs()


def test_a_pod_is_unready_while_nats_is_away_and_lives(shop: Shop) -> None:
    away = {"config": {"nats": {"servers": ["nats://127.0.0.1:1"]}}}
    values = merged(shop.values, away, {"replicaCount": 1})
    shop.kube.helm("install", "relay", str(CHART), values=values)
    wait_until("the relay says why", lambda: "nats.unreachable" in shop.kube.logs(), PATIENT_S)
    assert shop.kube.ready_pods() == {}
    assert shop.exit_codes("outbox-relay") == []
    values["config"]["nats"]["servers"] = [shop.streams.url]
    shop.kube.helm("upgrade", "relay", str(CHART), "--wait", values=values)
    shop.delivers()


def test_a_release_keeps_a_read_model_through_an_upgrade_and_is_not_ready_while_it_has_stopped(
    shop: Shop, empty_database: str
) -> None:
    kube = shop.kube
    kube.secret("shop-models", dsn=empty_database, password="admin")
    config = {"projection_http": {"port": free_port()}, "headers": {"key": True, "seq": True}}
    who = {"user": "admin", "passwordSecret": {"name": "shop-models"}}
    values = {"config": config, "projections": {**PROJECTIONS, "nats": who}}

    shop.helm("install", **values)
    assert len(kube.ready_pods()) == 4

    def applied(first: int, count: int) -> None:
        for number in range(first, first + count):
            shop.outbox.insert("orders.placed", "k", {"i": number})
        expected = [(list(range(1, first + count)),)]
        wait_until("applied", lambda: run_sql(empty_database, "SELECT numbers FROM trail.trail") == expected, PATIENT_S)

    applied(1, 5)
    shop.helm("upgrade", **merged(values, {"projections": {"files": {"trail.toml": f"{DEFINITION}\n# changed\n"}}}))
    applied(6, 5)
    assert {one.code for one in kube.kubelet.ended if one.container == "projections"} == {0}

    run_sql(
        empty_database,
        "UPDATE projection.state SET status = 'stopped', error = 'for a test', owner = NULL, epoch = epoch + 1",
    )
    wait_until("no runner is ready", lambda: len(kube.ready_pods()) == 2, PATIENT_S)


@pytest.mark.parametrize("case", ["minimal", "everything", "sidecar"])
def test_the_settings_of_a_pod_are_those_of_the_values(case: str, kube: Cluster) -> None:
    values = yaml.safe_load((CHART / "ci" / f"{case}-values.yaml").read_text("utf-8"))
    names = ["dsn", "relay", "direct", "password", "nats__creds", "ca__crt", "tls__crt", "tls__key"]
    for secret in ("shop-outbox", "shop-postgres-tls", "shop-nats", "shop-nats-tls"):
        kube.secret(secret, **dict.fromkeys(names, "postgresql://shop@db/shop"))
    found = render(merged(values, {"mode": "deployment", "podMonitor": {"enabled": False}}))
    for one in found:
        if one["kind"] == "ConfigMap":
            kube.store.create(Key("v1/configmaps", NAMESPACE, one["metadata"]["name"]), one)
    kube.store.create(Key("v1/configmaps", NAMESPACE, "proxy"), {"metadata": {}, "data": {"RELAY_LEASE__TTL_S": "7"}})
    spec = only(found, "Deployment", "outbox-relay")["spec"]["template"]["spec"]
    container = {**spec["containers"][0], "args": ["config", "--output", "json"]}
    pod = {"kind": "Pod", "metadata": {}, "spec": {**spec, "containers": [container], "restartPolicy": "Never"}}
    kube.store.create(Key(PODS, NAMESPACE, "asked"), pod)
    wait_until("the answer", lambda: kube.kubelet.ended, PATIENT_S)
    assert kube.kubelet.ended[0].code == 0, kube.kubelet.log("asked")
    shown = json.loads(kube.kubelet.log("asked"))
    for section, settings in tomllib.loads(config_toml(found)).items():
        for name, value in settings.items():
            if (section, name) != ("http", "host"):
                assert shown[section][name] == value, f"{section}.{name}"
    for one in container["env"]:
        if one["name"].endswith("_FILE"):
            section, name = one["name"].removeprefix("RELAY_").lower().split("__")
            assert shown[section][name].endswith(one["value"].removeprefix("/run/secrets/outbox-relay"))
    assert shown["lease"]["ttl_s"] == (7 if case == "everything" else 10)


READ_MODELS = {"projections": {"enabled": True, "classes": ["shop:Orders"], "dsnSecret": {"name": "models"}}}


@pytest.mark.parametrize(
    ("values", "sentence", "always"),
    [
        ({}, "2 relays share the outbox", False),
        ({"replicaCount": 1}, "1 relay works on the outbox", False),
        ({}, "kubectl -n shop exec deploy/relay-outbox-relay -- relay status", True),
        ({}, "helm -n shop test relay --logs", True),
        ({}, "set test.topic", False),
        ({"migration": {"enabled": False}}, "ends with code 3", False),
        ({}, "The stream is yours to make", False),
        (READ_MODELS, "config.headers.key, config.headers.seq, config.headers.created_at are not true", False),
        (
            merged(READ_MODELS, {"config": {"headers": {"key": True, "created_at": True}}}),
            "WARNING: config.headers.seq is not true",
            False,
        ),
        ({"mode": "sidecar"}, '{{- include "outbox-relay.sidecar" (index .Subcharts "outbox-relay")', False),
    ],
)
def test_the_notes_say_what_comes_next(values: dict[str, Any], sentence: str, always: bool, kube: Cluster) -> None:
    def notes(values: dict[str, Any]) -> str:
        given = merged(MINIMAL, values)
        done = kube.helm("install", "relay", str(CHART), "--dry-run=client", values=given)
        return done.stdout.partition("NOTES:")[2]

    otherwise = {"replicaCount": 3, "test": {"topic": "t"}, "config": {"stream": {"manage": True}}}
    assert sentence in notes(values)
    assert (sentence in notes(otherwise)) is always
