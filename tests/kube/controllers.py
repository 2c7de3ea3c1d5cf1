"""Deployments make ReplicaSets, ReplicaSets and Jobs make pods, and each says how far it is."""

import hashlib
import json
import time
import uuid
from contextlib import suppress
from functools import partial
from typing import Any

from tests.kube.store import PODS, Key, Missing, Object, Store

DEPLOYMENTS, REPLICA_SETS, JOBS = "apps/v1/deployments", "apps/v1/replicasets", "batch/v1/jobs"
_RETRY_AFTER_S = 0.2


def is_ready(pod: Object) -> bool:
    """Report whether a pod is ready and stays."""
    conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and not is_going(pod)


def is_going(pod: Object) -> bool:
    """Report whether a pod was told to go."""
    return "deletionTimestamp" in pod["metadata"]


class Controllers:
    """Brings the objects nearer to what they should be, a step at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failed_at: dict[str, float] = {}

    def step(self) -> None:
        """Look at each Deployment and each Job once; what is deleted meanwhile is left to the next look."""
        for key, deployment in self._store.find(DEPLOYMENTS).items():
            with suppress(Missing):
                self._deploy(key, deployment)
        for key, job in self._store.find(JOBS).items():
            with suppress(Missing):
                self._work(key, job)

    def _deploy(self, key: Key, deployment: Object) -> None:
        """Roll: a new pod while the surge allows it, an old one out while enough are ready."""
        spec = deployment["spec"]
        newest = self._replica_set(key, deployment)
        sets = self._store.find(REPLICA_SETS, lambda one: _owned(one, deployment))
        pods = {at: self._store.find(PODS, partial(_owned, by=one)) for at, one in sets.items()}
        wanted = spec["replicas"]
        rolling = spec["strategy"].get("rollingUpdate", {"maxSurge": 0, "maxUnavailable": wanted})
        staying = [pod for found in pods.values() for pod in found.values() if not is_going(pod)]
        fresh = {at: pod for at, pod in pods.get(newest, {}).items() if not is_going(pod)}
        old = {at: pod for at_set, found in pods.items() if at_set != newest for at, pod in found.items()}
        old = {at: pod for at, pod in old.items() if not is_going(pod)}
        if len(fresh) < wanted and len(staying) < wanted + rolling["maxSurge"]:
            self._make_pod(newest, self._store.get(newest), spec["template"])
        elif len(fresh) > wanted:
            self._store.delete(next(iter(fresh)))
        elif old and (
            not all(map(is_ready, old.values())) or sum(map(is_ready, staying)) > wanted - rolling["maxUnavailable"]
        ):
            self._store.delete(min(old, key=lambda at: is_ready(old[at])))
        for at, found in pods.items():
            self._count(at, list(found.values()), wanted if at == newest else 0)
        self._store.update(key, lambda one: _deployment_status(one, staying, list(fresh.values())))

    def _replica_set(self, key: Key, deployment: Object) -> Key:
        """Return the set of the present template; made if it is not there."""
        template = deployment["spec"]["template"]
        mark = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        at = Key(REPLICA_SETS, key.namespace, f"{key.name}-{mark}")
        try:
            self._store.get(at)
        except Missing:
            labels = {**template["metadata"]["labels"], "pod-template-hash": mark}
            self._store.create(
                at,
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "metadata": {"labels": labels, "ownerReferences": [_owner(deployment)]},
                    "spec": {"replicas": deployment["spec"]["replicas"], "template": template},
                },
            )
        return at

    def _count(self, at: Key, pods: list[Object], wanted: int) -> None:
        def counted(one: Object) -> None:
            one["spec"]["replicas"] = wanted
            observed = {"observedGeneration": one["metadata"]["generation"]}
            one["status"] = {**observed, "replicas": len(pods), "readyReplicas": sum(map(is_ready, pods))}

        self._store.update(at, counted)

    def _work(self, key: Key, job: Object) -> None:
        """Run a Job's pod, and again if it fails, up to its limit."""
        if any(one["status"] == "True" for one in job.get("status", {}).get("conditions", [])):
            return
        pods = self._store.find(PODS, lambda pod: _owned(pod, job))
        phases = [pod.get("status", {}).get("phase", "Pending") for pod in pods.values()]
        failed = phases.count("Failed")
        if "Succeeded" in phases:
            self._end_job(key, "Complete", {"succeeded": 1, "failed": failed})
        elif failed > job["spec"].get("backoffLimit", 6):
            self._end_job(key, "Failed", {"failed": failed})
        elif failed == len(phases):
            since = self._failed_at.setdefault(f"{job['metadata']['uid']} {failed}", time.monotonic())
            if not failed or time.monotonic() - since > _RETRY_AFTER_S:
                self._make_pod(key, job, job["spec"]["template"])

    def _end_job(self, key: Key, how: str, counts: dict[str, int]) -> None:
        reason = "BackoffLimitExceeded" if how == "Failed" else ""
        condition = {"type": how, "status": "True", "reason": reason}
        self._store.update(key, lambda one: one.update(status={**counts, "conditions": [condition]}))

    def _make_pod(self, at: Key, owner: Object, template: dict[str, Any]) -> None:
        metadata = {
            **template["metadata"],
            "labels": {**template["metadata"]["labels"], **owner["metadata"].get("labels", {})},
            "ownerReferences": [_owner(owner)],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        self._store.create(Key(PODS, at.namespace, f"{at.name}-{uuid.uuid4().hex[:5]}"), pod)


def _owner(one: Object) -> dict[str, Any]:
    metadata = one["metadata"]
    kind = {"apiVersion": one["apiVersion"], "kind": one["kind"]}
    return {**kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True}


def _owned(one: Object, by: Object) -> bool:
    return any(owner["uid"] == by["metadata"]["uid"] for owner in one["metadata"].get("ownerReferences", []))


def _deployment_status(one: Object, staying: list[Object], fresh: list[Object]) -> None:
    ready = sum(map(is_ready, staying))
    one["status"] = {
        "observedGeneration": one["metadata"]["generation"],
        "replicas": len(staying),
        "updatedReplicas": len(fresh),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
