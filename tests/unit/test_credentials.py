"""Files that say who we are: whole ones are taken, all others refused without repeating what is in them."""

from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay import credentials
from relay.credentials import IdentityError
from tests.support.nats_jwt import Operator, user_nkey

WHOLE = Operator().credentials(["orders.>"], ["_INBOX_relay.>"])
LINES = WHOLE.splitlines()
JWT, SEED = LINES[1], LINES[-2]
SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_a_creds_file_gives_its_token_and_its_seed_with_plain_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "relay.creds"
    file.write_bytes(WHOLE.replace("\n", "\r\n").encode())
    read = credentials.credentials(file).split("\n")
    assert read[1::3][:2] == [JWT, SEED]
    assert "\r" not in "".join(read)


@SAME_FILE
@given(cut=st.integers(0, len(WHOLE) - 1))
def test_a_creds_file_that_is_cut_off_is_never_taken_for_whole(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "relay.creds"
    file.write_text(WHOLE[:cut], "utf-8")
    try:
        read = credentials.credentials(file)
    except IdentityError as error:
        read = str(error)
    if str(file) in read:
        assert SEED not in read
    else:
        # Nothing but the end of the last mark is missing.
        assert JWT in read
        assert SEED in read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no such thing",
        WHOLE.replace(SEED, SEED[:-2] + "A1"),
        WHOLE.replace(SEED, ""),
        WHOLE.replace(JWT, f"{JWT}\n{JWT}"),
        WHOLE.replace("BEGIN NATS USER JWT", "BEGIN SOMETHING"),
    ],
    ids=["empty", "other", "bad seed", "no seed", "two tokens", "another mark"],
)
def test_what_is_no_creds_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "relay.creds"
    file.write_text(text, "utf-8")
    with pytest.raises(IdentityError):
        credentials.credentials(file)


def test_a_seed_and_a_secret_lose_their_last_line_end_alone(tmp_path: Path) -> None:
    file, (seed, _) = tmp_path / "file", user_nkey()
    file.write_text(f"{seed}\n", "utf-8")
    assert credentials.seed(file) == seed
    file.write_text(" with spaces \n", "utf-8")
    assert credentials.secret(file) == " with spaces "


@pytest.mark.parametrize("read", [credentials.secret, credentials.seed, credentials.credentials])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, read: object, content: bytes | None) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    assert callable(read)
    with pytest.raises(IdentityError, match=str(file)):
        read(file)


def test_a_certificate_with_the_key_of_another_is_refused_with_both_names(tmp_path: Path) -> None:
    ca = trustme.CA()
    one, other = ca.issue_cert("one.example"), ca.issue_cert("other.example")
    for name, blob in (("ca", ca.cert_pem), ("cert", one.cert_chain_pems[0]), ("key", other.private_key_pem)):
        blob.write_to_path(tmp_path / name)
    with pytest.raises(IdentityError, match="key values mismatch"):
        credentials.tls_context(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    with pytest.raises(IdentityError, match="cannot use the CA"):
        credentials.tls_context(tmp_path / "key", None, None)
    with pytest.raises(IdentityError, match="No such file"):
        credentials.tls_context(tmp_path / "missing", None, None)


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ('connection failed: ... FATAL: password authentication failed for user "relay"', True),
        ('FATAL: no pg_hba.conf entry for host "10.0.0.1", user "relay", database "shop", no encryption', True),
        ("server does not support SSL, but SSL was required", True),
        ("permission denied for table outbox_events", True),
        ("nats: 'Authorization Violation'", True),
        ("nats: user authentication expired", True),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", True),
        ("Multiple exceptions: [Errno 111] Connect call failed ('127.0.0.1', 4222)", False),
        ("SSL connection has been closed unexpectedly", False),
        ("server closed the connection unexpectedly", False),
        ("FATAL: the database system is starting up", False),
        ("nats: unexpected EOF", False),
        ("TimeoutError", False),
    ],
)
def test_a_person_is_called_over_who_we_are_and_not_over_a_server_that_is_gone(reason: str, ours: bool) -> None:
    assert credentials.is_auth_error(reason) is ours
