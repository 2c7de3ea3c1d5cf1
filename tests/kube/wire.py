"""The protobuf in which helm sends its releases: a Secret, as far as it says something."""

import base64
from collections import defaultdict

from tests.kube.store import Object

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
# Numbers of fields, from Kubernetes' own generated.proto.
_UNKNOWN_RAW = 2
_SECRET_METADATA, _SECRET_DATA, _SECRET_TYPE = 1, 2, 3
_METADATA_NAME, _METADATA_LABELS = 1, 11
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _LENGTH = 0, 2

Fields = dict[int, list[bytes]]


def secret(body: bytes) -> Object:
    """Decode a Secret: its name, labels, type and data."""
    if not body.startswith(_MAGIC):
        raise ValueError("not an object in protobuf")
    (raw,) = _fields(body[len(_MAGIC) :])[_UNKNOWN_RAW]
    fields = _fields(raw)
    metadata = _fields(fields[_SECRET_METADATA][0])
    labels = _map(metadata[_METADATA_LABELS])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": metadata[_METADATA_NAME][0].decode(),
            "labels": {name: value.decode() for name, value in labels.items()},
        },
        "type": fields[_SECRET_TYPE][0].decode(),
        "data": {name: base64.b64encode(value).decode() for name, value in _map(fields[_SECRET_DATA]).items()},
    }


def _map(entries: list[bytes]) -> dict[str, bytes]:
    pairs = [_fields(entry) for entry in entries]
    return {pair[_ENTRY_KEY][0].decode(): pair[_ENTRY_VALUE][0] for pair in pairs}


def _fields(data: bytes) -> Fields:
    """Return the fields with a length, by number; numbers are passed over."""
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH:
            length, at = _varint(data, at)
            found[number].append(data[at : at + length])
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        else:
            raise ValueError(f"a field of kind {kind} is not expected")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
