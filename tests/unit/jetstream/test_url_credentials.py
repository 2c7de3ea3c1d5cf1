"""Who we are, in the URL of a server: any text, percent-encoded."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.client import url_credentials

words = st.text(st.characters(codec="utf-8"), min_size=1)


@given(user=words, password=words)
def test_user_and_password_are_decoded(user: str, password: str) -> None:
    url = f"nats://{quote(user, safe='')}:{quote(password, safe='')}@example.org:4222"
    assert url_credentials(url) == {"user": user, "password": password}


@given(token=words)
def test_a_token_is_decoded(token: str) -> None:
    assert url_credentials(f"tls://{quote(token, safe='')}@example.org:4222") == {"token": token}


def test_a_url_without_them_says_nothing() -> None:
    assert url_credentials("nats://example.org:4222") == {}
