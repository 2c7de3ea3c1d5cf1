"""Changing many: preview equals what is done, rights and roles, audit with the name of who did it."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.support.fix_console import FORM, SAME_ORIGIN, Answer, Console, MakeConsole, operator_settings
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_rights import as_relay
from tests.support.fix_stream import Streams

READER, OPERATOR = "reader-token-0123456789", "operator-token-0123456789"
OPERATOR_PAGES = (
    ("GET", "/change?action=retry&all=1"),
    ("POST", "/change"),
    ("GET", "/changes/1"),
    ("GET", "/change?resume=1"),
)


def dead_letters(outbox: Outbox, topic: str, count: int, reason: str = "too large: 5 bytes") -> None:
    outbox.fill(topic, count, keys=7)
    outbox.conn.execute(
        "UPDATE outbox_events SET dead_at = now() - interval '1 minute', last_error = %s WHERE topic = %s",
        (reason, topic),
    )


def hidden(page: Answer) -> dict[str, str]:
    """Return the fields of the form that confirms."""
    form = page.text.partition('method="post"')[2]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}


def confirm(console: Console, page: Answer, **more: str) -> Answer:
    return console.post("/change", {**hidden(page), **more})


def ended(console: Console, answer: Answer) -> str:
    """Wait for the end of a change; return what its page says."""
    assert answer.status == 303, answer.plain
    path = answer.headers["location"]
    wait_until("the change has ended", lambda: "Ended" in console.get(f"{path}?live").plain)
    return console.get(path).plain


@pytest.fixture
def console(outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path) -> Console:
    return make_console(outbox.dsn, nats, **operator_settings(outbox.dsn, tmp_path)).enter()


def audit(outbox: Outbox) -> list[tuple[str, str, int, int, bool]]:
    return outbox.conn.execute(
        "SELECT who, action, planned, events, ended_at IS NOT NULL FROM outbox_audit ORDER BY id"
    ).fetchall()


def number(outbox: Outbox) -> int:
    """Return the number of the newest change."""
    return int(outbox.conn.execute("SELECT max(id) FROM outbox_audit").fetchall()[0][0])


def test_what_was_previewed_is_what_is_done(console: Console, outbox: Outbox) -> None:
    dead_letters(outbox, "orders.a", 2500)
    dead_letters(outbox, "orders.b", 3)
    page = console.get("/change?action=retry&topic=orders.a&error=too+large")
    assert "Send 2,500 dead letters again" in page.plain
    assert "Examples: 10 of 2,500" in page.plain
    assert "relay dead retry --topic orders.a" in page.plain
    assert outbox.count("dead_at IS NOT NULL") == 2503, "a preview changes nothing"
    dead_letters(outbox, "orders.late", 1)
    outbox.conn.execute(
        "UPDATE outbox_events SET topic = 'orders.a', dead_at = now() + interval '1 s' WHERE topic = 'orders.late'"
    )
    assert "done, 2,500 changed" in ended(console, confirm(console, page))
    assert outbox.count("topic = 'orders.a' AND retry_at IS NOT NULL") == 2500, "what died later is not among it"
    assert outbox.count("dead_at IS NOT NULL") == 4
    ((who, action, planned, events, is_ended),) = audit(outbox)
    assert re.fullmatch(r"console \S+@\S+", who)
    assert (action, planned, events, is_ended) == ("dead retry", 2500, 2500, True)
    assert '"console.changed"' in console.log()


def test_dead_letters_are_discarded_by_key_and_by_seq(console: Console, outbox: Outbox) -> None:
    dead_letters(outbox, "orders.a", 14)
    key = "k/1 ' \u202e\n<b>"
    outbox.conn.execute("UPDATE outbox_events SET key = %s WHERE key = 'k1'", (key,))
    page = console.get(f"/change?action=discard&key={quote(key)}")
    assert "Discard 2 dead letters" in page.plain
    assert all(char.isprintable() or char == "\n" for char in page.text)
    assert "done, 2 changed" in ended(console, confirm(console, page))
    assert outbox.count("discarded_at IS NOT NULL") == 2
    page = console.get("/change?action=discard&seq=2")
    ended(console, confirm(console, page))
    assert outbox.count("discarded_at IS NOT NULL") == 3


def test_a_key_is_released_from_its_page(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=500)
    blocking = {"failures__on_dead": "block"}
    first = outbox.insert("orders.placed", "k", "x" * 1000)
    second = outbox.insert("orders.placed", "k", {"i": 2})
    make_relay(outbox.dsn, streams.url, **blocking).start()
    outbox.dead(first)
    console = make_console(outbox.dsn, streams.url, **operator_settings(outbox.dsn, tmp_path), **blocking).enter()
    page = console.get("/key?key=k")
    assert f"waits for an operator to decide about dead letter {first}; 1 waits behind it." in page.plain
    link = next(unescape(one) for one in re.findall(r'href="(/change\?[^"]*discard[^"]*)"', page.text))
    ended(console, confirm(console, console.get(link)))
    outbox.delivered(second)
    assert "Nothing waits." in console.get("/key?key=k").plain


def test_delivered_events_are_replayed_to_a_subject_of_ones_own(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("OTHER", "other.>")
    outbox.fill("orders.placed", 300, keys=3)
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    console = make_console(outbox.dsn, streams.url, **operator_settings(outbox.dsn, tmp_path)).enter()
    page = console.get("/change?action=replay&topic=orders.>&subject=other.{topic}")
    assert "Replay 300 delivered events to other.{topic}" in page.plain
    outbox.insert("orders.placed", "k", {"i": 1})
    outbox.drained()
    assert "done, 300 changed" in ended(console, confirm(console, page))
    assert streams.messages("OTHER") == 300, "what was delivered later is not among it"
    assert audit(outbox)[0][1:] == ("replay", 300, 300, True)
    answer = console.get("/change?action=replay&topic=orders.>&subject=nowhere.x")
    assert answer.status == 422 and "no stream takes nowhere.x" in answer.plain


def test_a_change_is_gone_on_with_after_its_console_was_killed(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path
) -> None:
    dead_letters(outbox, "orders.a", 12_000)
    settings = operator_settings(outbox.dsn, tmp_path)
    console = make_console(outbox.dsn, nats, **settings).enter()
    page = console.get("/change?action=discard&topic=orders.a")
    with psycopg.connect(outbox.dsn) as busy:
        # The fifth batch waits for it.
        busy.execute("SELECT FROM outbox_events WHERE seq = 4500 FOR UPDATE")
        answer = confirm(console, page, typed="12000")
        assert answer.headers["location"] == f"/changes/{number(outbox)}", "the audit table knows it at once"
        wait_until("four batches are done", lambda: outbox.count("discarded_at IS NOT NULL") == 4000)
        console.kill()
    dead_letters(outbox, "orders.later", 7)
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.a', dead_at = now() WHERE topic = 'orders.later'")
    console = make_console(outbox.dsn, nats, **settings).enter()
    before = console.get(answer.headers["location"])
    assert "dead discard: broken off: no process is at work on it." in before.plain
    assert "4,000 of 12,000" in before.plain
    assert answer.headers["location"] in console.get("/audit").text
    page = console.get(f"/change?resume={number(outbox)}")
    assert "Discard 8,000 dead letters" in page.plain and "Examples: 10 of 8,000" in page.plain
    assert outbox.count("discarded_at IS NOT NULL") == 4000, "a preview changes nothing"
    again = confirm(console, page)
    assert again.headers["location"] == answer.headers["location"]
    assert "done, 8,000 changed" in ended(console, again)
    assert outbox.count("discarded_at IS NOT NULL") == 12_000, "what died after it had begun is not among it"
    (first, second) = audit(outbox)
    assert first[1:] == ("dead discard", 12_000, 12_000, True)
    assert second[1:] == ("resume", 0, 0, True) and second[0].startswith("console "), "who went on has a line"
    assert f"change={number(outbox) - 1}" in console.get("/audit").plain
    assert console.get(f"/change?resume={number(outbox) - 1}").status == 422, "it is done"
    assert console.get("/change?resume=4711").status == 422


def test_a_replay_is_gone_on_with_after_its_console_was_killed(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("OTHER", "other.>")
    outbox.fill("orders.placed", 3000, keys=3)
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    settings = operator_settings(outbox.dsn, tmp_path)
    console = make_console(outbox.dsn, streams.url, **settings).enter()
    page = console.get("/change?action=replay&topic=orders.>&subject=other.{topic}&rate=500")
    answer = confirm(console, page)
    wait_until("some of it is counted", lambda: audit(outbox) and audit(outbox)[0][3] >= 500)
    console.kill()
    left = 3000 - audit(outbox)[0][3]
    assert left > 0, "it was killed in the middle"
    console = make_console(outbox.dsn, streams.url, **settings).enter()
    page = console.get(f"/change?resume={number(outbox)}")
    assert f"Replay {left:,} delivered events to other.{{topic}}" in page.plain
    assert f"relay replay --resume {number(outbox)}" in page.plain
    again = confirm(console, page)
    assert again.headers["location"] == answer.headers["location"]
    assert f"done, {left:,} changed" in ended(console, again)
    assert streams.messages("OTHER") == 3000, "what was in flight is not there twice"
    assert audit(outbox)[0][1:] == ("replay", 3000, 3000, True)
    assert audit(outbox)[1][1:] == ("resume", 0, 0, True)


def test_more_than_was_shown_is_shown_again(console: Console, outbox: Outbox) -> None:
    dead_letters(outbox, "orders.a", 10)
    page = console.get("/change?action=discard&topic=orders.a")
    dead_letters(outbox, "orders.more", 5)
    outbox.conn.execute(
        "UPDATE outbox_events SET topic = 'orders.a', dead_at = now() - interval '1 h' WHERE topic = 'orders.more'"
    )
    again = confirm(console, page)
    assert again.status == 409
    assert "15 match now, and 10 were shown" in again.plain
    assert outbox.count("discarded_at IS NOT NULL") == 0
    assert "done, 15 changed" in ended(console, confirm(console, again))


def test_very_many_are_done_only_if_their_number_is_typed(console: Console, outbox: Outbox) -> None:
    dead_letters(outbox, "orders.a", 10_001)
    page = console.get("/change?action=discard&topic=orders.a")
    assert "Type 10001 to confirm" in page.plain
    assert confirm(console, page).status == 409
    assert outbox.count("discarded_at IS NOT NULL") == 0
    assert "done, 10,001 changed" in ended(console, confirm(console, page, typed="10,001"))


def test_a_form_made_by_hand_still_needs_a_preview(console: Console, outbox: Outbox) -> None:
    dead_letters(outbox, "orders.a", 3)
    for fields in (
        {},
        {"action": "retry"},
        {"action": "retry", "all": "1", "planned": "3"},
        {"action": "retry", "topic": "orders.a", "planned": "3"},
        {"action": "prune", "topic": "orders.a", "until": "0s", "planned": "3"},
    ):
        assert console.post("/change", fields).status == 400, fields
    assert console.post("/change", {"action": "retry", "topic": "orders.a", "until": "0s"}).status == 409
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        whole = {"action": "retry", "topic": "orders.a", "until": "0s", "planned": "3"}
        assert console.post("/change", whole, headers).status == 403
    assert outbox.count("dead_at IS NOT NULL") == 3


def test_a_change_cannot_be_made_by_a_get(console: Console, outbox: Outbox) -> None:
    dead_letters(outbox, "orders.a", 3)
    console.get("/change?action=discard&topic=orders.a&planned=3&confirm=1")
    assert outbox.count("discarded_at IS NOT NULL") == 0


def test_without_write_the_pages_of_an_operator_are_not_there(
    outbox: Outbox, nats: str, make_console: MakeConsole
) -> None:
    dead_letters(outbox, "orders.a", 1)
    console = make_console(outbox.dsn, nats).enter()
    for method, path in OPERATOR_PAGES:
        assert console.ask(method, path, {**SAME_ORIGIN, **FORM}, b"").status == 404, (method, path)
    for path in ("/dead", "/events?state=dead", "/events/1", "/key?key=k1"):
        assert "/change" not in console.get(path).text, path


def test_a_viewer_sees_no_way_to_change_and_finds_none(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path
) -> None:
    dead_letters(outbox, "orders.a", 1)
    for name, token in (("reader", READER), ("operator", OPERATOR)):
        (tmp_path / name).write_text(token)
    console = make_console(
        outbox.dsn,
        nats,
        **operator_settings(outbox.dsn, tmp_path),
        console__auth="token",
        console__reader_token_file=str(tmp_path / "reader"),
        console__operator_token_file=str(tmp_path / "operator"),
    )
    reader, operator = ({**SAME_ORIGIN, **FORM, "Authorization": f"Bearer {one}"} for one in (READER, OPERATOR))
    for method, path in OPERATOR_PAGES:
        assert console.ask(method, path, reader, b"" if method == "POST" else None).status == 403, (method, path)
    assert console.ask("GET", OPERATOR_PAGES[0][1], operator).status == 200
    assert console.ask("POST", "/change", operator, b"").status == 400
    for path in ("/dead", "/events?state=dead", "/events/1", "/key?key=k1"):
        assert "/change" not in console.get(path, reader).text, path
        assert "/change" in console.get(path, operator).text, path
    page = console.get("/change?action=retry&seq=1", operator)
    body = "&".join(f"{name}={quote(value)}" for name, value in hidden(page).items()).encode()
    assert console.ask("POST", "/change", operator, body).status == 303
    wait_until("the change is written down", lambda: audit(outbox) and audit(outbox)[0][4])
    assert audit(outbox)[0][0] == "console operator"


@pytest.mark.denials
def test_the_last_word_is_that_of_postgresql(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path
) -> None:
    dead_letters(outbox, "orders.a", 1)
    settings = operator_settings(outbox.dsn, tmp_path)
    Path(settings["console__operator_dsn_file"]).write_text(as_relay(outbox.dsn).replace("suite_relay", "suite_reader"))
    console = make_console(outbox.dsn, nats, **settings).enter()
    answer = console.get("/change?action=retry&seq=1")
    assert answer.status == 422 and "PostgreSQL does not permit it" in answer.plain
    assert console.post("/change", {"action": "retry", "seq": "1", "until": "0s", "planned": "1"}).status == 422
    assert outbox.count("dead_at IS NOT NULL") == 1
