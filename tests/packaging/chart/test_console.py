"""The console in the chart: a Deployment of its own, with rights of its own."""

import tomllib
from typing import Any

import pytest
import yaml

from relay.config.settings import load
from relay.console.access.setup import setup_faults
from tests.packaging.chart.test_options import environment, files
from tests.support.fix_helm import CHART, config_toml, merged, only, refused, render, with_minimal

VALUES = yaml.safe_load((CHART / "ci" / "console-values.yaml").read_text("utf-8"))
TOKENS = {"enabled": True, "tokensSecret": {"name": "console"}}


def test_without_being_asked_for_there_is_none() -> None:
    assert [one for one in with_minimal() if one["metadata"]["name"].endswith("-console")] == []


def test_it_looks_and_changes_with_addresses_of_its_own_and_the_relays_have_neither() -> None:
    found = render(VALUES)
    spec = only(found, "Deployment", "-console")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["args"] == ["console"]
    own = files(spec)
    assert own["postgres/dsn"] == ("console", "reader")
    assert own["console/operator-dsn"] == ("console", "operator")
    assert own["console/proxy-secret"] == ("console", "proof")
    env = environment(container)
    assert (env["RELAY_CONSOLE__HOST"], env["RELAY_CONSOLE__WRITE"]) == ("0.0.0.0", "true")
    (relay,) = [
        one for one in found if one["kind"] == "Deployment" and not one["metadata"]["name"].endswith("-console")
    ]
    assert files(relay["spec"]["template"]["spec"]) == {"postgres/dsn": ("shop-outbox", "dsn")}
    assert not any("CONSOLE" in name for name in environment(relay["spec"]["template"]["spec"]["containers"][0]))


def test_what_it_is_given_lets_it_start(tmp_path: Any) -> None:
    found = render(VALUES)
    (container,) = only(found, "Deployment", "-console")["spec"]["template"]["spec"]["containers"]
    file = tmp_path / "config.toml"
    file.write_text(config_toml(found))
    env = environment(container) | {"RELAY_CONFIG": ""}
    for name in [name for name in env if name.endswith("_FILE")]:
        (tmp_path / name).write_text(f"postgresql://console@db/{name}")
        env[name] = str(tmp_path / name)
    section = load(file, environ=env).console
    assert setup_faults(section) == []
    assert (section.auth, section.hosts, section.write) == ("proxy", ("relay.example.com",), True)


def test_with_tokens_alone_it_only_looks() -> None:
    found = with_minimal(console=TOKENS)
    spec = only(found, "Deployment", "-console")["spec"]["template"]["spec"]
    env = environment(spec["containers"][0])
    assert env["RELAY_CONSOLE__AUTH"] == "token"
    assert "RELAY_CONSOLE__WRITE" not in env
    assert {"console/reader-token", "console/operator-token"} < files(spec).keys()


def test_its_service_leads_to_it_and_its_policy_lets_in_whom_it_names() -> None:
    found = render(VALUES)
    pod = only(found, "Deployment", "-console")["spec"]["template"]
    service = only(found, "Service", "-console")["spec"]
    assert service["type"] == "ClusterIP"
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    policy = only(found, "NetworkPolicy", "-console")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": 9465, "protocol": "TCP"}]
    assert rule["from"] == VALUES["console"]["from"]
    assert service["ports"][0]["port"] == tomllib.loads(config_toml(found))["console"].get("port", 9465)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"console": {"enabled": True}}, "console.tokensSecret.name"),
        ({"console": TOKENS, "config": {"console": {"auth": "link"}}}, "config.console.auth"),
        ({"console": {"enabled": True}, "config": {"console": {"auth": "proxy"}}}, "config.console.trusted_proxies"),
        ({"console": TOKENS, "config": {"console": {"write": True}}}, "config.console.write"),
        ({"console": TOKENS, "config": {"console": {"host": "127.0.0.1"}}}, "config.console.host"),
        ({"console": TOKENS, "mode": "sidecar"}, "console.enabled"),
        ({"console": {"enabld": True}}, "enabld"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], said: str) -> None:
    assert said in refused(**merged({}, values))
