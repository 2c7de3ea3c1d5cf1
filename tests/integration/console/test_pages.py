"""What the pages of the console say, over a real outbox, a real relay and a real NATS."""

import re
import time
from contextlib import closing
from html import unescape
from urllib.parse import urlencode

import pytest
from markupsafe import escape

from relay.demo.servers import NatsServer, PostgresServer
from tests.integration.console.world import MARKUP, Night, night
from tests.support.fix_console import Answer, Console, MakeConsole
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done


@pytest.fixture
def at_night(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> Night:
    return night(outbox, streams, make_relay)


@pytest.fixture
def console(at_night: Night, outbox: Outbox, streams: Streams, make_console: MakeConsole) -> Console:
    return make_console(outbox.dsn, streams.url).enter()


def test_all_is_well_while_nothing_waits(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.insert("orders.placed", "k", {"i": 1})
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    page = make_console(outbox.dsn, streams.url).enter().get("/")
    assert "All is well." in page.plain
    assert "64 of 64" in page.plain
    assert "relay status --watch" in page.plain


def test_the_overview_says_what_waits_why_since_when_and_what_to_do(console: Console, at_night: Night) -> None:
    page = console.get("/")
    assert "Something is wrong." in page.plain
    assert "Events wait: no stream takes this subject" in page.plain
    assert "Class configuration" in page.plain
    assert f"relay explain {at_night.homeless}" in page.plain
    assert 'href="/runbooks/OutboxRelayMisconfigured.md"' in page.text
    index = console.get("/runbooks")
    assert "Runbooks" in page.plain and 'href="/runbooks/OutboxRelayMisconfigured.md"' in index.text
    assert "Warning: for minutes events have waited" in index.plain
    runbook = console.get("/runbooks/OutboxRelayMisconfigured.md")
    assert "What is wrong" in runbook.plain and "docs/operations/runbooks/OutboxRelayMisconfigured.md" in runbook.plain
    for other in ("nothing.md", "..%2fREADME.md", "README"):
        assert console.get(f"/runbooks/{other}").status == 404
    assert "2 dead letters without a decision" in page.plain
    assert "Since" in page.plain
    live = console.get("/?live")
    assert "<html" not in live.text
    assert "Events wait: no stream takes this subject" in live.plain


def test_nobody_at_work_is_a_fault_of_its_own(outbox: Outbox, streams: Streams, make_console: MakeConsole) -> None:
    outbox.insert("orders.placed", "k", {"i": 1})
    page = make_console(outbox.dsn, streams.url).enter().get("/")
    assert "No relay is at work" in page.plain
    assert "OutboxRelayDown" in page.plain


def test_events_are_found_by_every_filter_of_the_address(console: Console, outbox: Outbox, at_night: Night) -> None:
    def found(query: str) -> set[int]:
        page = console.get(f"/events?{query}")
        assert page.status == 200, page.plain
        seqs = {
            at_night.delivered,
            at_night.dead,
            at_night.homeless,
            at_night.behind,
            at_night.hostile,
            at_night.binary,
        }
        return {seq for seq in seqs if f'/events/{seq}"' in page.text}

    assert found("") == {at_night.homeless, at_night.behind}
    assert found("state=dead") == {at_night.dead, at_night.hostile}
    assert found("state=any&key=k3") == {at_night.homeless, at_night.behind}
    assert found("state=any&topic=orders.placed&seq=..2") == {at_night.delivered}
    assert found(f"id={outbox.row(at_night.binary)['id']}") == {at_night.binary}
    reason = str(outbox.row(at_night.dead)["last_error"])
    assert at_night.dead in found(urlencode({"state": "dead", "error": reason.upper()}))
    assert found("state=dead&error=no+such+reason") == set()
    assert found("state=any&since=0s") == set()
    assert len(found("state=any&since=1h&until=2100-01-01")) == 6
    page = console.get("/events?state=dead&topic=other.*")
    assert "relay list --state dead --topic 'other.*'" in page.plain
    page = console.get("/events?seq=9..7")
    assert page.status == 400
    assert "ends before it begins" in page.plain
    more = console.get("/events?state=any&limit=2")
    assert f'/events/{at_night.binary}"' in more.text
    assert f"seq=..{at_night.behind - 1}" in more.text and 'rel="next"' in more.text


def test_one_event_says_why_and_what_next_and_its_payload_only_if_asked(console: Console, at_night: Night) -> None:
    page = console.get(f"/events/{at_night.homeless}")
    assert "No stream takes the subject nowhere.x now." in page.plain
    assert "relay stream create NAME --subject" in page.plain
    page = console.get(f"/events/{at_night.behind}")
    assert f"An earlier event of its key comes first: seq {at_night.homeless}" in page.plain
    page = console.get(f"/events/{at_night.dead}")
    assert "Trace" in page.plain and "header-value" not in page.text
    assert f"relay dead retry --seq {at_night.dead}" in page.plain
    page = console.get(f"/events/{at_night.delivered}")
    assert "stream ORDERS, sequence" in page.plain and "payload-text" not in page.text
    shown = console.get(f"/events/{at_night.delivered}/payload")
    assert "12345678901234567890123" in shown.plain, "digit for digit"
    assert "payload-text" in shown.plain
    assert "header-value" in console.get(f"/events/{at_night.dead}/payload").plain
    file = console.get(f"/events/{at_night.delivered}/payload.txt")
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.headers["content-type"].startswith("text/plain")
    assert console.get("/events/4711000").status == 404
    assert console.get("/events/what").status == 404


def test_a_hostile_row_is_text_on_every_page(console: Console, at_night: Night) -> None:
    large = console.get(f"/events/{at_night.hostile}/payload")
    assert len(large.body) < 200_000
    assert "only the beginning is shown" in large.plain
    for path in ("/", "/events?state=dead", f"/events/{at_night.hostile}", f"/events/{at_night.hostile}/payload"):
        page = console.get(path)
        assert page.status == 200
        assert "<script>alert" not in page.text and "<b hx-get" not in page.text
        assert all(char.isprintable() or char == "\n" for char in page.text)
        assert len(page.body) < 200_000
    assert "\\u202e" in console.get(f"/events/{at_night.hostile}").plain
    assert escape(MARKUP) in console.get(f"/events/{at_night.hostile}").text, "template braces are not filled in"


def test_payloads_can_be_kept_out_of_the_console(
    at_night: Night, outbox: Outbox, streams: Streams, make_console: MakeConsole
) -> None:
    console = make_console(outbox.dsn, streams.url, console__payloads="never").enter()
    assert "Show payload" not in console.get(f"/events/{at_night.delivered}").plain
    for path in ("payload", "payload.txt"):
        answer = console.get(f"/events/{at_night.delivered}/{path}")
        assert answer.status == 403
        assert "payload-text" not in answer.text


def test_the_box_of_every_page_leads_to_an_event_or_a_key(console: Console, outbox: Outbox, at_night: Night) -> None:
    assert console.get(f"/go?q={at_night.dead}").headers["location"] == f"/events/{at_night.dead}"
    row = outbox.row(at_night.dead)
    assert console.get(f"/go?q={row['id']}").headers["location"] == f"/events/{row['id']}"
    assert "k%2F1" in console.get("/go?q=k/1").headers["location"]


def test_pages_say_what_is_away_and_go_on_when_it_is_back(
    own_postgres: PostgresServer, own_nats: NatsServer, make_console: MakeConsole
) -> None:
    console = make_console(own_postgres.dsn(), own_nats.url).enter()
    wait_until("NATS is seen", lambda: "NATS cannot be reached" not in console.get("/").plain)
    own_nats.stop()
    wait_until("NATS is missed", lambda: "NATS cannot be reached from here" in console.get("/").plain)
    own_nats.start()
    wait_until("NATS is seen again", lambda: "NATS cannot be reached" not in console.get("/").plain)
    own_postgres.stop()
    wait_until("PostgreSQL is missed", lambda: "The outbox cannot be read" in console.get("/").plain)
    assert console.get("/events").status == 503
    own_postgres.start()
    wait_until("PostgreSQL is seen again", lambda: "The outbox cannot be read" not in console.get("/").plain)
    assert console.get("/events").status == 200


def test_dead_letters_are_counted_by_topic_and_reason_and_lead_to_their_events(
    console: Console, at_night: Night
) -> None:
    page = console.get("/dead")
    assert "other.large" in page.plain and "\\u202e" in page.plain
    assert "relay dead summary" in page.plain
    links = [unescape(link) for link in re.findall(r'href="(/events\?state=dead[^"]*)"', page.text)]
    found = [console.get(link) for link in links]
    assert any(f'/events/{at_night.dead}"' in one.text for one in found)
    only = console.get("/dead?topic=other.*")
    assert "other.large" in only.plain and "orders." not in only.plain.partition("Numbers stand")[2]
    assert console.get("/dead?seq=x").status == 400


def test_a_key_says_who_blocks_whom(console: Console, at_night: Night) -> None:
    page = console.get("/key?key=k3")
    assert f"Event {at_night.homeless} is held back; 1 waits behind it." in page.plain
    assert page.text.index(f'/events/{at_night.homeless}"') < page.text.index(f'/events/{at_night.behind}"')
    assert "Nothing waits." in console.get("/key?key=k1").plain
    assert "No events of this key were found." in console.get("/key?key=no-such").plain
    assert console.get("/key").status == 303


def test_what_waits_is_shown_by_class_and_reason(console: Console, at_night: Night) -> None:
    page = console.get("/waiting")
    assert "configuration" in page.plain and "no stream takes this subject" in page.plain
    assert f'/events/{at_night.homeless}"' in page.text
    assert "No event waits for a retry." in page.plain


def test_streams_and_consumers_are_shown_with_their_room_and_how_far_behind_they_are(
    console: Console, streams: Streams
) -> None:
    streams.api(
        "CONSUMER.DURABLE.CREATE.ORDERS.list",
        {"stream_name": "ORDERS", "config": {"durable_name": "list", "ack_policy": "explicit"}},
    )
    wait_until("the consumer is seen", lambda: "list" in console.get("/streams").plain)
    page = console.get("/streams?live")
    assert "ORDERS" in page.plain and "at work" in page.plain
    streams.change("ORDERS", max_msgs=1, discard="new")
    wait_until(
        "the stream is full", lambda: "max_msgs 1 left, then it refuses new messages" in console.get("/streams").plain
    )


def test_what_moves_is_sent_again_only_if_it_has_moved(console: Console, outbox: Outbox, streams: Streams) -> None:
    first = console.get("/streams?live")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-store", "a tag is kept by the page alone"
    same = console.get("/streams?live", {"If-None-Match": tag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
    assert "content-security-policy" in same.headers
    outbox.delivered(outbox.insert("orders.placed", "k9", {"i": 9}))
    wait_until("it has moved", lambda: console.get("/streams?live", {"If-None-Match": tag}).status == 200)
    assert "etag" not in console.get("/streams").headers


def test_an_asset_is_sent_once(console: Console) -> None:
    for path in ("console.css", "console.js", "htmx-4.0.1.min.js", "icon.svg"):
        tag = console.get(f"/static/{path}").headers["etag"]
        answer = console.get(f"/static/{path}", {"If-None-Match": tag})
        assert (answer.status, answer.body) == (304, b""), path
    console.cookie = None
    icon = console.get("/favicon.ico")
    assert (icon.status, icon.headers["content-type"]) == (200, "image/svg+xml"), "for what has no page to name one"
    assert console.get("/favicon.ico", {"If-None-Match": icon.headers["etag"]}).status == 304


def test_relays_and_all_shards_are_shown(console: Console, outbox: Outbox) -> None:
    page = console.get("/relays")
    assert "Every shard has a relay." in page.plain
    assert "All 64 are held by this relay." in page.plain and 'class="cell"' not in page.text, "nothing to compare"
    outbox.conn.execute(
        "UPDATE outbox_shards SET owner = 'another', lease_until = now() + interval '9 s' WHERE shard < 9"
    )
    wait_until("two share them", lambda: "64 shards: 55 of A, 9 of B" in console.get("/relays").text)
    page = console.get("/relays?as=table")
    assert page.text.count("left</td>") == 64
    assert "<html" not in console.get("/relays?live").text


def test_without_projections_their_page_says_so(console: Console) -> None:
    assert "no projection" in console.get("/projections").plain


def test_the_doctor_examines_with_the_rights_of_the_console(console: Console) -> None:
    assert "checks found nothing wrong" not in console.get("/doctor").plain
    page = console.post("/doctor", {})
    assert page.status == 200
    wrong, well = page.text.split("<details>")
    assert "What is wrong, faults first" in wrong and ">fault</span>" in wrong and ">ok</span>" not in wrong
    assert ">ok</span>" in well and ">fault</span>" not in well and ">warning</span>" not in well
    assert f"{well.count('>ok</span>')} checks found nothing wrong" in page.plain and "postgres" in page.plain
    assert "that looking takes was tried" in well and "permission denied" not in page.plain
    assert console.post("/doctor", {}, {}).status == 403


def test_the_audit_shows_who_changed_what(console: Console, outbox: Outbox, at_night: Night) -> None:
    assert "Nothing was changed yet." in console.get("/audit").plain
    done(outbox.dsn, "dead", "retry", "--seq", str(at_night.dead), "--yes")
    page = console.get("/audit")
    assert "dead retry" in page.plain and "1 of 1" in page.plain and f"first_seq={at_night.dead}" in page.plain


def test_about_hides_secrets(at_night: Night, outbox: Outbox, streams: Streams, make_console: MakeConsole) -> None:
    console = make_console(outbox.dsn, streams.url, nats__user="relay", nats__password="secret-word").enter()
    page = console.get("/about")
    assert "Zero-Clause BSD" in page.plain and "objective_s" in page.plain
    assert "secret-word" not in page.text


def test_the_tail_shows_the_last_deliveries_and_follows(console: Console, outbox: Outbox, at_night: Night) -> None:
    page = console.get("/tail?key=k1")
    assert f'/events/{at_night.delivered}"' in page.text and f'/events/{at_night.binary}"' not in page.text
    lines = console.follow("/tail/stream?topic=orders.>")
    assert next(lines).startswith("retry:")
    seq = outbox.insert("orders.placed", "k9", {"i": 9})
    # It begins with the last ones, so that none is missed between the page and the stream.
    rows = [next(line for line in lines if line.startswith("data:"))]
    while f'/events/{seq}"' not in rows[-1]:
        rows.append(next(line for line in lines if line.startswith("data:")))
    assert "ORDERS" in rows[-1] and f'/events/{at_night.delivered}"' in "".join(rows)
    assert re.search(r"<time [^>]*>[0-9:]{8}</time>", rows[-1]), "a time of day stays true"
    lines.close()


def test_the_last_hour_is_drawn_from_the_table_and_goes_on_with_each_look(
    console: Console, outbox: Outbox, at_night: Night
) -> None:
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = now() - interval '10 minutes',"
        " created_at = now() - interval '11 minutes' WHERE seq = %s",
        (at_night.delivered,),
    )
    page = console.get("/")
    assert 'aria-label="Lag over the last 10 min' in page.text
    assert "Lag, the longest in each ten seconds; objective 1 min" in page.plain and "Lag: now" not in page.plain
    table = console.get("/?as=table")
    assert "1 min" in table.plain.partition("The last hour")[2]
    before = len(re.findall("<tr>", table.text))
    outbox.insert("orders.placed", "k", {"i": 1})
    wait_until("the next slot is there", lambda: len(re.findall("<tr>", console.get("/?as=table").text)) > before)
    assert 'hx-get="/?live&amp;as=table"' in console.get("/?as=table").text


def test_each_ten_seconds_are_counted_as_they_were_whenever_somebody_looked_and_an_outage_has_its_lag(
    own_postgres: PostgresServer, own_nats: NatsServer, make_console: MakeConsole, make_relay: MakeRelay
) -> None:
    Streams(own_nats.url).make("ORDERS", "orders.>")
    outbox = Outbox(own_postgres.dsn())
    with closing(outbox.conn):
        make_relay(outbox.dsn, own_nats.url, failures__hold_max_s="1").start()

        def produce(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                outbox.insert("orders.placed", "k", {"i": 1})
                time.sleep(0.05)

        produce(3)
        console = make_console(outbox.dsn, own_nats.url).enter()
        console.get("/")
        produce(11)
        own_nats.kill()
        killed_at = time.time()
        produce(16)
        console.get("/")
        own_nats.start()
        # Nobody looks while the events that waited are delivered, nor for a while after that.
        produce(14)
        outbox.drained()
        console.get("/")
        time.sleep(2)
        shown = _slots(console.get("/?as=table"))
        true = outbox.conn.execute(
            "SELECT to_char(to_timestamp(floor(date_part('epoch', delivered_at) / 10) * 10) AT TIME ZONE 'UTC',"
            " 'HH24:MI:SS'), count(*) FROM outbox_events GROUP BY 1"
        ).fetchall()
        assert {at: events for at, (events, _) in shown.items() if events} == dict(true)
        away = time.strftime("%H:%M:%S", time.gmtime((killed_at + 10) // 10 * 10))
        assert shown[away] != (0, "0 ms") and re.match(r"\d+(\.\d+)? s", shown[away][1]), shown
        fresh = make_console(outbox.dsn, own_nats.url).enter()
        fresh.get("/")
        assert _slots(fresh.get("/?as=table")).items() >= {at: one for at, one in shown.items() if one[0]}.items()


def _slots(page: Answer) -> dict[str, tuple[int, str]]:
    """Read the table of the last hour: events delivered and longest lag, by the time of day."""
    rows = re.findall(
        r'<time [^>]*>([0-9:]{8})</time>.*?<td class="n">([0-9,]+)</td><td class="n">(.*?)</td>', page.text
    )
    assert len({at for at, *_ in rows}) == len(rows), "no slot stands there twice"
    return {at: (int(events.replace(",", "")), lag) for at, events, lag in rows}
