"""What every manifest is held against."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate

from tests.support.fix_helm import Manifest

OLDEST = 29


def versions() -> list[str]:
    """Return the versions of Kubernetes from the oldest that the chart takes to the newest with a schema here."""
    newest = kubernetes_validate.latest_version()
    return [f"1.{minor}" for minor in range(OLDEST, int(newest.split(".")[1]) + 1)]


@functools.cache
def monitoring_schema(kind: str) -> dict[str, Any]:
    """Return the schema of the operator's own definition, in which nothing unknown is allowed."""
    # Its thousands of models take three seconds, which each process of a test run would pay for.
    from cloudcoil.models.prometheus_operator import v1 as operator

    schema = getattr(operator, kind).model_json_schema()
    for node in _nodes(schema):
        if "properties" in node:
            node["additionalProperties"] = False
        if isinstance(node.get("pattern"), str):
            # Go takes a flag in the middle, Python at the beginning alone.
            node["pattern"] = re.sub(r"^(.+)\(\?i\)", r"(?i)\1", node["pattern"])
    found: dict[str, Any] = schema
    return found


def _nodes(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)


def assert_valid(manifest: Manifest) -> None:
    """Hold a manifest against every version of Kubernetes, or against the definition of its operator."""
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        jsonschema.validate(manifest, monitoring_schema(manifest["kind"]))
        return
    for version in versions():
        kubernetes_validate.validate(manifest, version, strict=True)


def unconfined(spec: Manifest) -> list[str]:
    """Return what of a pod the restricted profile of Kubernetes refuses."""
    pod = spec.get("securityContext", {})
    faults = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    kinds_of_volumes = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "projected", "secret", "name"}
    faults += [f"volume {one['name']}" for one in spec.get("volumes", []) if one.keys() - kinds_of_volumes]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = {**pod, **container.get("securityContext", {})}
        wrong = {
            "privileged": own.get("privileged", False),
            "may escalate": own.get("allowPrivilegeEscalation") is not False,
            "root": own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0,
            "capabilities": own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"),
            "seccomp": own.get("seccompProfile", {}).get("type") != "RuntimeDefault",
            "host port": any("hostPort" in port for port in container.get("ports", [])),
        }
        faults += [f"{container['name']}: {what}" for what, is_so in wrong.items() if is_so]
    return faults
