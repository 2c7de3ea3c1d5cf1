"""Values that are wrong, or do not go together, are refused with a sentence that says which."""

from typing import Any

import pytest

from tests.support.fix_helm import CHART, helm, refused


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"replicas": 2}, "replicas"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"fullnameOverride": "X_Y"}, "fullnameOverride"),
        ({"nameOverride": "-x"}, "nameOverride"),
        ({"config": {"delivery": {"fetch_bach": 5}}}, "fetch_bach"),
        ({"config": {"deliver": {}}}, "deliver"),
        ({"config": {"delivery": {"ordering": "keys"}}}, "config.delivery.ordering"),
        ({"config": {"delivery": {"window": 0}}}, "config.delivery.window"),
        ({"config": {"lease": {"ttl_s": "ten"}}}, "config.lease.ttl_s"),
        ({"config": {"http": {"port": 0}}}, "config.http.port"),
        ({"replicaCount": 65}, "replicaCount"),
        ({"mode": "daemonset"}, "mode"),
        ({"image": {"pullPolicy": "Sometimes"}}, "image.pullPolicy"),
        ({"migration": {"payloadType": "xml"}}, "migration.payloadType"),
        ({"postgres": {"dsnSecret": "shop"}}, "postgres.dsnSecret"),
        ({"podDisruptionBudget": {"minAvailable": "half"}}, "podDisruptionBudget.minAvailable"),
        ({"podMonitor": {"interval": "often"}}, "podMonitor.interval"),
        ({"extraEnv": [{"value": "x"}]}, "name is required"),
    ],
)
def test_a_typo_is_refused_and_named(values: dict[str, Any], where: str) -> None:
    said = refused(**values)
    assert "values don't meet the specifications of the schema" in said and where in said


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"postgres": {"dsnSecret": {"name": ""}}}, "postgres.dsnSecret.name: name the Secret"),
        ({"config": {"nats": {"servers": []}}}, "config.nats.servers: name the NATS servers"),
        ({"config": {"postgres": {"dsn": "postgresql://x"}}}, "config.postgres.dsn: a secret does not belong"),
        ({"config": {"nats": {"token": "x"}}}, "config.nats.token: a secret does not belong"),
        ({"config": {"nats": {"servers": ["nats://u:pw@n:4222"]}}}, "config.nats.servers: a secret does not belong"),
        ({"config": {"nats": {"servers": ["nats://m:4222", "tok@n"]}}}, "config.nats.servers: a secret does not"),
        ({"config": {"nats": {"servers": "nats://u:pw@n:4222"}}}, "config.nats.servers: a secret does not belong"),
        ({"extraEnv": [{"name": "RELAY_NATS__SERVERS", "value": "nats://t@n"}]}, "extraEnv RELAY_NATS__SERVERS: a sec"),
        ({"config": {"postgres": {"dsn_file": "/x"}}}, "config.postgres.dsn_file and postgres.dsnSecret exclude"),
        ({"extraEnv": [{"name": "RELAY_NATS__TOKEN", "value": "x"}]}, "extraEnv RELAY_NATS__TOKEN: a secret"),
        ({"nats": {"credsSecret": {"name": "a"}, "tokenSecret": {"name": "b"}}}, "credsSecret and nats.tokenSecret"),
        ({"nats": {"passwordSecret": {"name": "a"}}}, "say whose it is in config.nats.user"),
        ({"config": {"nats": {"user": "relay"}}}, "name the Secret with the password"),
        ({"nats": {"tlsSecret": {"name": "a", "cert": "tls.crt"}}}, "nats.tlsSecret: cert and key go together"),
        ({"config": {"http": {"enabled": False}}}, "config.http.enabled: must stay true"),
        ({"config": {"http": {"host": "127.0.0.1"}}}, "config.http.host: the probes do not come over loopback"),
        ({"terminationGracePeriodSeconds": 20}, "20 s are fewer than the 35"),
        ({"podDisruptionBudget": {"enabled": True, "minAvailable": 1, "maxUnavailable": 1}}, "exclude each other"),
        ({"podDisruptionBudget": {"enabled": True, "minAvailable": 2}}, "with 2 of 2 relays no node can ever"),
        ({"podDisruptionBudget": {"enabled": True, "maxUnavailable": 0}}, "no node can ever be drained"),
        ({"mode": "sidecar", "networkPolicy": {"enabled": True}}, "networkPolicy.enabled: in a sidecar"),
        ({"mode": "sidecar", "podMonitor": {"enabled": True}}, "podMonitor.matchLabels: which pods"),
        ({"prometheusRule": {"enabled": True, "excludeRules": ["Typo"]}}, "there is no alert Typo"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(**values)


def test_all_faults_are_said_at_once() -> None:
    done = helm("template", "relay", str(CHART), check=False)
    assert "postgres.dsnSecret.name: name the Secret" in done.stderr
    assert "migration.dsnSecret.name: name the Secret" in done.stderr
    assert "config.nats.servers: name the NATS servers" in done.stderr


def test_an_older_kubernetes_is_refused() -> None:
    done = helm("template", "relay", str(CHART), "--kube-version", "1.28.9", check=False)
    assert "requires kubeVersion: >=1.29.0-0" in done.stderr
