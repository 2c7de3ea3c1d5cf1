"""An incident at night, played through with the console alone: what waits, why, since when, and what to do about it.

Each thing that is wrong is a card. What its link leads to says the same in more detail; what it says to do mends it: on
the console where that may decide, else by the very command that stands on the card.
"""

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import NamedTuple

import pytest

from relay.demo.servers import NatsServer, PostgresServer
from tests.integration.console.test_changes import confirm, ended
from tests.support.fix_console import Answer, Console, MakeConsole, operator_settings
from tests.support.fix_relay import ROOT, MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done

pytestmark = pytest.mark.timeout(300)
SETTINGS = {"failures__on_dead": "block", "failures__hold_max_s": "2", "delivery__objective_s": "3"}
STEERS = {"Nats-Rollup": "all"}


class Card(NamedTuple):
    """One thing that is wrong, as the overview says it."""

    level: str
    what: str
    text: str
    command: str
    link: str
    event: str
    runbook: str
    since: bool


class Scene(NamedTuple):
    """Servers, a relay and a console on them."""

    outbox: Outbox
    streams: Streams
    nats: NatsServer
    console: Console

    def cards(self, path: str = "/") -> list[Card]:
        return [
            card(one) for one in re.findall(r'(?s)<section class="concern.*?</section>', self.console.get(path).text)
        ]

    def sees(self, what: str) -> Card:
        """Wait until the overview says it; return its card."""
        wait_until(what, lambda: any(what in one.what for one in self.cards()), 60)
        return next(one for one in self.cards() if what in one.what)

    def advises(self, what: str, command: str) -> Card:
        """Wait until the card says to run a command that begins so, and counts what waits; return it."""
        wait_until(
            command,
            lambda: any(
                what in one.what and one.command.startswith(command) and " wait." in one.text for one in self.cards()
            ),
            60,
        )
        return self.sees(what)

    def is_well(self) -> None:
        wait_until("all is well", lambda: "All is well." in self.console.get("/").plain, 60)

    def only_warns(self, what: str) -> Card:
        """Wait until no fault is left, and a warning is; return its card."""
        wait_until(what, lambda: {one.level for one in self.cards()} == {"warning"}, 60)
        return self.sees(what)

    def knows(self, stream: str) -> None:
        """Wait until the console has seen a stream."""
        wait_until(f"{stream} is seen", lambda: stream in self.console.get("/streams").plain, 60)

    def follows(self, one: Card) -> Answer:
        """Open what a card links to."""
        page = self.console.get(one.link)
        assert page.status == 200, page.plain
        return page

    def runs(self, one: Card) -> None:
        """Run the command that stands on a card."""
        program, *words = shlex.split(one.command)
        assert program == "relay"
        done(None, *words, "--yes", RELAY_NATS__SERVERS=self.nats.url)

    def decides(self, page: Answer, words: str) -> None:
        """Press what a page offers in these words, and confirm its preview."""
        link = next(unescape(href) for href, text in links(page) if text.startswith(words))
        ended(self.console, confirm(self.console, self.console.get(link)))


def links(page: Answer) -> list[tuple[str, str]]:
    found = re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', page.text)
    return [(href, unescape(text)) for href, text in found]


def card(text: str) -> Card:
    """Read a card, of which no part may be missing."""
    plain = " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())
    what = re.search(r"(?s)<h2><span[^>]*>(\w+)</span>(.*?)</h2>", text)
    command = re.search(r"<code tabindex=\"0\">(.*?)</code>", text)
    runbook = re.search(r"runbooks/(\w+\.md)", text)
    link = re.search(r'href="(/[^"]*)"', text)
    event = re.search(r'href="(/events/[0-9]+)"', text)
    assert what is not None and command is not None and runbook is not None and "Do:" in plain, plain
    assert (ROOT / "docs/operations/runbooks" / runbook[1]).exists()
    return Card(
        what[1],
        " ".join(unescape(what[2]).split()),
        plain,
        unescape(command[1]),
        "" if link is None else unescape(link[1]),
        "" if event is None else event[1],
        runbook[1],
        "Since" in plain or "Seen since" in plain or "Nothing was delivered since" in plain,
    )


