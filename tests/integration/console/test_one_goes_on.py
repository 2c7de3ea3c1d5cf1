"""Several processes that would go on with one change: exactly one does, and the others are told which."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from relay.config.settings import Settings, load
from relay.demo.servers import PostgresServer
from relay.operate.changes import Audit, Changer, Overtaken, changing
from relay.operate.claim import Taken, claimed, holder_of
from tests.integration.console.test_changes import audit as audit_lines
from tests.integration.console.test_changes import confirm, dead_letters, ended, number
from tests.support.fix_console import Console, MakeConsole, operator_settings
from tests.support.fix_pgbouncer import MakePooler
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay

EVENTS = 3000
_SESSION = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'relay change %'"
)


@pytest.fixture
def broken_off(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_console: MakeConsole, tmp_path: Path
) -> dict[str, str]:
    """A replay that a console was killed over; the settings of another console that may go on with it."""
    streams.make("ORDERS", "orders.>")
    streams.make("OTHER", "other.>")
    outbox.fill("orders.placed", EVENTS, keys=3)
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    settings = operator_settings(outbox.dsn, tmp_path)
    console = make_console(outbox.dsn, streams.url, **settings).enter()
    page = console.get("/change?action=replay&topic=orders.>&subject=other.{topic}&rate=400")
    confirm(console, page)
    wait_until("some of it is counted", lambda: audit_lines(outbox) and audit_lines(outbox)[0][3] >= 400)
    console.kill()
    wait_until("nobody is at work", lambda: not outbox.conn.execute(_SESSION).fetchall())
    return settings


@pytest.fixture
def consoles(broken_off: dict[str, str], outbox: Outbox, streams: Streams, make_console: MakeConsole) -> list[Console]:
    return [make_console(outbox.dsn, streams.url, **broken_off).enter() for _ in range(2)]


def rest(outbox: Outbox) -> str:
    ((first,),) = outbox.conn.execute("SELECT min(id) FROM outbox_audit").fetchall()
    return f"/change?resume={first}"


def test_of_two_consoles_and_two_tabs_at_one_moment_one_goes_on(
    consoles: list[Console], outbox: Outbox, streams: Streams
) -> None:
    windows = [console for console in consoles for _ in range(2)]
    previews = [console.get(rest(outbox)) for console in windows]
    assert {page.status for page in previews} == {200}
    with ThreadPoolExecutor(len(windows)) as threads:
        answers = list(threads.map(confirm, windows, previews))
    ahead = [place for place, answer in enumerate(answers) if answer.status == 303]
    assert len(ahead) == 1, [answer.plain for answer in answers]
    for answer in (answer for answer in answers if answer.status != 303):
        assert answer.status == 409, answer.plain
        assert "is being made by console " in answer.plain, answer.plain
    elsewhere = consoles[1 - ahead[0] // 2].get(answers[ahead[0]].headers["location"])
    assert "at work, not in this console" in elsewhere.plain and "Do the rest" not in elsewhere.plain
    ended(windows[ahead[0]], answers[ahead[0]])
    assert streams.messages("OTHER") == EVENTS, "nothing is there twice"
    assert audit_lines(outbox)[0][1:] == ("replay", EVENTS, EVENTS, True)
    assert [line[1] for line in audit_lines(outbox)] == ["replay", "resume"], "who was refused has no line"


def test_while_a_console_goes_on_a_command_is_told_who_does_and_the_other_way_round(
    consoles: list[Console], outbox: Outbox, streams: Streams
) -> None:
    first = str(number(outbox))
    page = consoles[0].get(rest(outbox))
    answer = confirm(consoles[0], page)
    assert answer.status == 303
    told = relay(outbox.dsn, "replay", "--resume", first, "--yes", RELAY_NATS__SERVERS=streams.url)
    assert told.exit_code == 1
    assert f"change {first} is being made by console " in told.stderr
    refused = consoles[1].get(rest(outbox))
    assert refused.status == 409 and f"change {first} is being made by console " in refused.plain
    settings = load(environ={"RELAY_POSTGRES__DSN": outbox.dsn})
    consoles[0].kill()
    wait_until("nobody is at work", lambda: not outbox.conn.execute(_SESSION).fetchall())
    with changing(settings, "alice@host") as changer, claimed(settings, changer, int(first)):
        refused = consoles[1].get(rest(outbox))
        assert refused.status == 409 and f"change {first} is being made by alice@host" in refused.plain
    assert consoles[1].get(rest(outbox)).status == 200, "it is free again"


def test_who_has_lost_its_session_does_not_go_on_beside_who_took_over(
    consoles: list[Console], outbox: Outbox, streams: Streams
) -> None:
    first = confirm(consoles[0], consoles[0].get(rest(outbox)))
    ((session,),) = outbox.conn.execute(_SESSION).fetchall()
    counted = audit_lines(outbox)[0][3]
    outbox.conn.execute("SELECT pg_terminate_backend(%s, 5000)", (session,))
    wait_until("it goes on without noticing", lambda: audit_lines(outbox)[0][3] > counted)
    second = confirm(consoles[1], consoles[1].get(rest(outbox)))
    assert first.status == second.status == 303
    pages = [ended(console, answer) for console, answer in zip(consoles, (first, second), strict=True)]
    assert sorted("another process has gone on with change" in page for page in pages) == [False, True], pages
    assert streams.messages("OTHER") == EVENTS, "what both have sent is there once"
    assert audit_lines(outbox)[0][1:] == ("replay", EVENTS, EVENTS, True)


def test_dead_letters_are_decided_by_one_process_as_well(
    outbox: Outbox, nats: str, make_console: MakeConsole, tmp_path: Path
) -> None:
    dead_letters(outbox, "orders.a", 5000)
    settings = operator_settings(outbox.dsn, tmp_path)
    ours, theirs = (make_console(outbox.dsn, nats, **settings).enter() for _ in range(2))
    with psycopg.connect(outbox.dsn) as busy:
        busy.execute("SELECT FROM outbox_events WHERE seq = 2500 FOR UPDATE")
        answer = confirm(ours, ours.get("/change?action=discard&topic=orders.a"))
        wait_until("two batches are done", lambda: outbox.count("discarded_at IS NOT NULL") == 2000)
        refused = theirs.get(rest(outbox))
        assert refused.status == 409 and "is being made by console " in refused.plain
    assert "done, 5,000 changed" in ended(ours, answer)


@pytest.fixture
def through_a_pooler(own_postgres: PostgresServer, pooler: MakePooler) -> Settings:
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as conn:
        # Longer than a busy machine lets a step wait for its next statement, and shorter than claims are held.
        conn.execute("ALTER DATABASE postgres SET idle_in_transaction_session_timeout = '1s'")
    return load(environ={"RELAY_POSTGRES__DSN": pooler(own_postgres, "transaction")})


def try_to_claim(settings: Settings, changer: Changer, number: int) -> None:
    with claimed(settings, changer, number):
        pass


def insert_and_count(changer: Changer, audit: Audit) -> None:
    with changer.step():
        changer.cursor.execute("INSERT INTO outbox_events (topic, payload) VALUES ('orders.a', '{}')")
        audit.add(1)


def test_a_claim_holds_through_a_pooler_of_transactions_and_leaves_nothing_there(through_a_pooler: Settings) -> None:
    settings = through_a_pooler
    with changing(settings, "alice@host") as changer:
        line = changer.begin("dead retry", {"topic": "a"}, 7)
        for _ in range(3):
            with claimed(settings, changer, line.number):
                with changing(settings, "bob@host") as other:
                    other.cursor.execute("SELECT pg_sleep(1.2)")
                    with pytest.raises(Taken, match="by alice@host"):
                        try_to_claim(settings, other, line.number)
                with changer.step():
                    changer.cursor.execute("SELECT pg_sleep(0.04)")
                    held = holder_of(changer, line.number)
                assert held is not None and held.who == "alice@host"
            with changer.step():
                assert holder_of(changer, line.number) is None


def test_a_count_that_is_not_the_own_one_is_refused_with_its_batch(database: str) -> None:
    settings = load(environ={"RELAY_POSTGRES__DSN": database})
    with changing(settings, "alice@host") as changer:
        audit = changer.begin("dead retry", {"topic": "a"}, 7)
        with changer.step():
            audit.add(1)
            audit.add(2)
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE outbox_audit SET events = events + 1")
        with pytest.raises(Overtaken):
            insert_and_count(changer, audit)
        with psycopg.connect(database) as conn:
            assert conn.execute("SELECT events FROM outbox_audit").fetchall() == [(4,)]
            assert conn.execute("SELECT count(*) FROM outbox_events").fetchall() == [(0,)]
