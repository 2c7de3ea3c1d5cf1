"""Arrays in binary form are what the driver reads in them."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format

from relay.postgres.arrays import BinaryArray, BinaryArrayDumper, bigints, uuids

_BIGINTS_OID, _UUIDS_OID = 1016, 2951


def _read(oid: int, array: BinaryArray) -> object:
    sent = BinaryArrayDumper(BinaryArray).dump(array)
    return Transformer().get_loader(oid, Format.BINARY).load(sent)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_numbers_are_read_as_they_were(numbers: list[int]) -> None:
    assert _read(_BIGINTS_OID, bigints(numbers)) == numbers


@given(st.lists(st.uuids()))
def test_ids_are_read_as_they_were(ids: list[UUID]) -> None:
    assert _read(_UUIDS_OID, uuids([str(one) for one in ids])) == ids


def test_many_ids_are_read_as_they_were() -> None:
    ids = [UUID(int=number) for number in range(4_001)]
    assert _read(_UUIDS_OID, uuids([str(one) for one in ids])) == ids


@pytest.mark.parametrize("wrong", ["", "12", "no-uuid", "00000000-0000-0000-0000-00000000000000", "{}"])
def test_what_is_no_uuid_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"UUID|hexadecimal"):
        uuids(["00000000-0000-0000-0000-000000000001", wrong])
