"""How a PATCH changes an object."""

import copy
from typing import Any

# By which field the items of a list are the same, if a strategic merge does not replace the list.
_MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "volumeMounts": "mountPath",
    "volumes": "name",
}


def json_merge(current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7386)."""
    result = copy.deepcopy(current)
    for name, value in patch.items():
        below = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = json_merge(below if isinstance(below, dict) else {}, value)
        else:
            result[name] = copy.deepcopy(value)
    return result


def strategic_merge(current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a strategic merge patch: lists of named things are merged by their names."""
    if patch.get("$patch") == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
    result = copy.deepcopy(current)
    if "$retainKeys" in patch:
        result = {name: value for name, value in result.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        below = result.get(name)
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = strategic_merge(below if isinstance(below, dict) else {}, value)
        elif isinstance(value, list) and _named(name, value) and _named(name, below or []):
            order = patch.get(f"$setElementOrder/{name}")
            result[name] = _merge_lists(_MERGE_KEYS[name], below or [], value, order)
        else:
            result[name] = copy.deepcopy(value)
    return result


def _named(name: str, items: list[Any]) -> bool:
    key = _MERGE_KEYS.get(name)
    return key is not None and all(isinstance(item, dict) and key in item for item in items)


def _merge_lists(key: str, current: list[Any], patch: list[Any], order: list[Any] | None) -> list[Any]:
    found = {item[key]: item for item in current}
    for item in patch:
        if item.get("$patch") == "delete":
            found.pop(item[key], None)
        else:
            found[item[key]] = strategic_merge(found.get(item[key], {}), item)
    places = {item[key]: place for place, item in enumerate(order or [])}
    return sorted(found.values(), key=lambda item: places.get(item[key], len(places)))
