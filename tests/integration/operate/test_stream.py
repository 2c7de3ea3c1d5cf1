"""``relay stream``: make, look at and change streams without another tool."""

import json

import pytest

from tests.support.fix_relay import MakeRelay, Outbox
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done, relay

GiB = 1024**3


def on(streams: Streams) -> dict[str, str]:
    return {"RELAY_NATS__SERVERS": streams.url}


def test_a_stream_is_made_as_the_relay_wants_it(streams: Streams) -> None:
    args = ("--subject", "orders.>", "--subject", "invoices.*", "--max-age", "7d", "--max-bytes", "2GiB", "--yes")
    assert done(None, "stream", "create", "ORDERS", *args, **on(streams)).stdout == (
        "stream ORDERS takes orders.>, invoices.*\n"
    )
    config = streams.config("ORDERS")
    assert config["subjects"] == ["orders.>", "invoices.*"]
    assert (config["storage"], config["retention"], config["discard"]) == ("file", "limits", "new")
    assert (config["max_age"], config["max_bytes"], config["duplicate_window"]) == (
        604_800 * 10**9,
        2 * GiB,
        120 * 10**9,
    )
    assert config["allow_direct"] is True
    assert config.get("allow_atomic", False) is streams.take_batches


def test_a_stream_that_exists_is_left_alone(streams: Streams) -> None:
    streams.make("ORDERS", "orders.>", max_age=10**12)
    result = relay(None, "stream", "create", "ORDERS", "--subject", "x", "--yes", **on(streams))
    assert result.exit_code == 1
    assert "exists already: relay stream edit changes it" in result.stderr
    assert streams.config("ORDERS")["subjects"] == ["orders.>"]


def test_what_jetstream_refuses_is_said_in_its_words(streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    taken = relay(None, "stream", "create", "OTHER", "--subject", "orders.placed", "--yes", **on(streams))
    assert taken.exit_code == 1
    assert "subjects overlap with an existing stream" in taken.stderr


def test_streams_are_shown_as_a_table_one_by_one_and_as_json(streams: Streams) -> None:
    assert done(None, "stream", "show", **on(streams)).stderr == "there is no stream\n"
    streams.make("ORDERS", "orders.>", max_age=10**12)
    streams.make("EARLY", "early.>")
    streams.publish("orders.placed", 1, 2)
    lines = done(None, "stream", "show", **on(streams)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "EARLY", "ORDERS"]
    assert "1,000 s" in lines[2]
    assert "for ever" in lines[1]
    one = done(None, "stream", "show", "ORDERS", **on(streams)).stdout
    assert "messages             2\n" in one
    found = json.loads(done(None, "stream", "show", "ORDERS", "--output", "json", **on(streams)).stdout)
    assert (found["subjects"], found["last_seq"], found["max_age_s"]) == (["orders.>"], 2, 1000)
    assert relay(None, "stream", "show", "NONE", **on(streams)).exit_code == 1


def test_an_edit_changes_what_is_given_and_leaves_the_rest(streams: Streams) -> None:
    streams.make("ORDERS", "orders.>", max_age=10**12, description="kept", max_bytes=GiB)
    edit = ("stream", "edit", "ORDERS", "--max-age", "30d", "--max-bytes", "none", "--max-msg-size", "2KiB")
    dry = done(None, *edit, "--dry-run", **on(streams))
    assert (
        "max_age from 1,000 s to 2,592,000 s; max_bytes from 1.0 GiB to no limit; max_msg_size from no limit to 2.0 KiB"
        in dry.stderr
    )
    before = streams.config("ORDERS")
    done(None, *edit, "--yes", **on(streams))
    assert streams.config("ORDERS") == {**before, "max_age": 2_592_000 * 10**9, "max_bytes": -1, "max_msg_size": 2048}
    assert done(None, *edit, "--yes", **on(streams)).stderr == "stream ORDERS needs no change\n"


def test_what_the_doctor_advises_of_a_stream_can_be_done_with_an_edit(streams: Streams) -> None:
    streams.make("ORDERS", "orders.>", discard="old", allow_direct=False, no_ack=True)
    options = ("--discard", "new", "--allow-direct", "--ack")
    dry = done(None, "stream", "edit", "ORDERS", *options, "--dry-run", **on(streams))
    assert "discard from old to new; allow_direct from False to True; no_ack from True to False" in dry.stderr
    done(None, "stream", "edit", "ORDERS", *options, "--yes", **on(streams))
    config = streams.config("ORDERS")
    assert (config["discard"], config["allow_direct"], config.get("no_ack", False)) == ("new", True, False)
    again = done(None, "stream", "edit", "ORDERS", *options, "--yes", **on(streams))
    assert again.stderr == "stream ORDERS needs no change\n"


@pytest.mark.parametrize(
    "args",
    [
        ("create", "a.b", "--subject", "x"),
        ("create", "A"),
        ("create", "A", "--subject", "x", "--max-age", "7 weeks"),
        ("create", "A", "--subject", "x", "--max-bytes", "0"),
        ("create", "A", "--subject", "x", "--max-age", "1m"),
        ("edit", "A"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_asked(args: tuple[str, ...]) -> None:
    assert relay(None, "stream", *args, "--yes", RELAY_NATS__SERVERS="nats://127.0.0.1:1").exit_code == 2


def test_without_consent_nothing_is_made(streams: Streams) -> None:
    create = ("stream", "create", "ORDERS", "--subject", "orders.>")
    assert "would make stream ORDERS" in done(None, *create, "--dry-run", **on(streams)).stderr
    assert relay(None, *create, **on(streams)).exit_code == 2
    assert streams.api("STREAM.NAMES")["streams"] is None


def test_the_relay_delivers_into_a_stream_made_so_and_the_doctor_has_no_complaint_about_it(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    done(None, "stream", "create", "ORDERS", "--subject", "orders.>", "--max-age", "7d", "--yes", **on(streams))
    make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 10, 2)
    outbox.drained()
    assert streams.messages("ORDERS") == 10
    said = json.loads(relay(outbox.dsn, "doctor", "--output", "json", **on(streams)).stdout)
    about = [one for one in said["findings"] if one["check"].startswith("stream")]
    assert about
    assert all(one["level"] == "ok" for one in about), about
