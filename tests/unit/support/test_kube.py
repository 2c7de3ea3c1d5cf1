"""The rules of the tests' own Kubernetes: patches, and what owns what."""

import pytest

from tests.kube.patches import json_merge, strategic_merge
from tests.kube.store import PODS, AlreadyThere, Key, Missing, Store


def test_a_merge_patch_sets_removes_and_replaces_lists() -> None:
    current = {"a": {"b": 1, "c": 2}, "list": [1, 2]}
    assert json_merge(current, {"a": {"b": None, "d": 3}, "list": [3]}) == {"a": {"c": 2, "d": 3}, "list": [3]}
    assert current == {"a": {"b": 1, "c": 2}, "list": [1, 2]}


def test_a_strategic_patch_merges_named_things_by_name_and_puts_them_in_order() -> None:
    current = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}
    patch = {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "containers": [
            {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]},
            {"name": "b", "$patch": "delete"},
            {"name": "c"},
        ],
    }
    assert strategic_merge(current, patch)["containers"] == [
        {"name": "c"},
        {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
    ]


def test_a_strategic_patch_replaces_lists_of_things_without_a_name_and_keeps_what_it_is_told() -> None:
    current = {"ports": [{"port": 1}], "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch = {"ports": [{"port": 2}], "strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert strategic_merge(current, patch) == {"ports": [{"port": 2}], "strategy": {"type": "Recreate"}}


def test_what_an_object_owns_goes_with_it_and_a_pod_is_only_told() -> None:
    store = Store()
    owner = store.create(Key("v1/configmaps", "n", "owner"), {"metadata": {}})
    owned = {"metadata": {"ownerReferences": [{"uid": owner["metadata"]["uid"]}]}}
    for key in (Key("v1/secrets", "n", "owned"), Key(PODS, "n", "pod")):
        store.create(key, owned)
    with pytest.raises(AlreadyThere):
        store.create(Key(PODS, "n", "pod"), owned)
    store.delete(Key("v1/configmaps", "n", "owner"))
    with pytest.raises(Missing):
        store.get(Key("v1/secrets", "n", "owned"))
    assert "deletionTimestamp" in store.get(Key(PODS, "n", "pod"))["metadata"]
    assert [change.type for change in store.after(3, 0)] == ["DELETED", "DELETED", "MODIFIED"]
