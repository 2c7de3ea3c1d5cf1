"""Whatever is switched on, the chart makes valid manifests, and pods of the restricted profile."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.packaging.chart.checks import assert_valid, unconfined, versions
from tests.support.fix_helm import CHART, Manifest, helm, kinds, pod_specs, render

CASES = sorted((CHART / "ci").glob("*-values.yaml"), key=lambda path: path.name)


def values_of(case: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(case.read_text("utf-8"))
    return loaded


@functools.cache
def rendered(case: Path) -> list[Manifest]:
    return render(values_of(case))


@pytest.fixture(params=CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
def case(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_lint_has_nothing_to_say(case: Path) -> None:
    said = helm("lint", "--strict", str(CHART), values=values_of(case)).stdout
    assert re.findall(r"^\[(?!INFO\] Chart.yaml: icon is recommended)\w+\].*$", said, re.MULTILINE) == []


def test_each_manifest_is_valid_in_every_version_of_kubernetes(case: Path) -> None:
    assert len(versions()) >= 9
    for manifest in rendered(case):
        assert_valid(manifest)


def test_the_validation_finds_what_is_wrong() -> None:
    for manifest in rendered(CHART / "ci" / "everything-values.yaml"):
        wrong = json.loads(json.dumps(manifest))
        wrong["spec" if "spec" in wrong else "data"] = {"unknown": ["x"]}
        with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
            assert_valid(wrong)


def test_everything_is_in_the_case_that_switches_everything_on() -> None:
    made = kinds(rendered(CHART / "ci" / "everything-values.yaml"))
    said = {
        kind
        for path in (CHART / "templates").rglob("*.yaml")
        for kind in re.findall(r"^kind: (\w+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    assert made == said


def test_names_and_labels_tell_what_belongs_together(case: Path) -> None:
    for manifest in rendered(case):
        metadata = manifest["metadata"]
        assert metadata["name"].startswith(("relay-outbox-relay", "shop-relay"))
        assert metadata["labels"]["app.kubernetes.io/name"] == "outbox-relay"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "relay"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert metadata["labels"].get("team") == values_of(case).get("commonLabels", {}).get("team")


def test_every_pod_is_of_the_restricted_profile_and_has_no_token(case: Path) -> None:
    specs = pod_specs(rendered(case))
    assert specs
    for name, spec in specs.items():
        assert unconfined(spec) == [], name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            if container["name"] != "tunnel":
                assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
                assert container["securityContext"]["runAsUser"] >= 10_000, name
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
                assert container["resources"]["limits"].keys() == {"memory"}, name


def test_the_profile_is_told_from_what_it_refuses() -> None:
    assert (
        len(unconfined({"hostPID": True, "volumes": [{"name": "x", "hostPath": {}}], "containers": [{"name": "c"}]}))
        == 6
    )


def test_no_secret_is_in_any_manifest(case: Path) -> None:
    assert "Secret" not in kinds(rendered(case))
    text = json.dumps(rendered(case))
    assert "postgresql://" not in text


def test_mounts_and_volumes_belong_together(case: Path) -> None:
    for name, spec in pod_specs(rendered(case)).items():
        volumes = [one["name"] for one in spec.get("volumes", [])]
        mounts = {one["name"] for container in spec["containers"] for one in container.get("volumeMounts", [])}
        assert len(set(volumes)) == len(volumes), name
        assert mounts == set(volumes), name