@pytest.fixture
def scene(
    own_postgres: PostgresServer,
    own_nats: NatsServer,
    make_relay: MakeRelay,
    make_console: MakeConsole,
    tmp_path: Path,
) -> Iterator[Scene]:
    streams, outbox = Streams(own_nats.url), Outbox(own_postgres.dsn())
    streams.make("ORDERS", "orders.>")
    streams.make("FULL", "full.>", max_msgs=5, discard="new")
    streams.make("OTHER", "other.>", max_msg_size=500)
    with closing(outbox.conn):
        make_relay(outbox.dsn, own_nats.url, **SETTINGS).start()
        console = make_console(outbox.dsn, own_nats.url, **operator_settings(outbox.dsn, tmp_path), **SETTINGS).enter()
        for topic in ("orders.placed", "full.placed", "other.placed"):
            outbox.insert(topic, "k", {"i": 1})
        outbox.drained()
        one = Scene(outbox, streams, own_nats, console)
        one.is_well()
        yield one


def test_nats_is_away(scene: Scene) -> None:
    scene.nats.kill()
    seq = scene.outbox.insert("orders.placed", "k", {"i": 2})
    seen = scene.sees("NATS cannot be reached from here")
    assert (seen.level, seen.command, seen.runbook, seen.since) == (
        "fault",
        "relay doctor",
        "OutboxRelayOutage.md",
        True,
    )
    wait_until("it is late", lambda: "The oldest pending event is" in scene.console.get("/").plain, 60)
    assert [one.what for one in scene.cards()] == [seen.what], "that it is late follows from the outage"
    event = scene.console.get(f"/events/{seq}")
    assert "An outage is on, seen from here" in event.plain and "OutboxRelayOutage.md" in event.plain
    streams = scene.follows(seen).plain
    assert "NATS cannot be reached from here" in streams
    assert "This is what NATS said" in streams and "ORDERS" in streams, "what was known stays, with its age"
    assert "the last event was delivered" in seen.text
    waiting = scene.console.get("/waiting").plain
    assert "NATS cannot be reached from here" in waiting and "Nothing is held back" not in waiting
    scene.nats.start()
    scene.outbox.delivered(seq)
    scene.is_well()


def test_one_stream_is_full_and_the_command_of_its_card_makes_room(scene: Scene) -> None:
    seqs = [scene.outbox.insert("full.placed", f"k{number}", {"i": number}) for number in range(7)]
    flows = scene.outbox.insert("orders.placed", "k", {"i": 2})
    scene.outbox.delivered(flows)
    # Five are there and three wait: room for these, and for what comes if that is known.
    seen = scene.advises("Stream FULL is full", "relay stream edit FULL --max-msgs ")
    assert int(seen.command.split()[-1]) >= 10
    assert (seen.level, seen.runbook, seen.since) == ("fault", "OutboxRelayCapacity.md", True)
    assert "3 events of 3 keys wait" in seen.text and "refused by the stream: maximum messages exceeded" in seen.text
    assert [one.what for one in scene.cards()] == [seen.what], "one trouble is one card"
    event = scene.console.get(seen.event)
    assert "Stream FULL is full and refuses new messages: 5 of 5 messages" in event.plain
    assert "relay stream edit FULL --max-msgs " in event.plain and seen.runbook in event.plain
    assert "without a terminal to ask on, add --yes" in seen.text.replace(" .", ".")
    streams = scene.follows(seen).plain
    assert "Stream FULL is full" in streams and "0% of max_msgs 5 left" in streams
    waiting = scene.console.get("/waiting").plain
    assert "maximum messages exceeded" in waiting and "capacity" in waiting and "--max-msgs " in waiting
    scene.runs(seen)
    for seq in seqs:
        scene.outbox.delivered(seq)
    scene.is_well()


def test_dead_letters_of_a_topic_are_given_back_after_their_cause_is_gone(scene: Scene) -> None:
    seqs = [scene.outbox.insert("other.large", f"p{number}", "x" * 600) for number in range(3)]
    for seq in seqs:
        scene.outbox.dead(seq)
    small = scene.sees("Stream OTHER refuses events for their size")
    assert (small.level, small.command, small.since) == ("fault", "relay stream edit OTHER --max-msg-size 1024", True)
    assert "messages of 500 bytes" in small.text and "messages too large" in scene.follows(small).plain
    seen = scene.sees("3 dead letters without a decision")
    assert (seen.link, seen.command, seen.since) == ("/dead", "relay dead summary", True)
    assert "max_msg_size of the stream decides" in seen.text
    assert "3: refused by the stream: message size exceeds maximum allowed" in seen.text
    page = scene.follows(seen)
    assert "other.large" in page.plain and seen.runbook in page.plain
    event = scene.console.get(f"/events/{seqs[0]}")
    assert "Class poison" in event.plain and f"relay dead retry --seq {seqs[0]}" in event.plain
    assert seen.runbook in event.plain
    for told in (page, event):
        assert "can be sent once that limit is raised" in told.plain and "never" not in told.plain
        assert small.command in told.plain
    scene.runs(small)
    wait_until("the stream is large enough", lambda: len(scene.cards()) == 1)
    assert "a retry sends it now" in scene.console.get(f"/events/{seqs[0]}").plain
    scene.decides(page, "Retry")
    for seq in seqs:
        scene.outbox.delivered(seq)
    scene.is_well()


