"""Roles by routes: who gets which answer to each request of the console, made by hand."""

import re
from pathlib import Path

import pytest

from tests.support.fix_console import FORM, SAME_ORIGIN, Console, MakeConsole, operator_settings
from tests.support.fix_relay import ROOT, Outbox

READER, OPERATOR = "reader-token-0123456789", "operator-token-0123456789"
TO_LOGIN = 303
# Method, path, and the status for nobody, a reader and an operator; of those with {} in app.py one of their paths.
LOOKING = [
    *(
        ("GET", path, TO_LOGIN, 200, 200)
        for path in (
            "/",
            "/events",
            "/events/1",
            "/events/1/payload",
            "/events/1/payload.txt",
            "/dead",
            "/key?key=k",
            "/waiting",
            "/streams",
            "/relays",
            "/projections",
            "/tail",
            "/doctor",
            "/audit",
            "/about",
        )
    ),
    ("GET", "/go?q=1", TO_LOGIN, 303, 303),
    ("GET", "/runbooks", TO_LOGIN, 200, 200),
    ("GET", "/runbooks/OutboxRelayDown.md", TO_LOGIN, 200, 200),
    ("GET", "/runbooks/1", TO_LOGIN, 404, 404),
    ("POST", "/doctor", TO_LOGIN, 200, 200),
    ("GET", "/nothing", TO_LOGIN, 404, 404),
    ("POST", "/nothing", TO_LOGIN, 404, 404),
    ("POST", "/events", TO_LOGIN, 405, 405),
]
OPEN = [
    ("GET", "/healthz", 200, 200, 200),
    ("GET", "/static/console.css", 200, 200, 200),
    ("GET", "/static/../app.py", 404, 404, 404),
    ("GET", "/favicon.ico", 200, 200, 200),
    ("GET", "/login", 200, 200, 200),
    ("POST", "/logout", TO_LOGIN, 303, 303),
]
CHANGING = [
    ("GET", "/change?action=retry&seq=1", TO_LOGIN, 403, 200),
    ("POST", "/change", TO_LOGIN, 403, 400),
    ("GET", "/change?resume=1", TO_LOGIN, 403, 422),
    ("GET", "/changes/1", TO_LOGIN, 403, 404),
    ("GET", "/projections/decide?what=skip", TO_LOGIN, 403, 400),
    ("POST", "/projections/decide", TO_LOGIN, 403, 400),
]
# Not in the table: it goes on for ever; and the key of a link, which a token's console does not know.
ELSEWHERE = {"/tail/stream", "/login"}


@pytest.fixture
def settings(outbox: Outbox, tmp_path: Path) -> dict[str, str]:
    outbox.insert("orders.placed", "k", {"i": 1})
    for name, token in (("reader", READER), ("operator", OPERATOR)):
        (tmp_path / name).write_text(token)
    return {
        "console__auth": "token",
        "console__reader_token_file": str(tmp_path / "reader"),
        "console__operator_token_file": str(tmp_path / "operator"),
    }


def asked(console: Console, method: str, path: str, token: str | None, **headers: str) -> int:
    """Return the status of a request as a page of the console makes it, unless `headers` say otherwise."""
    own = {"Authorization": f"Bearer {token}"} if token else {}
    if method == "POST":
        return console.ask("POST", path, {**SAME_ORIGIN, **FORM, **own, **headers}, b"").status
    return console.ask("GET", path, {**own, **headers}).status


@pytest.mark.denials  # the doctor finds out what this login may not do
def test_each_role_gets_its_answer_to_each_request(
    outbox: Outbox, nats: str, make_console: MakeConsole, settings: dict[str, str], tmp_path: Path
) -> None:
    console = make_console(outbox.dsn, nats, **settings, **operator_settings(outbox.dsn, tmp_path))
    wrong = {}
    for method, path, *expected in (*LOOKING, *OPEN, *CHANGING):
        found = [asked(console, method, path, token) for token in (None, READER, OPERATOR)]
        if found != expected:
            wrong[method, path] = found, expected
    assert wrong == {}


def test_without_write_nobody_finds_a_page_that_changes_something(
    outbox: Outbox, nats: str, make_console: MakeConsole, settings: dict[str, str]
) -> None:
    console = make_console(outbox.dsn, nats, **settings)
    for method, path, *_ in CHANGING:
        found = [asked(console, method, path, token) for token in (None, READER, OPERATOR)]
        assert found == [TO_LOGIN, 404, 404], (method, path)


def test_no_form_of_another_site_is_taken_by_any_page(
    outbox: Outbox, nats: str, make_console: MakeConsole, settings: dict[str, str], tmp_path: Path
) -> None:
    console = make_console(outbox.dsn, nats, **settings, **operator_settings(outbox.dsn, tmp_path))
    posts = {path for method, path, *_ in (*LOOKING, *OPEN, *CHANGING) if method == "POST"} | {"/login"}
    for path in posts:
        for headers in (
            {},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{console.host}"},
        ):
            own = {"Authorization": f"Bearer {OPERATOR}", **FORM, **headers}
            assert console.ask("POST", path, own, b"").status == 403, (path, headers)


def test_what_a_proxy_would_say_is_nothing_from_anybody_else(
    outbox: Outbox, nats: str, make_console: MakeConsole, settings: dict[str, str]
) -> None:
    console = make_console(outbox.dsn, nats, **settings, console__operators="alice")
    for name, value in (
        ("X-Forwarded-User", "alice"),
        ("X-Forwarded-Groups", "sre"),
        ("X-Proxy-Secret", ""),
        ("Remote-User", "alice"),
        ("X-Forwarded-For", "10.0.0.1"),
    ):
        assert asked(console, "GET", "/", None, **{name: value}) == TO_LOGIN, name
    assert asked(console, "GET", "/", READER, **{"X-Forwarded-Host": "evil.example"}) == 200
    assert asked(console, "GET", "/", READER, Host="evil.example", **{"X-Forwarded-Host": console.host}) == 421
    answer = console.post("/login", {"token": READER}, {**SAME_ORIGIN, "X-Forwarded-Proto": "https"})
    assert "secure" not in answer.headers["set-cookie"].lower(), "https is said by nobody who is trusted"


def test_every_route_stands_in_the_table() -> None:
    text = (ROOT / "relay/console/app.py").read_text("utf-8")
    routes = {
        (method or "GET", re.sub(r"\{\w+\}", "1", path))
        for path, method in re.findall(r'at\("(/[^"]*)"[^\n]*?(?:"(POST)")?(?:, for_all=True)?\),\n', text)
    }
    known = {(method, path.partition("?")[0]) for method, path, *_ in (*LOOKING, *OPEN, *CHANGING)}
    assert len(routes) > 20
    assert {one for one in routes if one[1] not in ELSEWHERE} <= known
