"""The chart refuses at install what the relay would refuse at its start, and nothing else."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.config.settings import Settings
from tests.support.fix_helm import CHART, helm, merged, refused, with_minimal

PROBE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: probe}
data:
{{- range $number, $case := .Values.cases }}
  c{{ $number }}: {{ include (printf "outbox-relay.%s" $case.template) $case.given | toJson }}
{{- end }}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a chart that only says what the templates of the settings make of its cases."""
    chart = tmp_path_factory.mktemp("probe")
    (chart / "templates").mkdir()
    shutil.copy(CHART / "templates" / "_settings.tpl", chart / "templates")
    (chart / "templates" / "probe.yaml").write_text(PROBE, "utf-8")
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: probe, version: 0.1.0}", "utf-8")
    return chart


def chart_says(probe: Path, cases: Sequence[tuple[str, object]]) -> list[str]:
    """Return what a template says of a value, for each of the cases; an empty text if nothing is wrong."""
    asked = [{"template": template, "given": given} for template, given in cases]
    said = yaml.safe_load(helm("template", "probe", str(probe), values={"cases": asked}).stdout)["data"]
    return [said[f"c{number}"] for number in range(len(cases))]


def relay_refuses(given: Mapping[str, Mapping[str, object]]) -> bool:
    try:
        Settings.model_validate(given)
    except ValidationError:
        return True
    return False


def kinds() -> dict[str, str]:
    """Return the settings whose form the chart looks at, each with the template that does."""
    text = (CHART / "templates" / "_settings.tpl").read_text("utf-8")
    return dict(yaml.safe_load(text.split('"outbox-relay.settingKinds" -}}\n')[1].split("{{- end }}")[0]))


def one(setting: str, kind: str, text: str) -> dict[str, dict[str, object]]:
    section, name = setting.split(".")
    return {section: {name: [text] if kind.endswith("...") else text}}


# Each example is a run of helm with many cases in it: to look for a smaller one would take minutes.
FEW = settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
PRINTED = st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"])
PARTS = {
    "table": ["app", ".", "Shop", "outbox_events", "_", "1", "-", "x" * 40],
    "server": [
        "nats",
        "tls",
        "://",
        "http",
        "NATS",
        "host",
        "a.b",
        ":",
        "4222",
        "0",
        "65536",
        "/",
        "u:p@",
        "%2F",
        "[::1]",
        " ",
        "?x",
        "#x",
    ],
    "template": ["{topic}", "{key}", "{tpic}", "{", "}", ".", "orders", "*", ">", "$", "_INBOX", " ", "é", "x" * 600],
    "pattern": ["orders", ".", "*", ">", " ", "é", "$KV"],
    "subject": ["orders", ".", "*", ">", "$", "_INBOX", " ", "é", "x" * 600],
    "place": ["$KV", ".", "bucket", "key", "$", "_INBOX", "*"],
    "natsHeader": ["Nats", "nats", "-", "TTL", "Msg", " ", ":", "é"],
    "header": ["X", "-", "User", " ", ":", "é"],
    "host": ["relay", ".", "shop", ":", "80", "_", "-", "/", " ", "é"],
    "path": ["/", "relay", "tools", ".", " ", "?", "é"],
}


def texts(kind: str) -> st.SearchStrategy[str]:
    parts = PARTS.get(kind.removesuffix("..."), ["10.0.0.0", "/8", "::1", "/", "fe80::%eth0", "shop", "256.1.1.1"])
    return st.lists(st.sampled_from(parts), max_size=7).map("".join)


@FEW
@given(st.data())
def test_it_refuses_the_texts_that_the_relay_refuses_and_no_other(probe: Path, data: st.DataObject) -> None:
    asked = [
        (setting, kind, text)
        for setting, kind in kinds().items()
        for text in data.draw(st.lists(texts(kind), min_size=20, max_size=40))
    ]
    said = chart_says(probe, [(f"fault.{kind.removesuffix('...')}", text) for _, kind, text in asked])
    for (setting, kind, text), sentence in zip(asked, said, strict=True):
        theirs = relay_refuses(one(setting, kind, text))
        # Whether numbers are an address is left to the relay.
        assert bool(sentence) == theirs or (kind == "network..." and theirs), (setting, text, sentence)


@FEW
@given(st.lists(st.text(PRINTED, min_size=1, max_size=6), min_size=20, max_size=40))
def test_it_takes_whatever_text_the_relay_takes(probe: Path, given: list[str]) -> None:
    asked = [
        (setting, kind, start + text)
        for setting, kind in kinds().items()
        for text in given
        for start in ("", "nats://h", "{topic}", "nats-")
    ]
    said = chart_says(probe, [(f"fault.{kind.removesuffix('...')}", text) for _, kind, text in asked])
    wrong = [
        (setting, text, sentence)
        for (setting, kind, text), sentence in zip(asked, said, strict=True)
        if sentence and not relay_refuses(one(setting, kind, text))
    ]
    assert wrong == []


