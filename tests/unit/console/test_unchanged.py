"""What a browser has already is not sent again."""

from hypothesis import given
from hypothesis import strategies as st

from relay.console.unchanged import entity_tag, is_known


@given(st.binary(), st.binary())
def test_a_tag_is_of_the_bytes(one: bytes, other: bytes) -> None:
    assert (entity_tag(one) == entity_tag(other)) == (one == other)


@given(st.binary())
def test_the_same_bytes_are_known_by_their_tag(body: bytes) -> None:
    tag = entity_tag(body)
    assert tag.isascii() and tag.startswith('"') and tag.endswith('"') and '"' not in tag[1:-1]
    for header in (tag, f"W/{tag}", f'"another", {tag}', f'{tag} ,W/"x"', "*"):
        assert is_known(tag, header), header


def test_others_are_not() -> None:
    tag = entity_tag(b"x")
    for header in (None, "", '"another"', tag.strip('"'), f"{tag[:-1]}"):
        assert not is_known(tag, header), header
