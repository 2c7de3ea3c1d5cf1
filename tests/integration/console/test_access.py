"""Who gets into the console, with real requests: roles, origins, hosts, proxies."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fix_console import SAME_ORIGIN, MakeConsole
from tests.support.fix_relay import ROOT

READER, OPERATOR = "reader-token-0123456789", "operator-token-0123456789"
PAGES = ("/", "/events", "/events/1", "/events/1/payload", "/events/1/payload.txt", "/go?q=1")


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    for name, token in (("reader", READER), ("operator", OPERATOR)):
        (tmp_path / name).write_text(token + "\n")
    return {
        "console__auth": "token",
        "console__reader_token_file": str(tmp_path / "reader"),
        "console__operator_token_file": str(tmp_path / "operator"),
    }


def test_the_printed_link_lets_in_and_leaves_the_address_bar(
    database: str, nats: str, make_console: MakeConsole
) -> None:
    console = make_console(database, nats)
    assert console.link.startswith("http://127.0.0.1:")
    for path in PAGES:
        assert console.get(path).status == 403, path
    assert console.get("/?key=wrong").status == 403
    answer = console.ask("GET", console.link.partition(console.host)[2])
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    console.enter()
    assert console.get("/").status == 200
    assert "looking only" in console.get("/").plain


def test_every_answer_has_a_strict_policy_and_is_not_kept(database: str, nats: str, make_console: MakeConsole) -> None:
    console = make_console(database, nats)
    answers = [console.get(path) for path in ("/", "/static/console.css", "/healthz", "/nothing")]
    answers += [console.enter().get(path) for path in (*PAGES, "/nothing")]
    answers.append(console.get("/", {"Host": "evil.example"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert "access-control-allow-origin" not in answer.headers
    assert [answer.headers["cache-control"] for answer in answers].count("no-cache") == 1, "only the style sheet"
    assert {answer.status for answer in answers} >= {200, 403, 404, 421}


def test_another_name_of_the_host_gets_no_answer(database: str, nats: str, make_console: MakeConsole) -> None:
    console = make_console(database, nats).enter()
    port = console.host.partition(":")[2]
    assert console.get("/", {"Host": f"localhost:{port}"}).status == 200
    for host in ("evil.example", f"evil.example:{port}", f"localhost.evil.example:{port}", ""):
        assert console.get("/", {"Host": host}).status == 421, host
    assert console.get("/healthz", {"Host": "10.0.0.7:9465"}).status == 200, "a probe names the pod"


def test_a_token_is_a_bearer_or_opens_a_session_that_ends_with_it(
    database: str, nats: str, make_console: MakeConsole, tokens: dict[str, str]
) -> None:
    console = make_console(database, nats, **tokens)
    assert console.get("/").headers["location"] == "/login"
    assert console.get("/", {"Authorization": f"Bearer {READER}"}).status == 200
    assert console.get("/", {"Authorization": "Bearer wrong"}).status == 303
    assert console.log_in("wrong").status == 403
    assert "console.refused" in console.log()
    assert console.log_in(READER).status == 303
    assert console.get("/").status == 200
    Path(tokens["console__reader_token_file"]).write_text("another-token-0123456789")
    assert console.get("/").status == 303, "the token that opened the session holds no longer"
    assert console.log_in(OPERATOR).status == 303
    kept = console.cookie
    assert console.post("/logout", {}).status == 303
    console.cookie = kept
    assert console.get("/").status == 303
    assert (
        READER not in console.log()
        and OPERATOR not in console.log()
        and "wrong" not in console.log().replace("a wrong token", "")
    )


def test_a_form_of_another_site_changes_nothing(
    database: str, nats: str, make_console: MakeConsole, tokens: dict[str, str]
) -> None:
    console = make_console(database, nats, **tokens)
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{console.host}"},
    ):
        answer = console.post("/login", {"token": OPERATOR}, headers)
        assert (answer.status, answer.headers.get("set-cookie")) == (403, None), headers
    assert console.post("/login", {"token": OPERATOR}, {"Origin": f"http://{console.host}"}).status == 303
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert console.ask(method, "/", SAME_ORIGIN).status == 405


def test_a_form_that_is_none_is_refused(
    database: str, nats: str, make_console: MakeConsole, tokens: dict[str, str]
) -> None:
    console = make_console(database, nats, **tokens)
    form = SAME_ORIGIN | {"Content-Type": "application/x-www-form-urlencoded"}
    assert console.ask("POST", "/login", SAME_ORIGIN | {"Content-Type": "application/json"}, b"{}").status == 415
    assert console.ask("POST", "/login", form, b"token=" + b"x" * 70_000).status == 413
    assert console.ask("POST", "/login", form, b"&".join(b"a=1" for _ in range(100))).status == 400
    assert console.ask("POST", "/login", form, b"token=\xff").status == 400


def test_a_proxy_is_believed_only_if_it_is_trusted_and_knows_the_secret(
    database: str, nats: str, make_console: MakeConsole, tmp_path: Path
) -> None:
    (tmp_path / "proof").write_text("proof-of-the-proxy-1234")
    proxied = {"console__auth": "proxy", "console__host": "127.0.0.1", "console__operators": "alice,group:sre"}
    alice = {"X-Forwarded-User": "alice"}
    foreign = make_console(database, nats, **proxied, console__trusted_proxies="10.0.0.0/8")
    assert foreign.get("/", alice).status == 403
    console = make_console(
        database,
        nats,
        **proxied,
        console__trusted_proxies="127.0.0.0/8",
        console__proxy_secret_file=str(tmp_path / "proof"),
    )
    assert console.get("/", alice).status == 403
    assert console.get("/", alice | {"X-Proxy-Secret": "wrong"}).status == 403
    answer = console.get("/", alice | {"X-Proxy-Secret": "proof-of-the-proxy-1234"})
    assert answer.status == 200
    assert "alice, looking only" in answer.plain
    assert console.get("/", {"X-Proxy-Secret": "proof-of-the-proxy-1234"}).status == 403


@pytest.mark.parametrize("prefix", ["/tools/relay", ""], ids=["keeping", "stripping"])
def test_it_works_behind_a_proxy_that_keeps_its_path_and_one_that_strips_it(
    database: str, nats: str, make_console: MakeConsole, prefix: str
) -> None:
    console = make_console(database, nats, console__base_path="/tools/relay").enter()
    console.base = prefix
    page = console.get("/events")
    assert page.status == 200
    assert 'href="/tools/relay/static/console.css"' in page.text
    assert 'action="/tools/relay/events"' in page.text
    assert console.get("/static/console.css").status == 200
    assert console.get("/go?q=7").headers["location"] == "/tools/relay/events/7"


def test_it_does_not_start_where_others_could_reach_it_without_a_name(database: str) -> None:
    for variables, said in (
        ({"RELAY_CONSOLE__HOST": "0.0.0.0"}, "is reached by others"),
        ({"RELAY_CONSOLE__AUTH": "proxy"}, "needs trusted_proxies"),
        ({"RELAY_CONSOLE__WRITE": "true"}, "needs operator_dsn_file"),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "relay", "console"],
            cwd=ROOT,
            env={"RELAY_POSTGRES__DSN": database, "RELAY_CONSOLE__PORT": "0", **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2, ended
        assert said in ended.stderr
