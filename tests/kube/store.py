"""The objects of the cluster, and what happens to them."""

import copy
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

Object = dict[str, Any]


class Key(NamedTuple):
    """Where an object is; the resource as in its path, such as ``apps/v1/deployments``."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Change:
    """One change, as a watcher sees it: ADDED, MODIFIED or DELETED."""

    version: int
    type: str
    key: Key
    object: Object


class Missing(Exception):
    """There is no such object."""


class AlreadyThere(Exception):
    """There is an object of that name."""


PODS = "v1/pods"


class Store:
    """Objects by key; every answer is a copy."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._objects: dict[Key, Object] = {}
        self._changes: list[Change] = []

    @property
    def version(self) -> int:
        """The version of the newest change."""
        return len(self._changes)

    def create(self, key: Key, given: Object) -> Object:
        """Take a new object in."""
        with self._changed:
            if key in self._objects:
                raise AlreadyThere(key)
            made = copy.deepcopy(given)
            made.setdefault("metadata", {}).update(
                name=key.name, namespace=key.namespace, uid=str(uuid.uuid4()), creationTimestamp=_now(), generation=1
            )
            return self._write("ADDED", key, made)

    def get(self, key: Key) -> Object:
        """Return one object."""
        with self._changed:
            if key not in self._objects:
                raise Missing(key)
            return copy.deepcopy(self._objects[key])

    def find(self, resource: str, holds: Callable[[Object], bool] = lambda _: True) -> dict[Key, Object]:
        """Return all objects of a resource for which something holds, the oldest first."""
        with self._changed:
            return {
                key: copy.deepcopy(one) for key, one in self._objects.items() if key.resource == resource and holds(one)
            }

    def all_keys(self) -> set[Key]:
        """Return the places that hold anything."""
        with self._changed:
            return set(self._objects)

    def update(self, key: Key, change: Callable[[Object], Object | None]) -> Object:
        """Change an object: the function changes it in place, or gives another one in its place."""
        with self._changed:
            if key not in self._objects:
                raise Missing(key)
            before = self._objects[key]
            after = copy.deepcopy(before)
            after = change(after) or after
            if after == before:
                return copy.deepcopy(before)
            after["metadata"].update({name: before["metadata"][name] for name in ("uid", "creationTimestamp")})
            if after.get("spec") != before.get("spec"):
                after["metadata"]["generation"] = before["metadata"]["generation"] + 1
            return self._write("MODIFIED", key, after)

    def delete(self, key: Key) -> Object:
        """Delete an object and what it owns. A pod only learns that it has to go; the kubelet removes it."""
        if key.resource == PODS:
            return self.update(key, lambda pod: pod["metadata"].setdefault("deletionTimestamp", _now()) and None)
        return self.remove(key)

    def remove(self, key: Key) -> Object:
        """Remove an object at once, and delete what it owns."""
        with self._changed:
            if key not in self._objects:
                raise Missing(key)
            gone = self._objects.pop(key)
            self._say("DELETED", key, gone)
            owned = [
                one
                for one, found in self._objects.items()
                if any(
                    owner["uid"] == gone["metadata"]["uid"] for owner in found["metadata"].get("ownerReferences", [])
                )
            ]
        for one in owned:
            self.delete(one)
        return gone

    def after(self, version: int, timeout_s: float) -> list[Change]:
        """Wait for changes after a version; none if the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.version > version, timeout_s)
            return self._changes[version:]

    def _write(self, how: str, key: Key, made: Object) -> Object:
        self._objects[key] = made
        self._say(how, key, made)
        return copy.deepcopy(made)

    def _say(self, how: str, key: Key, changed: Object) -> None:
        changed["metadata"]["resourceVersion"] = str(self.version + 1)
        self._changes.append(Change(self.version + 1, how, key, copy.deepcopy(changed)))
        self._changed.notify_all()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