def test_a_blocked_key_is_found_from_what_waits_and_released(scene: Scene) -> None:
    dead = scene.outbox.insert("orders.placed", "customer-7", {"i": 1}, STEERS)
    behind = [scene.outbox.insert("orders.placed", "customer-7", {"i": number}) for number in range(3)]
    scene.outbox.dead(dead)
    scene.sees("1 dead letter without a decision")
    time.sleep(3.5)  # delivery.objective_s has passed
    assert [one.what for one in scene.cards()] == ["1 dead letter without a decision"], "the lag follows from it"
    event = scene.console.get(f"/events/{behind[0]}")
    assert f"wait for an operator to decide about dead letter {dead}" in event.plain.replace("waits", "wait")
    assert "OutboxRelayKeyBlocked.md" in event.plain
    assert f"/events/{dead}" in dict(links(event)) and "/key?key=customer-7" in dict(links(event))
    waiting = scene.console.get("/waiting")
    assert [one.what for one in scene.cards("/waiting")] == ["1 dead letter without a decision"]
    assert "Keys that wait for a decision" in waiting.plain and "/key?key=customer-7" in dict(links(waiting))
    assert "/waiting" in dict(links(scene.follows(scene.cards()[0]))), "the dead letters lead to their keys"
    key = scene.console.get("/key?key=customer-7")
    assert f"waits for an operator to decide about dead letter {dead}; 3 wait behind it." in key.plain
    assert f"relay explain {dead}" in key.plain and "OutboxRelayKeyBlocked.md" in key.plain
    scene.decides(key, "discard them")
    for seq in behind:
        scene.outbox.delivered(seq)
    scene.is_well()
    assert "dead discard" in scene.console.get("/audit").plain


def test_a_dead_letter_by_its_header_says_what_each_decision_does(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **SETTINGS).start()
    console = make_console(outbox.dsn, streams.url, **operator_settings(outbox.dsn, tmp_path), **SETTINGS).enter()
    seq = outbox.insert("orders.placed", "k", {"i": 1}, STEERS)
    outbox.dead(seq)
    none = "No relay lets Nats-Rollup through (headers.allow_nats)."
    wait_until("what the relay allows is told", lambda: none in console.get(f"/events/{seq}").plain)
    event = console.get(f"/events/{seq}").plain
    assert "Retry it now: it becomes a dead letter again" in event and "Discard it: it is never sent" in event
    assert "OutboxRelayDeadLetters.md" in event and "orders.placed, which stream ORDERS takes" in event
    assert none in console.get("/dead").plain
    preview = console.get(f"/change?action=retry&seq={seq}").plain
    assert f"1 dead letter with the header Nats-Rollup. {none} So it becomes a dead letter again." in preview
    explained = done(outbox.dsn, "explain", str(seq), RELAY_NATS__SERVERS=streams.url).stdout
    assert "stream ORDERS, duplicate window" in explained and none in explained
    assert relay.stop() == 0
    make_relay(outbox.dsn, streams.url, **SETTINGS, headers__allow_nats="Nats-Rollup").start()
    every = "Every relay lets Nats-Rollup through"
    wait_until("another relay allows it", lambda: every in console.get(f"/events/{seq}").plain)
    assert "its stream refuses it (allow_rollup_hdrs)" in console.get(f"/events/{seq}").plain
    streams.change("ORDERS", allow_rollup_hdrs=True)
    assert 'it has the stream delete older messages: "all"' in console.get(f"/events/{seq}").plain
    assert 'it has the stream delete older messages: "all"' in console.get(f"/change?action=retry&seq={seq}").plain


