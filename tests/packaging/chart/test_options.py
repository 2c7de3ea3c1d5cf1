"""What each value does."""

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fix_helm import (
    CHART,
    Manifest,
    config_toml,
    helm,
    kinds,
    manifests,
    merged,
    only,
    relay_container,
    render,
    with_minimal,
)
from tests.support.fix_prometheus import promtool

EVERYTHING = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text("utf-8"))
ADD_ONS = ("podMonitor", "prometheusRule", "dashboard")


def texts_of(tree: Any) -> list[Any]:
    """Return every value that Kubernetes wants as text: of labels, annotations and selectors, and each name."""
    if isinstance(tree, list):
        return [text for one in tree for text in texts_of(one)]
    if not isinstance(tree, dict):
        return []
    found: list[Any] = []
    for name, value in tree.items():
        if name in ("labels", "annotations", "matchLabels"):
            found += value.values()
        elif name in ("name", "serviceAccountName"):
            found.append(value)
        found += texts_of(value)
    return found


def environment(container: Manifest) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env", [])}


def files(spec: Manifest) -> dict[str, tuple[str, str]]:
    """Return the files of a pod's secrets: path to Secret and key."""
    found = {}
    for volume in spec.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                found[item["path"]] = (source["secret"]["name"], item["key"])
    return found


def deployed(**values: Any) -> Manifest:
    """Return the pod of the Deployment."""
    spec: Manifest = only(with_minimal(**values), "Deployment")["spec"]["template"]["spec"]
    return spec


def test_three_values_are_an_install() -> None:
    args = ["--set", "image.repository=registry.example/relay", "--set", "postgres.dsnSecret.name=shop-outbox"]
    args += ["--set", "config.nats.servers=nats://nats:4222"]
    found = render({}, args=args)
    assert kinds(found) == {"ServiceAccount", "ConfigMap", "Deployment", "Job", "Pod"}
    assert relay_container(found)["image"].startswith("registry.example/relay:")
    assert tomllib.loads(config_toml(found))["nats"] == {"servers": "nats://nats:4222"}


