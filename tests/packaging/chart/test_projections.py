"""Projections as a Deployment of their own: what each value does."""

import tomllib
from typing import Any

import pytest

from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import TABLES
from tests.packaging.chart.test_options import environment, files
from tests.support.fix_helm import (
    MINIMAL,
    Manifest,
    config_toml,
    kinds,
    merged,
    only,
    pod_specs,
    refused,
    render,
    with_minimal,
)

DEFINITION = FILE.replace("MODE", "each")
PROJECTIONS: dict[str, Any] = {
    "enabled": True,
    "files": {"trail.toml": DEFINITION, "trail.sql": TABLES},
    "dsnSecret": {"name": "shop-models"},
}


def with_projections(**values: Any) -> list[Manifest]:
    """Render with the least values for projections and some more."""
    return with_minimal(**merged({"projections": PROJECTIONS}, values))


def runner(found: list[Manifest]) -> Manifest:
    """Return the pod of the runners."""
    spec: Manifest = only(found, "Deployment", "-projections")["spec"]["template"]["spec"]
    return spec


def test_without_projections_nothing_of_them_is_made() -> None:
    assert not [one for one in with_minimal() if "projections" in one["metadata"]["name"]]


def test_runners_are_a_deployment_of_their_own_with_files_account_and_secret() -> None:
    found = with_projections(nats={"credsSecret": {"name": "shop-nats"}})
    relay, runners = only(found, "Deployment", "outbox-relay"), only(found, "Deployment", "-projections")
    labels = runners["spec"]["selector"]["matchLabels"]
    assert labels.items() <= runners["spec"]["template"]["metadata"]["labels"].items()
    assert not labels.items() <= relay["spec"]["template"]["metadata"]["labels"].items()
    spec = runner(found)
    assert (
        spec["serviceAccountName"]
        == "relay-outbox-relay-projections"
        != relay["spec"]["template"]["spec"]["serviceAccountName"]
    )
    assert only(found, "ServiceAccount", "-projections")["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert [*container["command"], *container["args"]] == ["relay", "projection", "run", "/etc/outbox-projections"]
    assert files(spec) == {"postgres/dsn": ("shop-models", "dsn"), "nats/creds": ("shop-nats", "nats.creds")}
    assert environment(container) == {
        "RELAY_CONFIG": "/etc/outbox-relay/config.toml",
        "RELAY_PROJECTION_HTTP__HOST": "0.0.0.0",
        "RELAY_POSTGRES__DSN_FILE": "/run/secrets/outbox-relay/postgres/dsn",
        "RELAY_NATS__CREDS_FILE": "/run/secrets/outbox-relay/nats/creds",
    }
    (volume,) = [one for one in spec["volumes"] if one["name"] == "projections"]
    made = only(found, "ConfigMap", volume["configMap"]["name"])
    assert made["data"] == PROJECTIONS["files"]


def test_a_change_of_a_definition_restarts_the_runners_all_at_once() -> None:
    def annotations(**values: Any) -> dict[str, str]:
        runners = only(with_projections(**values), "Deployment", "-projections")
        assert runners["spec"]["strategy"] == {"type": "Recreate"}
        found: dict[str, str] = runners["spec"]["template"]["metadata"]["annotations"]
        return found

    before = annotations()
    assert annotations() == before
    changed = annotations(projections={"files": {"trail.sql": f"{TABLES};"}})
    assert changed["checksum/projections"] != before["checksum/projections"]
    assert annotations(config={"nats": {"name": "x"}})["checksum/config"] != before["checksum/config"]


def test_probes_and_scrapes_ask_the_port_of_the_runners() -> None:
    switched_on = {
        name: {"enabled": True} for name in ("podMonitor", "service", "networkPolicy", "podDisruptionBudget")
    }
    found = with_projections(config={"projection_http": {"port": 9000}}, scrapeAnnotations=True, **switched_on)
    spec = runner(found)
    (container,) = spec["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == 9000
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {
        kind: {"path": path, "port": port["name"]}
        for kind, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz"))
    }
    template = only(found, "Deployment", "-projections")["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/port"] == "9000"
    of_relay = only(found, "Deployment", "outbox-relay")["spec"]["template"]["metadata"]["labels"]
    monitor = only(found, "PodMonitor", "-projections")["spec"]
    assert monitor["podMetricsEndpoints"][0]["port"] == port["name"]
    policy = only(found, "NetworkPolicy", "-projections")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": 9000, "protocol": "TCP"}]}]
    for labels in (
        monitor["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
        only(found, "Service", "-projections")["spec"]["selector"],
        only(found, "PodDisruptionBudget", "-projections")["spec"]["selector"]["matchLabels"],
    ):
        assert labels.items() <= template["labels"].items() and not labels.items() <= of_relay.items()


def test_the_policy_lets_the_runners_out_to_their_databases_and_nats_alone() -> None:
    own = {"networkPolicy": {"postgres": {"port": 6432, "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}}
    found = with_projections(networkPolicy={"enabled": True}, projections=own)
    _, *ways = only(found, "NetworkPolicy", "-projections")["spec"]["egress"]
    assert ways == [
        {"ports": [{"port": 6432, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        {"ports": [{"port": 4222, "protocol": "TCP"}]},
    ]
    redis = merged(own, {"redisUrlSecret": {"name": "shop-redis"}})
    found = with_projections(networkPolicy={"enabled": True}, projections=redis)
    assert only(found, "NetworkPolicy", "-projections")["spec"]["egress"][3] == {
        "ports": [{"port": 6379, "protocol": "TCP"}]
    }
    assert files(runner(found))["redis/url"] == ("shop-redis", "url")
    (container,) = runner(found)["containers"]
    assert environment(container)["RELAY_REDIS__URL_FILE"] == "/run/secrets/outbox-relay/redis/url"


def test_classes_and_a_config_map_of_ones_own_are_taken() -> None:
    own = {"enabled": True, "dsnSecret": {"name": "s"}}
    found = with_minimal(projections={**own, "existingConfigMap": "models", "classes": ["shop.models:Alarms"]})
    (container,) = runner(found)["containers"]
    assert container["args"] == ["projection", "run", "/etc/outbox-projections", "shop.models:Alarms"]
    assert not [one for one in found if one["metadata"]["name"].endswith("-files")]
    found = with_minimal(projections={**own, "classes": ["shop.models:Alarms"]})
    (container,) = runner(found)["containers"]
    assert container["args"] == ["projection", "run", "shop.models:Alarms"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in runner(found)["volumes"]}


def test_runners_may_be_a_user_of_their_own_at_nats() -> None:
    relays = {"nats": {"passwordSecret": {"name": "shop-nats"}}, "config": {"nats": {"user": "relay"}}}
    (container,) = runner(with_projections(**relays))["containers"]
    assert "RELAY_NATS__USER" not in environment(container)
    own = {"nats": {"user": "models", "passwordSecret": {"name": "models-nats"}}}
    spec = runner(with_projections(**relays, projections=own))
    assert files(spec)["nats/password"] == ("models-nats", "password")
    assert environment(spec["containers"][0])["RELAY_NATS__USER"] == "models"
    by_file = runner(with_projections(**relays, projections={"nats": {"credsSecret": {"name": "models-nats"}}}))
    assert "nats/password" not in files(by_file)
    assert environment(by_file["containers"][0])["RELAY_NATS__USER"] == "", "the relays' user is not theirs"


def test_they_run_beside_sidecars_too() -> None:
    values = merged(MINIMAL, {"mode": "sidecar", "projections": PROJECTIONS})
    found = render(values)
    assert kinds(found) >= {"Deployment", "ConfigMap", "ServiceAccount"}
    assert list(pod_specs(found)) and runner(found)["containers"][0]["name"] == "projections"
    assert tomllib.loads(config_toml(found))["nats"] == {"servers": ["nats://nats:4222"]}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"projections": {"files": None}}, "projections.files: give the definitions"),
        ({"projections": {"dsnSecret": {"name": ""}}}, "projections.dsnSecret.name: name the Secret"),
        ({"projections": {"existingConfigMap": "x"}}, "projections.files and projections.existingConfigMap exclude"),
        ({"config": {"projection_http": {"enabled": False}}}, "config.projection_http.enabled: must stay true"),
        ({"config": {"projection_http": {"host": "::1"}}}, "config.projection_http.host: the probes do not come"),
        ({"config": {"redis": {"url": "redis://x"}}}, "config.redis.url: a secret does not belong in values"),
        (
            {"projections": {"extraEnv": [{"name": "RELAY_REDIS__URL", "value": "x"}]}},
            "projections.extraEnv RELAY_REDIS__URL: a secret",
        ),
        ({"projections": {"nats": {"user": "x"}}}, "projections.nats: user and passwordSecret go together"),
        (
            {"projections": {"nats": {"credsSecret": {"name": "a"}, "tokenSecret": {"name": "b"}}}},
            "projections.nats.credsSecret and projections.nats.tokenSecret exclude each other",
        ),
        ({"projections": {"files": {"trail.py": "x"}}}, "trail.py"),
        ({"projections": {"classes": ["shop"]}}, "projections.classes"),
        ({"config": {"projection_http": {"port": 0}}}, "config.projection_http.port"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(**merged({"projections": PROJECTIONS}, values))
