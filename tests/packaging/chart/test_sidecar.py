"""The relay beside an application: as the example's chart has it, and as plain Kubernetes."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from relay.demo.servers import free_port
from tests.kube.cluster import NAMESPACE, Cluster
from tests.kube.store import PODS, Key
from tests.packaging.chart.checks import assert_valid, unconfined
from tests.support.fix_helm import Manifest, helm, kinds, manifests, merged, only, render
from tests.support.fix_relay import ROOT, Outbox, wait_until
from tests.support.fix_rights import NATS_USER, as_relay
from tests.support.fix_stream import Streams

# helm waits for minutes in each of its steps, and a step waits for whole processes.
pytestmark = pytest.mark.timeout(600)
PATIENT_S = 180.0
EXAMPLES = ROOT / "helm" / "examples"
CONNECTIONS_PER_RELAY = 4


@pytest.fixture
def shop_chart(tmp_path: Path) -> Path:
    """The application's chart with this one in it."""
    shutil.copytree(EXAMPLES.parent, tmp_path / "helm")
    chart = tmp_path / "helm" / "examples" / "shop"
    helm("dependency", "update", str(chart))
    return chart


def pod_of(found: list[Manifest]) -> Manifest:
    spec: Manifest = only(found, "Deployment")["spec"]["template"]["spec"]
    return spec


def test_a_native_sidecar_starts_first_and_an_ordinary_one_stands_beside(shop_chart: Path) -> None:
    native = pod_of(render({}, chart=shop_chart))
    ordinary = pod_of(render({"outbox-relay": {"sidecar": {"native": False}}}, chart=shop_chart))
    (first,) = native["initContainers"]
    assert first.pop("restartPolicy") == "Always"
    assert [one["name"] for one in native["containers"]] == ["shop"]
    assert "initContainers" not in ordinary
    assert ordinary["containers"][1] == first


def test_the_chart_makes_no_pod_of_its_own_but_that_of_the_table(shop_chart: Path) -> None:
    found = render({}, chart=shop_chart)
    assert kinds(found) == {"Deployment", "ConfigMap", "Job", "Pod"}
    assert only(found, "Deployment")["metadata"]["name"] == "relay"
    assert only(found, "Job")["metadata"]["name"] == "relay-outbox-relay-migrate"
    assert kinds(render({"outbox-relay": {"migration": {"enabled": False}}}, chart=shop_chart)) == {
        "Deployment", "ConfigMap", "Pod",
    }  # fmt: skip
    for manifest in found:
        assert_valid(manifest)
        assert unconfined(manifest["spec"] if manifest["kind"] == "Pod" else pod_of(found)) == []


def test_the_application_waits_for_nothing_unless_one_says_so(shop_chart: Path) -> None:
    (relay,) = pod_of(render({}, chart=shop_chart))["initContainers"]
    assert not {"startupProbe", "readinessProbe"} & relay.keys()
    assert relay["resources"]["requests"] == {"cpu": "10m", "memory": "96Mi"}
    asked = {"outbox-relay": {"sidecar": {"readinessProbe": True}}}
    (relay,) = pod_of(render(asked, chart=shop_chart))["initContainers"]
    assert relay["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_plain_example_is_what_the_chart_makes(shop_chart: Path) -> None:
    plain = manifests((EXAMPLES / "sidecar.yaml").read_text("utf-8"))
    named = {"postgres": {"dsnSecret": {"name": "shop-outbox", "key": "dsn"}}, "fullnameOverride": "shop-relay"}
    found = render({"outbox-relay": named}, chart=shop_chart)
    for manifest in plain:
        assert_valid(manifest)
    assert only(plain, "ConfigMap")["data"] == only(found, "ConfigMap")["data"]
    made, written = pod_of(found), pod_of(plain)
    assert unconfined(written) == []
    assert written == made


@pytest.fixture
def shop(kube: Cluster, database: str, streams: Streams) -> dict[str, Any]:
    """The values of an application whose pods do nothing for a long time."""
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    kube.secret("shop-outbox", relay=as_relay(database), owner=database)
    kube.secret("shop-nats", password=NATS_USER["nats__password"])
    settings = {
        "nats": {"servers": [streams.url], "user": NATS_USER["nats__user"]},
        "http": {"port": free_port()},
    }
    return {
        "command": ["sleep", "600"],
        "outbox-relay": {"nats": {"passwordSecret": {"name": "shop-nats"}}, "config": settings},
    }


def test_sidecars_share_the_outbox_and_outlive_their_application(
    shop: dict[str, Any], shop_chart: Path, kube: Cluster, outbox: Outbox
) -> None:
    kube.helm("install", "relay", str(shop_chart), "--wait", values=shop)
    assert len(kube.ready_pods()) == 3
    owners = "SELECT count(DISTINCT owner) FROM outbox_shards WHERE lease_until > clock_timestamp()"
    wait_until("three owners", lambda: outbox.conn.execute(owners).fetchone() == (3,), PATIENT_S)
    used = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s"
    everything = (3 * CONNECTIONS_PER_RELAY,)
    # A relay opens the connection of its marks when it has something to mark.
    outbox.fill("orders.placed", 300, 30)
    outbox.drained()
    wait_until(
        "their connections", lambda: outbox.conn.execute(used, ("outbox-relay%",)).fetchone() == everything, PATIENT_S
    )
    outbox.fill("orders.placed", 300, 30)
    outbox.drained()
    assert outbox.conn.execute(used, ("outbox-relay%",)).fetchone() == everything
    kube.helm("uninstall", "relay", "--wait")
    wait_until("every pod gone", lambda: not kube.ready_pods() and len(kube.kubelet.ended) == 7, PATIENT_S)
    for pod in {one.pod for one in kube.kubelet.ended if one.container == "shop"}:
        last = [one for one in kube.kubelet.ended if one.pod == pod]
        assert [(one.container, one.killed) for one in last] == [("shop", False), ("outbox-relay", False)]
        assert last[1].code == 0


def test_a_job_with_a_native_sidecar_ends(shop: dict[str, Any], shop_chart: Path, kube: Cluster) -> None:
    kube.helm("install", "relay", str(shop_chart), "--wait", values=merged(shop, {"replicas": 0}))
    pod = pod_of(render(shop, chart=shop_chart))
    sends = {**pod["containers"][0], "command": ["relay", "send", "orders.placed", "--yes", "--wait", "30"]}
    owner = [{"name": "RELAY_POSTGRES__DSN", "valueFrom": {"secretKeyRef": {"name": "shop-outbox", "key": "owner"}}}]
    spec = {**pod, "containers": [{**sends, "env": owner}], "restartPolicy": "Never"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"labels": {}}}
    template = {"metadata": {"labels": {}}, "spec": spec}
    key = Key("batch/v1/jobs", NAMESPACE, "nightly")
    kube.store.create(key, {**job, "spec": {"backoffLimit": 0, "template": template}})
    wait_until("the Job complete", lambda: "status" in kube.store.get(key), PATIENT_S)
    assert kube.store.get(key)["status"]["conditions"][0]["type"] == "Complete"
    (done,) = [at.name for at in kube.store.find(PODS) if at.name.startswith("nightly")]
    wait_until("the relay gone", lambda: len([one for one in kube.kubelet.ended if one.pod == done]) == 2)
    assert [(one.container, one.code) for one in kube.kubelet.ended if one.pod == done] == [
        ("shop", 0),
        ("outbox-relay", 0),
    ]
    assert "is in stream ORDERS" in kube.kubelet.log(done)
