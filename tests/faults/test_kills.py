"""The relay is killed at every await that it has: nothing is lost, nothing comes twice, each key keeps its order."""

import time
from pathlib import Path

import psycopg
import pytest

from tests.support.faulty_relay.failpoints import INSTANTS
from tests.support.fix_relay import TIMEOUT_S, MakeRelay, Outbox, Relay, wait_until
from tests.support.fix_stream import SHORTEST_WINDOW, Streams, assert_once_and_in_order, ids, ids_are_forgotten

KEYS = 5
EVENTS = 25
# What the way of an event consists of, by words of the points' names. A point that none of these finds is killed at
# all the same; these are here to show that the list of points is what it is said to be.
THE_WAY = {
    "claim": "Ownership.claim",
    "fetch": "OutboxReader.fetch",
    "reread a gap": "OutboxReader.reread",
    "who may fill a gap": "OutboxReader.holders",
    "publish": "Publisher.",
    "settle": "OutboxWriter.mark",
    "beat": "Term._beat",
    "connect": "connect",
}
# And after relays that crashed again and again.
WITH_CARE = {
    "read the suspects": "AfterCrash.next_group > OutboxReader.suspects",
    "raise their attempts": "OutboxWriter.raise_attempts",
    "outlive them": "AfterCrash.survived",
    "forget what ended": "Ownership.reset_crashes",
}
# A task waits for its turn on a connection only if another happens to have it, and makes the connection only if it
# happens to be the first to use it: met in one start and not in the next.
BY_CHANCE = ("async with self._turn", "> Database.connection")


