"""What of a stream's configuration decides how we publish to it."""

from typing import Any

import pytest

from relay.jetstream.stream_info import read_facts


@pytest.mark.parametrize(
    ("config", "in_files"),
    [
        ({"storage": "file", "num_replicas": 1}, True),
        ({"storage": "file", "num_replicas": 3}, False),
        ({"storage": "memory", "num_replicas": 1}, False),
    ],
)
def test_only_a_file_stream_of_one_replica_keeps_batches_in_files(config: dict[str, Any], in_files: bool) -> None:
    facts = read_facts({"config": {"name": "ORDERS", "allow_atomic": True, **config}}, takes_atomic=True)
    assert facts.atomic
    assert facts.batches_in_files is in_files