def some(**names: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a section of which any setting may be left out."""
    return st.fixed_dictionaries({}, optional=names)


def seconds(*of: float) -> st.SearchStrategy[float]:
    return st.sampled_from(of)


A_FILE = st.just("/dev/null")
SETTINGS = some(
    delivery=some(
        fetch_batch=st.sampled_from([1, 1000, 3000, 9000]),
        window=st.sampled_from([1, 1000, 9000]),
        atomic_batch=st.sampled_from([2, 500, 1000]),
        atomic_in_flight=st.integers(1, 9),
        buffer_events=st.sampled_from([900, 3000, 8000, 20_000]),
        ack_timeout_s=seconds(1, 5, 120, 200),
    ),
    failures=some(
        backoff_base_s=seconds(0.5, 1, 300, 400),
        backoff_max_s=seconds(0.5, 300, 400),
        hold_base_s=seconds(0.1, 0.5, 15, 16),
        hold_max_s=seconds(0.4, 0.5, 15),
    ),
    stream=some(manage=st.booleans(), max_age_s=seconds(0, 5, 120, 3600), duplicate_window_s=seconds(2, 5, 120, 7200)),
    nats=some(
        user=st.just("relay"),
        token_file=A_FILE,
        nkey_seed_file=A_FILE,
        creds_file=A_FILE,
        tls_cert_file=A_FILE,
        tls_key_file=A_FILE,
    ),
)


def in_the_pod(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the relay has to judge: its secrets are there."""
    nats = dict(given.get("nats", {}))
    if "user" in nats:
        nats["password"] = "secret"
    if nats.pop("token_file", None):
        nats["token"] = "secret"
    return {**{section: dict(names) for section, names in given.items()}, "nats": nats}


@FEW
@given(st.lists(SETTINGS, min_size=30, max_size=60))
def test_it_refuses_what_does_not_go_together_as_the_relay_does(probe: Path, given: list[dict[str, Any]]) -> None:
    said = chart_says(probe, [("togetherFaults", one) for one in given])
    wrong = [one for one, text in zip(given, said, strict=True) if bool(text.strip()) != relay_refuses(in_the_pod(one))]
    assert wrong == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"config": {"nats": {"servers": ["http://nats:4222"]}}},
            "config.nats.servers: each server must look like nats",
        ),
        ({"config": {"nats": {"servers": "nats://a, nats:b"}}}, "config.nats.servers: each server must look like nats"),
        ({"config": {"subject": {"template": "orders.{tpic}"}}}, "config.subject.template: unknown field {tpic}"),
        ({"config": {"subject": {"template": "orders"}}}, "config.subject.template: must contain {topic} or {key}"),
        ({"config": {"subject": {"allow": ["a..b"]}}}, 'config.subject.allow: "a..b" is no NATS subject pattern'),
        ({"config": {"postgres": {"table": "Outbox"}}}, 'config.postgres.table: table "Outbox": must be a plain'),
        ({"config": {"failures": {"dead_subject": "dead.>"}}}, "config.failures.dead_subject: the subject holds"),
        ({"config": {"watermark": {"subject": "$KV.marks"}}}, "config.watermark.subject: a place in a bucket"),
        ({"config": {"stream": {"subjects": []}}}, "config.stream.subjects: must name at least one"),
        ({"config": {"headers": {"allow_nats": "TTL"}}}, 'config.headers.allow_nats: "TTL" is no header'),
        ({"config": {"console": {"trusted_proxies": "ingress"}}}, 'config.console.trusted_proxies: "ingress" is no'),
        ({"config": {"console": {"hosts": "https://relay"}}}, "config.console.hosts:"),
        ({"config": {"delivery": {"window": 9000}}}, "window (9000) must not be larger than buffer_events (8000)"),
        ({"config": {"failures": {"backoff_max_s": 0.5}}}, "backoff_base_s must not be larger than backoff_max_s"),
        ({"extraEnv": [{"name": "RELAY_NATS__SERVERS", "value": "nats"}]}, "extraEnv RELAY_NATS__SERVERS: each server"),
        ({"extraEnv": [{"name": "RELAY_NATS__SERVER", "value": "x"}]}, "extraEnv RELAY_NATS__SERVER: the relay has no"),
        (
            {"projections": {"extraEnv": [{"name": "RELAY_NAT__USER", "value": "x"}]}},
            "projections.extraEnv RELAY_NAT__USER",
        ),
    ],
)
def test_what_the_relay_would_refuse_at_its_start_is_refused_at_the_install(
    values: dict[str, Any], sentence: str
) -> None:
    assert sentence in refused(**values)


def test_a_password_in_an_address_is_not_shown() -> None:
    said = refused(config={"nats": {"servers": ["nats://relay:hun/ter@nats:4222"]}})
    assert "percent-encoded" in said and "hun" not in said


def test_the_environment_goes_over_the_settings() -> None:
    """As in the relay: what is larger than a buffer is not, if the environment makes the buffer larger."""
    small = {"config": {"delivery": {"window": 9000}}}
    larger = {"extraEnv": [{"name": "RELAY_DELIVERY__BUFFER_EVENTS", "value": "10000"}]}
    assert with_minimal(**merged(small, larger))
    from_elsewhere = {"extraEnvFrom": [{"configMapRef": {"name": "settings"}}]}
    assert with_minimal(**merged(small, from_elsewhere))


def test_every_setting_of_the_relay_may_come_by_the_environment() -> None:
    known = json.loads((CHART / "files" / "settings.json").read_text("utf-8"))
    secret = {"RELAY_POSTGRES__DSN", "RELAY_POSTGRES__BELL_DSN", "RELAY_NATS__PASSWORD", "RELAY_NATS__TOKEN"}
    names = [f"RELAY_{section}__{name}".upper() for section, names in known.items() for name in names]
    given = [{"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}} for name in names]
    assert len(names) > 90 and secret < set(names)
    assert with_minimal(extraEnv=given)