class Filler:
    """Adds events of which some seqs are never seen: rolled back, so that each turn has gaps."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.events = 0

    def fill(self, events: int = EVENTS) -> None:
        """Add events; payload ``{"i": 1}`` and on over all calls, key by i."""
        with psycopg.connect(self._outbox.dsn) as conn:
            for i in range(self.events + 1, self.events + events + 1):
                if i % 10 == 3:
                    conn.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.no', '{\"i\": 0}')")
                    conn.rollback()
                conn.execute(
                    "INSERT INTO outbox_events (topic, key, payload)"
                    " VALUES ('orders.placed', %s, jsonb_build_object('i', %s::int))",
                    (f"k{i % KEYS}", i),
                )
                conn.commit()
        self.events += events


def points_of(relay: Relay, outbox: Outbox, directory: Path) -> list[str]:
    """Let a relay deliver what is there, and rest; return every await that it stood at, from the claim on."""
    file = directory / "points"
    relay.patch(record=str(file))
    relay.start()
    outbox.drained()
    # Until it has renewed its leases and slept: a second or so.
    wait_until("a renewal", lambda: "Term._beat > Ownership.beat" in file.read_text("utf-8"))
    relay.kill()
    points = file.read_text("utf-8").splitlines()
    claims = [at for at, point in enumerate(points) if THE_WAY["claim"] in point]
    assert claims, "no await of the claim"
    return points[claims[0] :]


def dies(relay: Relay, outbox: Outbox) -> bool:
    """Wait until a relay has died at its failpoint; False if it delivered everything, rested, and did not pass it."""
    deadline = time.monotonic() + TIMEOUT_S
    beats: set[object] = set()
    while not relay.ends_within(0.05):
        if time.monotonic() > deadline:
            return False
        if beats or _is_done(outbox):
            # Points of a relay at rest come with its beat: from the second to the third that is seen it is a whole one.
            beats.add(outbox.conn.execute("SELECT max(lease_until) FROM outbox_members").fetchone())
            if len(beats) == 3:
                return False
    return True


def _is_done(outbox: Outbox) -> bool:
    return outbox.count("delivered_at IS NULL") == 0


@pytest.mark.timeout(180)
def test_a_kill_at_any_await_of_retention_deletes_nothing_that_is_needed(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    """Rows go as soon as they are delivered, while others are under way; what is in no stream yet stays."""
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=SHORTEST_WINDOW)
    filler = Filler(outbox)
    filler.fill()
    relay = make_relay(outbox.dsn, streams.url, retention__delivered_age_s="0.01", retention__dead_age_s="0.01")
    file = tmp_path / "points"
    relay.patch(record=str(file), tidy="1")
    relay.start()
    outbox.drained()
    deleting = ("Reader.next_seq", "Writer.prune_delivered", "Writer.prune_dead", "Retention._pass_on: ")
    wait_until("it deletes", lambda: all(point in file.read_text("utf-8") for point in deleting))
    relay.kill()
    points = [point for point in file.read_text("utf-8").splitlines() if "Retention." in point]
    for point in points:
        for instant in INSTANTS:
            outbox.leases_run_out()
            filler.fill()
            ids_are_forgotten()
            relay.patch(failpoint=f"{instant} {point}", tidy="1")
            relay.start()
            if any(one in point for one in BY_CHANCE) and not dies(relay, outbox):
                relay.kill()
            assert relay.wait() == -9, f"{instant} {point}"
            gone = filler.events - outbox.count("true")
            assert gone <= streams.messages("ORDERS")
    outbox.leases_run_out()
    ids_are_forgotten()
    relay.patch(tidy="1")
    relay.start()
    outbox.drained()
    wait_until("only the newest stays", lambda: outbox.count("true") == 1)
    assert_once_and_in_order(streams.read("ORDERS"), filler.events, KEYS)


def test_without_a_look_into_the_tail_a_kill_before_the_mark_repeats_events(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    """What the test below shows is not the work of the stream: killed between acknowledgements and their marks."""
    streams.make("ORDERS", "orders.>", duplicate_window=SHORTEST_WINDOW)
    filler = Filler(outbox)
    filler.fill()
    relay = make_relay(outbox.dsn, streams.url)
    linger = next(point for point in points_of(relay, outbox, tmp_path) if "Settler._linger: " in point)
    filler.fill()
    # After a crash it begins with care, and then its marks wait for no company.
    outbox.leases_run_out(0)
    relay.patch(failpoint=f"sent {linger}")
    relay.start()
    assert relay.wait() == -9
    unmarked = outbox.count("delivered_at IS NULL")
    assert streams.messages("ORDERS") > filler.events - unmarked
    outbox.leases_run_out()
    ids_are_forgotten()
    relay.patch(mutant="no-look-up")
    relay.start()
    outbox.drained()
    assert streams.messages("ORDERS") > filler.events


@pytest.mark.timeout(420)
@pytest.mark.parametrize(("strategy", "ended"), [("singles", 0), ("atomic", 1), ("singles", 6)])
def test_a_kill_at_any_await_loses_repeats_and_reorders_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, tmp_path: Path, strategy: str, ended: int
) -> None:
    """Each relay begins with what the one before it has left, and dies one await or one instant further on.

    The stream has forgotten the ids of what it holds before the next relay is there: it drops no repeat itself.
    If many relays are said to have crashed before, it begins with care; of that, only what differs is gone through.
    """
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True, duplicate_window=SHORTEST_WINDOW)
    filler = Filler(outbox)
    filler.fill()
    settings = {"delivery__strategy": strategy, "delivery__window": "8", "delivery__atomic_batch": "8"}
    relay = make_relay(outbox.dsn, streams.url, **settings, failures__max_attempts="1000")
    outbox.leases_run_out(ended)
    points = points_of(relay, outbox, tmp_path)
    for what, words in (THE_WAY | (WITH_CARE if ended > 1 else {})).items():
        assert [point for point in points if words in point], f"no await of: {what}"
    if ended > 1:
        points = [point for point in points if any(words in point for words in WITH_CARE.values())]
    passed_by = []
    for point in points:
        for instant in INSTANTS:
            outbox.leases_run_out(ended)
            if "_of_unknown" in point or "TailSearch._begin" in point:
                # A stream that nothing is saved of.
                outbox.conn.execute("DELETE FROM outbox_streams")
            filler.fill()
            ids_are_forgotten()
            relay.patch(failpoint=f"{instant} {point}")
            relay.start()
            if not dies(relay, outbox):
                if not any(one in point for one in BY_CHANCE):
                    passed_by.append(f"{instant} {point}")
                relay.kill()
            assert relay.wait() == -9
            marked = outbox.count("delivered_at IS NOT NULL")
            assert marked <= streams.messages("ORDERS"), f"marked before it was stored: {instant} {point}"
    assert len(passed_by) <= len(points) * len(INSTANTS) // 10, "\n".join(passed_by)
    outbox.leases_run_out()
    ids_are_forgotten()
    relay.patch()
    relay.start()
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), filler.events, KEYS)
    assert outbox.marks() == ids(streams.read("ORDERS"))
