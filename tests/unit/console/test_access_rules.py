"""Who is let in: the rules alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.console_section import ConsoleSection
from relay.console.access.proxied import is_secret, is_trusted, named_visitor
from relay.console.access.request_rules import host_name, is_known_host, is_same_origin
from relay.console.access.sessions import Sessions
from relay.console.access.setup import setup_faults
from relay.console.access.visitor import Visitor

HOSTS = ("localhost", "127.0.0.1", "::1")
OPERATORS = ("alice@example.com", "group:sre")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1:9465", "127.0.0.1"),
        ("LocalHost", "localhost"),
        ("[::1]:9465", "::1"),
        ("evil.example", "evil.example"),
        ("user@localhost", None),
        ("localhost/x", None),
        ("localhost:x", None),
        ("", None),
        ("[::1", None),
    ],
)
def test_the_name_in_a_host_header_is_read_without_port_and_in_lower_case(header: str, name: str | None) -> None:
    assert host_name(header) == name


def test_another_name_than_ours_is_unknown() -> None:
    assert is_known_host("localhost:9465", HOSTS)
    for header in (
        None,
        "",
        "localhost.evil.example",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
    ):
        assert not is_known_host(header, HOSTS), header


@pytest.mark.parametrize(
    ("site", "origin", "host", "same"),
    [
        ("same-origin", None, "localhost", True),
        ("same-origin", "https://evil.example", "localhost", True),
        ("same-site", "http://localhost", "localhost", False),
        ("cross-site", "http://localhost", "localhost", False),
        ("none", None, "localhost", False),
        ("", "http://localhost", "localhost", False),
        (None, "http://localhost:9465", "localhost:9465", True),
        (None, "https://console.example", "console.example", True),
        (None, "http://localhost:1", "localhost:9465", False),
        (None, "null", "localhost", False),
        (None, None, "localhost", False),
        (None, "http://localhost", None, False),
        (None, "http://", "", False),
    ],
)
def test_only_a_page_of_ours_may_change_something(
    site: str | None, origin: str | None, host: str | None, same: bool
) -> None:
    assert is_same_origin(site, origin, host) == same


def test_only_the_networks_of_the_proxies_are_trusted() -> None:
    proxies = ("10.0.0.0/8", "fd00::/8", "192.0.2.7/32")
    for peer in ("10.1.2.3", "fd00::1", "192.0.2.7", "::ffff:10.1.2.3"):
        assert is_trusted(peer, proxies), peer
    for peer in ("192.0.2.8", "11.0.0.1", "::1", "", "10.1.2.3.evil.example", "10.1"):
        assert not is_trusted(peer, proxies), peer


def named(headers: dict[str, list[str]]) -> Visitor | None:
    return named_visitor(headers, "X-Forwarded-User", "X-Forwarded-Groups", OPERATORS)


def test_a_user_and_their_groups_decide_as_whole_texts() -> None:
    assert named({"x-forwarded-user": ["alice@example.com"]}) == Visitor("alice@example.com", True)
    assert named({"x-forwarded-user": ["bob"], "x-forwarded-groups": ["dev, sre"]}) == Visitor("bob", True)
    for user in ("alice@example.com.evil.example", "xalice@example.com", "ALICE@example.com", "group:sre"):
        assert named({"x-forwarded-user": [user]}) == Visitor(user, False), user
    for groups in ("sre2", "SRE", "", ",", "group:sre"):
        assert named({"x-forwarded-user": ["bob"], "x-forwarded-groups": [groups]}) == Visitor("bob", False), groups


@pytest.mark.parametrize("users", [[], [""], [" "], ["a", "b"], ["a\x1b[2J"], ["x" * 201]])
def test_nobody_is_let_in_whose_name_is_not_one_plain_text(users: list[str]) -> None:
    assert named({"x-forwarded-user": users}) is None


@pytest.mark.parametrize("groups", [["x", "sre"], ["sre", "x"], ["sre", "sre"], ["", "sre"]])
def test_nobody_is_let_in_whose_groups_come_more_than_once(groups: list[str]) -> None:
    assert named({"x-forwarded-user": ["bob"], "x-forwarded-groups": groups}) is None


@given(st.text(), st.text())
def test_a_shared_secret_is_compared_as_a_whole(one: str, other: str) -> None:
    assert is_secret([one], one)
    assert is_secret([one], other) == (one == other)
    assert not is_secret([], one)
    assert not is_secret([one, one], one)


def test_a_session_ends_when_what_it_was_opened_with_does() -> None:
    sessions = Sessions()
    alice = Visitor("alice", True)
    cookie = sessions.begin(alice, "token")
    assert sessions.find(cookie, {True: "token"}) == alice
    assert sessions.find(cookie, {True: "another"}) is None
    assert sessions.find(cookie, {False: "token"}) is None
    assert sessions.find(cookie + "x", {True: "token"}) is None
    sessions.end(cookie)
    assert sessions.find(cookie, {True: "token"}) is None


def test_many_sessions_end_the_oldest() -> None:
    sessions = Sessions()
    cookies = [sessions.begin(Visitor(str(number), False), "t") for number in range(1001)]
    assert sessions.find(cookies[0], {False: "t"}) is None
    assert sessions.find(cookies[1], {False: "t"}) == Visitor("1", False)


def test_what_does_not_go_together_is_said_before_anything_is_served(tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    short.write_text("x" * 15 + "\n")
    long.write_text("y" * 16)
    assert setup_faults(ConsoleSection()) == []
    assert "is reached by others" in setup_faults(ConsoleSection(host="0.0.0.0"))[0]
    assert "needs reader_token_file" in setup_faults(ConsoleSection(auth="token"))[0]
    assert "less than 16" in setup_faults(ConsoleSection(auth="token", reader_token_file=str(short)))[0]
    assert "cannot read" in setup_faults(ConsoleSection(auth="token", reader_token_file=str(tmp_path / "none")))[0]
    twice = ConsoleSection(auth="token", reader_token_file=str(long), operator_token_file=str(long))
    assert "the same token" in setup_faults(twice)[0]
    assert "needs trusted_proxies" in setup_faults(ConsoleSection(auth="proxy"))[0]
    assert "needs operator_dsn_file" in setup_faults(ConsoleSection(write=True))[0]
    assert setup_faults(ConsoleSection(host="0.0.0.0", auth="token", operator_token_file=str(long))) == []