@pytest.mark.denials  # the doctor tries the rights of a relay with the console's login
def test_a_lost_stream_is_made_again_by_the_command_of_its_card(scene: Scene) -> None:
    scene.outbox.fill("orders.placed", 20, keys=3)
    scene.outbox.drained()
    scene.knows("ORDERS")
    held = scene.streams.messages("ORDERS")
    scene.streams.api("STREAM.DELETE.ORDERS")
    seen = scene.sees("Stream ORDERS is gone")
    assert (seen.level, seen.command, seen.runbook) == (
        "fault",
        "relay stream create ORDERS --subject 'orders.>'",
        "OutboxRelayStreamLoss.md",
    )
    assert seen.since and "sent again from the outbox" in seen.text
    streams = scene.follows(seen).plain
    assert "gone stream not found" in streams and seen.command in streams
    seq = scene.outbox.insert("orders.placed", "k", {"i": 21})
    wait_until("its event is on its card", lambda: scene.sees("Stream ORDERS is gone").event == f"/events/{seq}", 60)
    assert [one.what for one in scene.cards()] == ["Stream ORDERS is gone"]
    event = scene.console.get(f"/events/{seq}").plain
    assert "No stream takes the subject orders.placed now. Stream ORDERS, which took it, is gone." in event
    doctor = scene.console.post("/doctor", {}).plain
    assert "stream ORDERS fault it is gone" in re.sub(r"(?<=\w)(fault|it is)", r" \1", doctor), doctor
    assert seen.command in event and seen.command in doctor
    scene.runs(seen)
    scene.outbox.delivered(seq)
    wait_until("what it had lost is there again", lambda: scene.streams.messages("ORDERS") == held + 1, 60)
    again = scene.only_warns(f"Stream ORDERS had lost {held} events, and they were sent again")
    assert again.since and again.runbook == seen.runbook
    # Events that were held go behind what was lost: test_first_look.py has one that stands before it.
    stands = "None of them stands behind a newer event of its key."
    wait_until("that none is late is told", lambda: stands in scene.console.get("/").plain, 60)
    assert again.what in scene.console.get("/streams").plain
    assert '<p class="verdict good">Nothing waits.' in scene.console.get("/key?key=k").text
    assert (
        f"stream ORDERS lost it at sequence {held}: sent again"
        in scene.console.get("/events?state=any&error=lost+it&limit=60").plain
    )


def test_all_of_it_at_once_is_told_apart_and_mended_one_after_another(scene: Scene) -> None:
    outbox = scene.outbox
    large = [outbox.insert("other.large", f"p{number}", "x" * 600) for number in range(3)]
    dead = outbox.insert("other.placed", "customer-7", {"i": 1}, STEERS)
    behind = outbox.insert("other.placed", "customer-7", {"i": 2})
    for seq in (*large, dead):
        outbox.dead(seq)
    full = [outbox.insert("full.placed", f"k{number}", {"i": number}) for number in range(12)]
    scene.sees("Stream FULL is full")
    scene.knows("ORDERS")
    scene.streams.api("STREAM.DELETE.ORDERS")
    homeless = outbox.insert("orders.placed", "k", {"i": 2})
    scene.sees("Stream ORDERS is gone")
    wait_until("why it waits is noted", lambda: outbox.row(homeless)["last_error"])
    scene.nats.kill()

    away = scene.sees("NATS cannot be reached from here")
    assert away == scene.cards()[0], "what keeps everything from flowing comes first"
    scene.sees("4 dead letters without a decision")
    kept = {one.what: one for one in scene.cards() if "As NATS said " in one.text}
    assert {"Stream FULL is full", "Stream ORDERS is gone", "Stream OTHER refuses events for their size"} == kept.keys()
    assert kept["Stream ORDERS is gone"].command.startswith("relay stream create ORDERS ")
    assert not any(one.what.startswith("Events wait: ") for one in scene.cards())
    scene.nats.start()
    wait_until("NATS answers", lambda: "NATS cannot be reached" not in scene.console.get("/").plain, 60)
    gone = scene.sees("Stream ORDERS is gone")
    room = scene.advises("Stream FULL is full", "relay stream edit FULL --max-msgs ")
    assert int(room.command.split()[-1]) >= 17
    told = [one.what for one in scene.cards()]
    assert {one.level for one in scene.cards()} == {"fault"}
    assert all(one.since for one in scene.cards()), [one.text for one in scene.cards() if not one.since]
    assert not any(one.startswith("Events wait: ") for one in told), told

    scene.runs(gone)
    outbox.delivered(homeless)
    scene.runs(room)
    for seq in full:
        outbox.delivered(seq)
    scene.streams.change("OTHER", max_msg_size=10_000)
    scene.decides(scene.console.get("/dead?topic=other.large"), "Retry")
    for seq in large:
        outbox.delivered(seq)
    wait_until("one is left", lambda: scene.cards()[0].what == "1 dead letter without a decision")
    scene.decides(scene.console.get("/key?key=customer-7"), "discard them")
    outbox.delivered(behind)
    scene.only_warns("Stream ORDERS had lost 1 event, and it was sent again")
    assert scene.console.get("/audit").plain.count("done") == 2
