"""The command line, as far as it needs no server."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from relay import __version__
from relay.cli import main
from relay.cli.table import Column, table
from relay.config.settings import Settings, load
from relay.operate.filters import topic_regex
from relay.operate.payload_text import pretty
from relay.text import age, iso, json_line, moment, size
from tests.support.relay_cli import done, relay


def test_every_command_explains_itself_with_an_example() -> None:
    for name in main.commands:
        text = done(None, name, "-h").stdout
        assert name == "version" or f"relay {name}" in text.split("\n", 2)[2]


def test_the_version_is_printed_by_command_and_by_flag() -> None:
    assert done(None, "version").stdout == f"{__version__}\n"
    assert done(None, "--version").stdout == f"relay {__version__}\n"


def test_the_help_names_the_exit_codes() -> None:
    text = " ".join(done(None, "-h").stdout.split())
    assert "0 done, 1 any other fault, 2 wrong usage" in text


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--since", "99999999999d"),
        ("replay", "--since", f"{10**30}d", "--dry-run"),
        ("prune", "--older-than", "999999999d", "--yes"),
        ("stream", "create", "ORDERS", "--subject", "orders.>", "--max-age", "999999999d"),
        ("list", "--key", "\udcff"),
        ("show", "\udcff"),
    ],
)
def test_what_no_server_could_hold_is_wrong_usage(words: tuple[str, ...]) -> None:
    result = relay("postgresql://h/d", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "longer than a hundred years" in result.stderr or "is not UTF-8" in result.stderr


def test_wrong_usage_ends_with_2_and_data_stays_empty() -> None:
    for args in (
        ["frob"],
        ["run", "--frob"],
        ["list", "--state", "lost"],
        ["show"],
        ["show", "x"],
        ["list", "--limit", "0"],
    ):
        result = relay("postgresql://h/d", *args)
        assert (result.exit_code, result.stdout) == (2, ""), args


def test_config_prints_what_holds_and_can_be_read_again(tmp_path: Path) -> None:
    printed = tmp_path / "printed.toml"
    printed.write_text(done(None, "config").stdout, "utf-8")
    assert load(printed, environ={}) == Settings()


def test_config_takes_flags_over_environment_over_file_and_hides_secrets(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('[http]\nport = 1\n[nats]\nname = "from file"\nservers = ["nats://f:1"]\n', "utf-8")
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://u:hunter2@h/d\n", "utf-8")
    args = (
        "config",
        "--config",
        str(file),
        "--dsn-file",
        str(secret),
        "--server",
        "nats://a:1",
        "--server",
        "tls://b:2",
    )
    secrets = {"RELAY_NATS__TOKEN": "hunter2"}
    result = done(None, *args, RELAY_HTTP__PORT="2", **secrets)
    shown = tomllib.loads(result.stdout)
    assert shown["nats"]["servers"] == ["nats://a:1", "tls://b:2"]
    assert shown["nats"]["name"] == "from file"
    assert shown["http"]["port"] == 2
    assert shown["postgres"]["dsn"] == "postgresql://u:********@h/d"
    assert "hunter2" not in result.output
    assert json.loads(done(None, "config", "--output", "json", RELAY_HTTP__PORT="2").stdout)["http"]["port"] == 2


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("[http]\nport = 1\n", "utf-8")
    assert tomllib.loads(done(None, "config", RELAY_CONFIG=str(file)).stdout)["http"]["port"] == 1


def test_each_fault_of_the_configuration_is_a_line_on_stderr() -> None:
    result = relay(None, "config", "--http-port", "x", RELAY_LOG__LEVEL="loud", RELAY_FROB="1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: environment RELAY_FROB: unknown setting",
        "error: flag --http-port: must be a valid integer, unable to parse string as an integer (not 'x')",
        "error: environment RELAY_LOG__LEVEL: must be 'debug', 'info', 'warning' or 'error' (not 'loud')",
    ]


@pytest.mark.parametrize("command", [["run"], ["status"], ["list"], ["show", "1"], ["migrate"]])
@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("", "[postgres] dsn: is not set"),
        ("host=h password=hunter2 x", "is neither a URL nor name=value pairs"),
        (
            "postgresql://u:hunter2@h/db?sslmod=require",
            "has a parameter sslmod that libpq does not know; did you mean sslmode?",
        ),
        ("host=h password=hunter2 application_nam=x", "did you mean application_name?"),
        # A secret with a space in it looks like a parameter.
        ("host=h password=my hunter2=x", "has a parameter that libpq does not know; its text is not shown"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_and_never_shown(
    command: list[str], dsn: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    result = relay(dsn, *command)
    assert result.exit_code == 2
    assert text in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (1.26, "1.3 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3725, "1 h 2 min"),
        (7200, "2 h"),
        (86_400 * 3 + 3600, "3 d 1 h"),
        (float("inf"), "unknown"),
    ],
)
def test_a_span_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_moment_is_said_in_local_time_with_its_distance() -> None:
    now = 1_900_000_000.0
    assert moment(now - 90, now).endswith(" (1 min 30 s ago)")
    assert moment(now + 90, now).endswith(" (in 1 min 30 s)")
    assert moment(None, now) == ""


@pytest.mark.parametrize("at", [float("inf"), float("-inf"), 1e15, -1e13])
def test_a_moment_outside_the_calendar_is_no_fault(at: float) -> None:
    assert moment(at, 0.0).endswith("infinity")
    assert (iso(at) or "").endswith("infinity")


def test_a_moment_for_programs_is_utc() -> None:
    assert iso(1_900_000_000.25) == "2030-03-17T17:46:40.250000Z"
    assert iso(None) is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1,023 bytes"), (1536, "1.5 KiB (1,536 bytes)"), (2**41, "2048.0 GiB")],
)
def test_a_size_is_said_in_bytes_and_its_unit(count: int, text: str) -> None:
    assert size(count).startswith(text)


def test_a_table_is_aligned_and_harmless() -> None:
    lines = table(
        [Column("N", right=True), Column("NAME"), Column("REST", rest=True)],
        [("1", "a\x1b[31m", "x" * 300), ("22", "訂單", "\n"), ("3", "b" * 80, "")],
    )
    assert [line[:6] for line in lines] == ["\x1b[1m N", " 1  a\\", "22  訂單", " 3  bb"]
    assert lines[1].endswith("x" * 300)
    assert lines[2].endswith("  \\n")
    assert "b" * 59 + "…" in lines[3]
    assert "\x1b" not in "".join(lines[1:])


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("orders.placed", r"^orders\.placed$"),
        ("orders.*", r"^orders\.[^.]+$"),
        ("orders.>", r"^orders\..+$"),
        (">", "^.+$"),
        ("or*s.pl?ced", r"^or[^.]*s\.pl[^.]ced$"),
        ("a+b(c)|$", r"^a\+b\(c\)\|\$$"),
        ("größe x", r"^größe\ x$"),
    ],
)
def test_a_topic_pattern_becomes_an_anchored_expression(pattern: str, regex: str) -> None:
    assert topic_regex(pattern) == regex


def test_json_is_laid_out_digit_for_digit() -> None:
    text = '{"a":1.10,"b":[12345678901234567890.5,[],{}],"c":"x:{,}\\" \\u202e","a":null}'
    assert pretty(text).splitlines() == [
        "{",
        '  "a": 1.10,',
        '  "b": [',
        "    12345678901234567890.5,",
        "    [],",
        "    {}",
        "  ],",
        '  "c": "x:{,}\\" \\u202e",',
        '  "a": null',
        "}",
    ]


@pytest.mark.parametrize("text", ["", "plain text", "{broken", "[" * 100_000])
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    assert pretty(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("text", ["\x7f", "\x9b31m", "\u202e", "\U000e0001", "\xa0"])
def test_what_json_leaves_as_it_is_is_escaped(text: str) -> None:
    line = json_line(json.dumps(text, ensure_ascii=False))
    assert line.isascii()
    assert json.loads(line) == text


@given(JSON, st.booleans())
def test_layout_and_escapes_leave_the_value_as_it_is(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json.loads(pretty(text)) == value
    assert json.loads(json_line(text)) == value
    assert json_line(text).isprintable()


def test_a_fault_that_nobody_foresaw_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("relay.cli.config.effective", broken)
    result = CliRunner().invoke(main, ["config"])
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("relay.cli.config.effective", interrupted)
    assert relay(None, "config").exit_code == 130