def test_settings_become_toml_and_a_change_restarts_the_pods() -> None:
    settings = {
        "nats": {"servers": ["nats://a:4222"], "name": 'with "quotes" \\ and <ünïcode>', "ping_interval_s": 5},
        "delivery": {"bell": False, "poll_max_s": 0.5, "buffer_bytes": 67108864},
        "subject": {"template": "{topic}", "allow": ["orders.>", "shop.*"]},
        "http": {"port": 9000},
    }
    found = with_minimal(config=settings)
    assert tomllib.loads(config_toml(found)) == merged(settings, {"http": {"host": "0.0.0.0"}})
    assert relay_container(found)["ports"] == [{"name": "relay-http", "containerPort": 9000, "protocol": "TCP"}]

    def checksum(found: list[Manifest]) -> str:
        return str(only(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum(found) == checksum(with_minimal(config=settings))
    assert checksum(found) != checksum(with_minimal(config=merged(settings, {"http": {"port": 9001}})))


def test_a_host_of_ones_own_is_kept() -> None:
    assert tomllib.loads(config_toml(with_minimal(config={"http": {"host": "::"}})))["http"] == {"host": "::"}


@pytest.mark.parametrize(
    ("values", "path", "where", "variable"),
    [
        ({"postgres": {"bellDsnSecret": {"name": "s"}}}, "postgres/bell-dsn", ("s", "bell-dsn"), "POSTGRES__BELL_DSN"),
        ({"nats": {"credsSecret": {"name": "s", "key": "c"}}}, "nats/creds", ("s", "c"), "NATS__CREDS"),
        ({"nats": {"tokenSecret": {"name": "s"}}}, "nats/token", ("s", "token"), "NATS__TOKEN"),
        ({"nats": {"nkeySeedSecret": {"name": "s"}}}, "nats/nkey", ("s", "nkey"), "NATS__NKEY_SEED"),
        (
            {"nats": {"passwordSecret": {"name": "s"}}, "config": {"nats": {"user": "relay"}}},
            "nats/password", ("s", "password"), "NATS__PASSWORD",
        ),
        ({"nats": {"tlsSecret": {"name": "s"}}}, "nats/ca.crt", ("s", "ca.crt"), "NATS__TLS_CA"),
        ({"nats": {"tlsSecret": {"name": "s", "cert": "c", "key": "k"}}}, "nats/tls.key", ("s", "k"), "NATS__TLS_KEY"),
        ({"nats": {"tlsSecret": {"name": "s", "cert": "c", "key": "k"}}}, "nats/tls.crt", ("s", "c"), "NATS__TLS_CERT"),
    ],
)  # fmt: skip
def test_a_secret_is_a_file_that_the_relay_is_told_of(
    values: dict[str, Any], path: str, where: tuple[str, str], variable: str
) -> None:
    spec = deployed(**values)
    assert files(spec)[path] == where
    assert environment(spec["containers"][0])[f"RELAY_{variable}_FILE"] == f"/run/secrets/outbox-relay/{path}"
    assert {one["mountPath"] for one in spec["containers"][0]["volumeMounts"] if one["readOnly"]} == {
        "/etc/outbox-relay",
        "/run/secrets/outbox-relay",
    }


def test_certificates_of_postgres_lie_where_the_address_names_them() -> None:
    found = with_minimal(postgres={"tlsSecret": {"name": "s", "cert": "tls.crt", "key": "tls.key"}})
    expected = {f"postgres/{name}": ("s", name) for name in ("ca.crt", "tls.crt", "tls.key")}
    for spec in (only(found, "Deployment")["spec"]["template"]["spec"], only(found, "Job")["spec"]["template"]["spec"]):
        assert expected.items() <= files(spec).items()
        assert spec["volumes"][-1]["projected"]["defaultMode"] == 0o440
    assert environment(relay_container(found)).keys() == {"RELAY_CONFIG", "RELAY_POSTGRES__DSN_FILE"}


def test_the_table_is_made_before_anything_else_with_the_owners_address() -> None:
    owner = {"name": "shop-outbox", "key": "owner"}
    values = {"migration": {"dsnSecret": owner, "payloadType": "text", "bell": False}}
    job = only(with_minimal(**values, config={"postgres": {"table": "shop.events"}}), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert [*container["command"], *container["args"]] == [
        "relay", "migrate", "--payload-type", "text", "--table", "shop.events", "--no-bell",
    ]  # fmt: skip
    assert files(spec) == {"postgres/dsn": ("shop-outbox", "owner")}
    assert environment(container) == {"RELAY_POSTGRES__DSN_FILE": "/run/secrets/outbox-relay/postgres/dsn"}
    # Neither account nor ConfigMap of the chart is there yet.
    assert "serviceAccountName" not in spec and all("configMap" not in volume for volume in spec["volumes"])


def test_the_migration_takes_the_relays_address_where_it_has_none_and_can_be_switched_off() -> None:
    job = only(with_minimal(), "Job")
    assert files(job["spec"]["template"]["spec"]) == {"postgres/dsn": ("shop-outbox", "dsn")}
    assert "Job" not in kinds(with_minimal(migration={"enabled": False}))


@pytest.mark.parametrize("timeout_s", [None, 0.5, 2, 30])
def test_a_pod_is_given_the_time_that_its_shutdown_may_take(timeout_s: float | None) -> None:
    settings = {} if timeout_s is None else {"delivery": {"shutdown_timeout_s": timeout_s}}
    expected = math.ceil(3 * (timeout_s or 10) + 5)
    assert deployed(config=settings)["terminationGracePeriodSeconds"] == expected
    assert deployed(config=settings, terminationGracePeriodSeconds=200)["terminationGracePeriodSeconds"] == 200


def test_probes_ask_for_progress_to_live_and_for_everything_to_be_ready() -> None:
    container = relay_container(with_minimal(probes={"readiness": {"periodSeconds": 7}}))
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "relay-http"},
        "liveness": {"path": "/healthz", "port": "relay-http"},
        "readiness": {"path": "/readyz", "port": "relay-http"},
    }
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
    assert container["readinessProbe"]["periodSeconds"] == 7


def test_replicas_spread_over_nodes_and_one_at_a_time_may_go() -> None:
    found = with_minimal(podDisruptionBudget={"enabled": True})
    deployment, budget = only(found, "Deployment"), only(found, "PodDisruptionBudget")
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == budget["spec"]["selector"] == {"matchLabels": labels}
    assert (budget["spec"]["maxUnavailable"], "minAvailable" in budget["spec"]) == (1, False)
    least = only(with_minimal(podDisruptionBudget={"enabled": True, "minAvailable": "50%"}), "PodDisruptionBudget")
    assert (least["spec"]["minAvailable"], "maxUnavailable" in least["spec"]) == ("50%", False)


def test_a_policy_lets_scrapes_in_and_the_two_servers_out() -> None:
    found = with_minimal(networkPolicy={"enabled": True, "nats": {"port": 4333, "to": [{"podSelector": {}}]}})
    spec = only(found, "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": 9464, "protocol": "TCP"}]}]
    dns, postgres, nats = spec["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert postgres == {"ports": [{"port": 5432, "protocol": "TCP"}]}
    assert nats == {"ports": [{"port": 4333, "protocol": "TCP"}], "to": [{"podSelector": {}}]}
    # The Job and the tests have these labels as well: they need the same ways.
    for one in (
        only(found, "Deployment")["spec"]["template"],
        only(found, "Job")["spec"]["template"],
        only(found, "Pod"),
    ):
        assert spec["podSelector"]["matchLabels"].items() <= one["metadata"]["labels"].items()


def test_each_relay_is_scraped_and_no_other_pod() -> None:
    found = with_minimal(podMonitor={"enabled": True, "labels": {"release": "prometheus"}})
    monitor = only(found, "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= only(found, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert not labels.items() <= only(found, "Job")["spec"]["template"]["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == (relay_container(found)["ports"][0]["name"], "/metrics")


def test_a_test_proves_the_set_up_and_sends_an_event_where_there_is_a_topic_for_it() -> None:
    found = with_minimal()
    doctor = only(found, "Pod")
    assert doctor["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert doctor["spec"]["containers"][0]["args"] == ["doctor"]
    found = with_minimal(
        test={"topic": "trial.hello", "timeoutSeconds": 5}, migration={"dsnSecret": {"name": "s", "key": "owner"}}
    )
    assert only(found, "Pod", "doctor")["spec"]["containers"][0]["args"] == ["doctor", "--subject", "trial.hello"]
    sender = only(found, "Pod", "round-trip")["spec"]
    assert sender["containers"][0]["args"][:2] == ["send", "trial.hello"]
    assert sender["containers"][0]["args"][-3:] == ["--wait", "5", "--yes"]
    assert files(sender) == {"postgres/dsn": ("s", "owner")}
    assert sender["restartPolicy"] == "Never"


def test_images_by_digest_by_tag_and_by_the_charts_own_version() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"]
    assert relay_container(with_minimal())["image"] == f"outbox-relay:{version}"
    assert relay_container(with_minimal(image={"tag": "dev"}))["image"] == "outbox-relay:dev"
    digest = "sha256:" + "0" * 64
    assert relay_container(with_minimal(image={"tag": "dev", "digest": digest}))["image"] == f"outbox-relay@{digest}"


def test_what_the_chart_does_not_know_can_be_added() -> None:
    spec = deployed(
        extraEnv=[{"name": "PGAPPNAME", "value": "shop"}],
        extraEnvFrom=[{"secretRef": {"name": "more"}}],
        extraVolumes=[{"name": "v", "emptyDir": {}}],
        extraVolumeMounts=[{"name": "v", "mountPath": "/v"}],
        extraContainers=[{"name": "tunnel", "image": "tunnel:1"}],
        podSecurityContext={"fsGroup": 5},
        priorityClassName="high",
        imagePullSecrets=[{"name": "registry"}],
    )
    container = spec["containers"][0]
    assert environment(container)["PGAPPNAME"] == "shop"
    assert container["envFrom"] == [{"secretRef": {"name": "more"}}]
    assert {"name": "v", "emptyDir": {}} in spec["volumes"]
    assert {"name": "v", "mountPath": "/v"} in container["volumeMounts"]
    assert spec["containers"][1]["name"] == "tunnel"
    assert (spec["securityContext"]["fsGroup"], spec["priorityClassName"]) == (5, "high")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_an_account_of_ones_own_is_used() -> None:
    found = with_minimal(serviceAccount={"create": False, "name": "messaging"})
    assert "ServiceAccount" not in kinds(found)
    assert only(found, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "messaging"
    account = only(with_minimal(), "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert deployed()["serviceAccountName"] == account["metadata"]["name"]


def rules_of(found: list[Manifest]) -> list[Manifest]:
    groups = only(found, "PrometheusRule")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_alerts_are_those_of_the_file() -> None:
    written = yaml.safe_load((CHART / "files" / "rules.yaml").read_text("utf-8"))
    found = with_minimal(prometheusRule={"enabled": True, "labels": {"release": "prometheus"}})
    assert only(found, "PrometheusRule")["spec"] == written
    assert only(found, "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_alerts_are_left_out_labelled_and_led_to_ones_own_runbooks() -> None:
    own = {"ruleLabels": {"team": "shop"}, "excludeRules": ["OutboxRelayDown"], "runbookBase": "https://r.example/"}
    before = rules_of(with_minimal(prometheusRule={"enabled": True}))
    after = rules_of(with_minimal(prometheusRule={"enabled": True, **own}))
    kept = [rule for rule in before if rule.get("alert") != "OutboxRelayDown"]
    assert len(kept) < len(before)
    for old, new in zip(kept, after, strict=True):
        assert (new["expr"], new.get("for")) == (old["expr"], old.get("for"))
        if "alert" in old:
            assert new["labels"] == {**old["labels"], "team": "shop"}
            assert new["annotations"]["runbook_url"] == f"https://r.example/{old['alert']}.md"
        else:
            assert new == old


def test_promtool_is_content_with_the_rules_as_they_are_made(tmp_path: Path) -> None:
    values = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text("utf-8"))
    made = tmp_path / "rules.yaml"
    made.write_text(yaml.safe_dump(only(render(values), "PrometheusRule")["spec"]), "utf-8")
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(made))


def test_the_dashboard_is_that_of_the_file_where_grafana_looks_for_it() -> None:
    found = with_minimal(dashboard={"enabled": True, "annotations": {"grafana_folder": "Messaging"}})
    made = only(found, "ConfigMap", "-dashboard")
    written = (CHART / "files" / "dashboard.json").read_text("utf-8")
    assert json.loads(made["data"]["outbox-relay.json"]) == json.loads(written)
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["annotations"] == {"grafana_folder": "Messaging"}


def test_a_release_with_a_number_for_a_name_has_texts_for_labels() -> None:
    done = helm(
        "template", "1234567", str(CHART), values=merged(EVERYTHING, {"fullnameOverride": "42", "nameOverride": "7"})
    )
    for one in manifests(done.stdout):
        assert isinstance(one["metadata"]["name"], str)
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "1234567" and labels["app.kubernetes.io/name"] == "7"
        assert all(isinstance(value, str) for value in texts_of(one))


@pytest.mark.parametrize(
    ("common", "pod", "shown"),
    [
        ({"team": "shop"}, {"team": "messaging"}, {"team": "messaging"}),
        ({"app.kubernetes.io/instance": "x"}, {"app.kubernetes.io/component": "y"}, {}),
        ({"cost": "1"}, {"tier": "true"}, {"cost": "1", "tier": "true"}),
    ],
)
def test_labels_that_overlap_are_written_once_and_the_charts_own_go_first(
    common: dict[str, str], pod: dict[str, str], shown: dict[str, str]
) -> None:
    labels = {"labels": {**common, "extra": "one"}}
    values = {"commonLabels": common, "podLabels": pod, "service": {"enabled": True, **labels}}
    found = with_minimal(**values, **{name: {"enabled": True, **labels} for name in ADD_ONS})
    own = {"app.kubernetes.io/instance": "relay", "app.kubernetes.io/component": "relay"}
    deployment = only(found, "Deployment")
    assert {**shown, **own}.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() >= own.items()
    for one in found:
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "relay"


def test_a_service_and_annotations_for_scraping_lead_to_the_port_of_each_relay() -> None:
    port = {"config": {"http": {"port": 9000}}}
    plain = with_minimal(**port)
    assert "Service" not in kinds(plain)
    assert "prometheus.io/scrape" not in only(plain, "Deployment")["spec"]["template"]["metadata"].get(
        "annotations", {}
    )
    found = with_minimal(service={"enabled": True}, scrapeAnnotations=True, **port)
    service, pod = only(found, "Service")["spec"], only(found, "Deployment")["spec"]["template"]
    assert (service["clusterIP"], [one["port"] for one in service["ports"]]) == ("None", [9000])
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "9000"


def test_annotations_that_overlap_are_written_once() -> None:
    found = with_minimal(
        podAnnotations={"checksum/config": "mine", "prometheus.io/port": "1"},
        scrapeAnnotations=True,
        migration={"annotations": {"helm.sh/hook-weight": "3", "team": "shop"}},
    )
    pod = only(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert pod.pop("checksum/config") != "mine", "a change of the settings must restart the pods"
    assert pod == {"prometheus.io/scrape": "true", "prometheus.io/port": "1", "prometheus.io/path": "/metrics"}
    job = only(found, "Job")["metadata"]["annotations"]
    assert (job["helm.sh/hook-weight"], job["team"]) == ("3", "shop")
    assert job["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_the_pod_of_the_migration_takes_annotations() -> None:
    mesh = {"sidecar.istio.io/inject": "false"}
    job = only(with_minimal(migration={"podAnnotations": mesh}), "Job")
    assert job["spec"]["template"]["metadata"]["annotations"] == mesh


@pytest.mark.parametrize(
    ("servers", "ports"),
    [
        (["tls://nats:4443"], [4443]),
        ("nats://a:4333, nats://b:4444/", [4333, 4444]),
        (["nats://a", "nats://[::1]", "nats://b:4222"], [4222]),
        (["nats://[2001:db8::1]:4500"], [4500]),
    ],
)
def test_a_policy_lets_out_to_the_ports_that_the_servers_name(servers: object, ports: list[int]) -> None:
    values: dict[str, Any] = {"config": {"nats": {"servers": servers}}, "networkPolicy": {"enabled": True}}
    nats = only(with_minimal(**values), "NetworkPolicy")["spec"]["egress"][2]
    assert nats == {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def test_a_service_leads_to_each_relay_ready_or_not() -> None:
    assert "Service" not in kinds(with_minimal())
    found = with_minimal(service={"enabled": True, "annotations": {"a": "b"}}, config={"http": {"port": 9000}})
    service = only(found, "Service")
    assert service["metadata"]["annotations"] == {"a": "b"}
    spec = service["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == only(found, "Deployment")["spec"]["selector"]["matchLabels"]
    (port,) = spec["ports"]
    assert (port["port"], port["targetPort"]) == (9000, relay_container(found)["ports"][0]["name"])
