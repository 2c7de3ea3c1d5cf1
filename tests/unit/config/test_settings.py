"""Settings: where they come from, which one is effective, and how faults are reported."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.config.flags import FLAGS
from relay.config.settings import Settings, load
from relay.config.shown import effective
from relay.console.access.setup import setup_faults
from relay.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def faults(config: Path | None = None, overrides: Mapping[str, object] | None = None, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(config, overrides, environ=environ)
    return list(caught.value.lines)


def test_without_any_source_the_defaults_hold() -> None:
    assert load(environ={}) == Settings()


def test_the_example_names_every_setting_and_equals_the_defaults() -> None:
    example = tomllib.loads(EXAMPLE.read_text("utf-8"))
    names = {section: set(values) for section, values in effective(Settings()).items()}
    assert {section: set(values) for section, values in example.items()} == names
    assert load(EXAMPLE, environ={}) == Settings()


def test_each_line_of_the_example_shows_the_default_as_it_is() -> None:
    example = tomllib.loads(EXAMPLE.read_text("utf-8"))
    for section, values in effective(Settings()).items():
        for name, value in values.items():
            assert example[section][name] == ("" if value is None else value), f"{section}.{name}"


def test_the_file_gives_values(tmp_path: Path) -> None:
    config = write(tmp_path / "relay.toml", '[nats]\nservers = ["nats://a:1", "tls://b:2"]\n[http]\nport = 1\n')
    settings = load(config, environ={})
    assert settings.nats.servers == ("nats://a:1", "tls://b:2")
    assert settings.http.port == 1


def test_the_environment_gives_values_and_lists_by_comma() -> None:
    settings = load(
        environ={
            "RELAY_POSTGRES__DSN": "postgresql://u:p@h/d",
            "RELAY_NATS__SERVERS": "nats://a:1, nats://b:2,",
            "RELAY_SUBJECT__ALLOW": "orders.>,billing.*",
            "RELAY_STREAM__MANAGE": "true",
            "RELAY_DELIVERY__POLL_MAX_S": "0.5",
            "PATH": "/bin",
        }
    )
    assert settings.postgres.dsn.get_secret_value() == "postgresql://u:p@h/d"
    assert settings.nats.servers == ("nats://a:1", "nats://b:2")
    assert settings.subject.allow == ("orders.>", "billing.*")
    assert settings.stream.manage is True
    assert settings.delivery.poll_max_s == 0.5


@pytest.mark.parametrize(("section", "name"), [(s, n) for s, names in effective(Settings()).items() for n in names])
def test_every_setting_can_come_from_the_environment(section: str, name: str) -> None:
    default = effective(Settings())[section][name]
    text = ",".join(default) if isinstance(default, list) else "" if default is None else str(default)
    assert load(environ={f"RELAY_{section}__{name}".upper(): text}) == Settings()


def test_flags_go_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = write(tmp_path / "relay.toml", '[http]\nport = 1\nhost = "a"\n[nats]\nname = "file"\n')
    environ = {"RELAY_HTTP__PORT": "2", "RELAY_HTTP__HOST": "b"}
    settings = load(config, {"http.port": 3, "http.host": None, "nats.servers": ()}, environ=environ)
    assert (settings.http.port, settings.http.host, settings.nats.name) == (3, "b", "file")


def test_every_flag_stands_for_a_setting() -> None:
    known = {f"{section}.{name}" for section, values in effective(Settings()).items() for name in values}
    assert set(FLAGS.values()) <= known


def test_an_empty_text_means_not_set() -> None:
    settings = load(environ={"RELAY_NATS__USER": "", "RELAY_NATS__PASSWORD": "", "RELAY_NATS__CREDS_FILE": ""})
    assert settings == Settings()


@pytest.mark.parametrize("secret", ["postgres.dsn", "postgres.bell_dsn", "nats.password", "nats.token"])
def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path, secret: str) -> None:
    section, name = secret.split(".")
    path = write(tmp_path / "secret", " hunter2 =x\n")
    environ = {f"RELAY_{section}__{name}_FILE".upper(): str(path)}
    if name == "password":
        environ["RELAY_NATS__USER"] = "u"
    found = getattr(getattr(load(environ=environ), section), name)
    assert found.get_secret_value() == " hunter2 =x"


def test_a_secret_of_a_higher_source_goes_over_a_file_of_a_lower_one(tmp_path: Path) -> None:
    low = write(tmp_path / "low", "postgresql://low/")
    config = write(tmp_path / "relay.toml", f'[postgres]\ndsn_file = "{low}"\n')
    settings = load(config, environ={"RELAY_POSTGRES__DSN": "postgresql://high/"})
    assert settings.postgres.dsn.get_secret_value() == "postgresql://high/"
    assert settings.postgres.dsn_file is None


def test_a_secret_file_of_a_higher_source_goes_over_a_secret_of_a_lower_one(tmp_path: Path) -> None:
    high = write(tmp_path / "high", "postgresql://high/")
    config = write(tmp_path / "relay.toml", '[postgres]\ndsn = "postgresql://low/"\n')
    settings = load(config, {"postgres.dsn_file": high}, environ={})
    assert settings.postgres.dsn.get_secret_value() == "postgresql://high/"


def test_a_secret_and_its_file_in_one_source_exclude_each_other(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", "x=1")
    lines = faults(RELAY_POSTGRES__DSN="y=1", RELAY_POSTGRES__DSN_FILE=str(path))
    assert lines == ["environment RELAY_POSTGRES__DSN_FILE: dsn is set as well; only one of the two can hold"]


def test_a_secret_file_that_is_missing_or_empty_is_a_fault(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", "\n")
    assert faults(overrides={"postgres.dsn_file": tmp_path / "no"}, RELAY_NATS__TOKEN_FILE=str(empty)) == [
        f"flag --dsn-file: cannot read {tmp_path / 'no'}: No such file or directory",
        f"environment RELAY_NATS__TOKEN_FILE: {empty} is empty",
    ]


FILES = [
    f"RELAY_{section.upper()}__{name.upper()}"
    for section, info in Settings.model_fields.items()
    for name in type(info.default).model_fields
    if name.endswith("_file")
]


@pytest.mark.parametrize(
    "secret", ["postgresql://a:hunter2@h/db", "hunter2", "/hunter2", "/x/hunter2", "-----BEGIN-----\nhunter2" * 300]
)
@pytest.mark.parametrize("name", FILES)
def test_a_secret_that_stands_for_the_name_of_its_file_is_not_repeated(name: str, secret: str) -> None:
    try:
        settings = load(environ={name: secret})
        # The files of the console are read by the console.
        shown = [str(effective(settings)), *setup_faults(settings.console)]
    except ConfigError as error:
        shown = list(error.lines)
    assert not any("hunter2" in line for line in shown)


def test_all_faults_are_told_at_once_a_line_each_with_their_place(tmp_path: Path) -> None:
    config = write(
        tmp_path / "relay.toml",
        """
        [nats]
        ping_interval_s = "soon"
        [delivery]
        ordering = "keys"
        atomic_batch = 5000
        fetch_bach = 3
        [deliver]
        bell = true
        """,
    )
    lines = faults(config, {"http.port": 70_000}, RELAY_NATS__SERVERS="localhost", RELAY_FAILURES__MAX_ATTEMPTS="0")
    assert sorted(lines) == [
        "environment RELAY_FAILURES__MAX_ATTEMPTS: must be greater than or equal to 1 (not '0')",
        "environment RELAY_NATS__SERVERS: each server must look like nats://host:4222 or tls://host:4222",
        "flag --http-port: must be less than or equal to 65535 (not 70000)",
        "relay.toml [deliver]: unknown section; did you mean delivery?",
        "relay.toml [delivery] atomic_batch: must be less than or equal to 1000 (not 5000)",
        "relay.toml [delivery] fetch_bach: unknown setting; did you mean fetch_batch?",
        "relay.toml [delivery] ordering: must be 'key' or 'none' (not 'keys')",
        (
            "relay.toml [nats] ping_interval_s: must be a valid integer, "
            "unable to parse string as an integer (not 'soon')"
        ),
    ]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("RELAY_HTTP_PORT", "RELAY_HTTP__PORT"),
        ("RELAY_POSTGRES_DSN", "RELAY_POSTGRES__DSN"),
        ("RELAY_NATS__SERVER", "RELAY_NATS__SERVERS"),
        ("RELAY_DELIVERY__WINDOWS", "RELAY_DELIVERY__WINDOW"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(variable: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: "1"})
    assert list(caught.value.lines) == [f"environment {variable}: unknown setting; did you mean {hint}?"]


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("RELAY_NATSS__X", "unknown section NATSS; did you mean NATS?"),
        ("RELAY_NATSS__SERVERS", "unknown section NATSS; did you mean RELAY_NATS__SERVERS?"),
        ("relay_postgress__dsn", "unknown section POSTGRESS; did you mean RELAY_POSTGRES__DSN?"),
        ("RELAY_QUUX__X", "unknown section QUUX"),
    ],
)
def test_of_a_variable_whose_section_is_unknown_the_section_is_named(variable: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: "1"})
    assert list(caught.value.lines) == [f"environment {variable}: {told}"]


def test_a_variable_unlike_any_setting_is_refused_without_a_hint() -> None:
    assert faults(RELAY_XYZZY="1") == ["environment RELAY_XYZZY: unknown setting"]


def test_what_others_put_into_the_environment_is_let_alone() -> None:
    environ = {
        "RELAY_SERVICE_HOST": "10.0.0.1",
        "RELAY_SERVICE_PORT_METRICS": "9464",
        "RELAY_PORT": "tcp://10.0.0.1:9464",
        "RELAY_DEMO_PORT_9464_TCP_ADDR": "10.0.0.1",
        "RELAY_TEST_POSTGRES": "postgresql://x/",
        "RELAY_CONFIG": "relay.toml",
        "RELAYING": "1",
    }
    assert load(environ=environ) == Settings()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[nats", "is not TOML"),
        ("nats = 1", "must be a section, written [nats]"),
        ('[nats]\nuser = "a"', "user and password go together"),
        ('[nats]\nuser = "a"\npassword = "b"\ntoken = "c"', "user and token exclude each other"),
        ("[nats]\nservers = []", "servers: must name at least one"),
        ('[nats]\ntls_ca_file = "/none/ca.pem"', "cannot read the file that it names (not shown"),
        ('[nats]\ntls_ca_file = "/etc/no-ca.pem"', "cannot read /etc/no-ca.pem: No such file"),
        (f'[nats]\ntls_cert_file = "{EXAMPLE}"', "tls_cert_file and tls_key_file go together"),
        ('[postgres]\ntable = "Outbox; DROP"', "must be a plain lower-case name"),
        ('[subject]\ntemplate = "x.{tpoic}"', "unknown field {tpoic}"),
        ('[subject]\nallow = ["a..b"]', "is no NATS subject pattern"),
        ('[subject]\nallow = ["a.>.b"]', "is no NATS subject pattern"),
        ('[headers]\nallow_nats = ["X-TTL"]', "is no header that begins with Nats-"),
        ("[delivery]\nwindow = 9000", "window (9000) must not be larger than buffer_events (8000)"),
        ("[delivery]\nack_timeout_s = nan", "must be a finite number"),
        ("[failures]\nbackoff_base_s = 400", "backoff_base_s must not be larger"),
        ("[failures]\nhold_base_s = 60", "hold_base_s must not be larger"),
        ("[stream]\nmax_age_s = 60", "duplicate_window_s must not be larger than max_age_s"),
        ("[stream]\nmanage = true\nduplicate_window_s = 5", "ack_timeout_s must be smaller"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, text: str, fault: str) -> None:
    lines = faults(write(tmp_path / "relay.toml", text))
    assert len(lines) == 1
    assert fault in lines[0]
    assert "\n" not in lines[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path / "no.toml") == [f"{tmp_path / 'no.toml'}: cannot be read: No such file or directory"]


def test_no_secret_is_in_a_fault(tmp_path: Path) -> None:
    config = write(
        tmp_path / "relay.toml",
        """
        [postgres]
        dsn = ["hunter2"]
        [nats]
        password = 42424242
        token = ["hunter2"]
        servers = ["http://u:hunter2@h"]
        """,
    )
    text = "\n".join(faults(config))
    assert "hunter2" not in text
    assert "42424242" not in text


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (
            "postgresql://u:hunter2@h:5432/d?sslmode=require",
            "postgresql://u:********@h:5432/d?sslmode=require",
        ),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?user=u&password=hunter2&sslpassword=hunter2", "********&sslpassword=********"),
        ("host=h password=hunter2 user=u", "host=h password=******** user=u"),
        (r"host=h password = 'hunter2 \' hunter2' user=u", "host=h password = ******** user=u"),
        (r"host=h password=hunter2\ hunter2 user=u", "host=h password=******** user=u"),
        ("host=h password='hunter2", "********"),
        ("host=h password=hunter2 hunter2", "********"),
        ("host=h PASSWORD=hunter2 dbname=d", "host=h PASSWORD=******** dbname=d"),
        ("host=h scram_client_key=hunter2", "host=h scram_client_key=********"),
        ("host=h oauth_client_secret=hunter2", "host=h oauth_client_secret=********"),
        ("host=h of_a_newer_libpq=hunter2", "host=h of_a_newer_libpq=********"),
        ("host=h options='-c app.key=hunter2'", "host=h options=********"),
        ("host = '' port=5432", "host = '' port=5432"),
        ("postgresql://h/d?scram_server_key=hunter2&sslmode=require&x", "scram_server_key=********&sslmode=require&x"),
        ("hunter2", "********"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_password(dsn: str, shown: str) -> None:
    text = effective(load(environ={"RELAY_POSTGRES__DSN": dsn}))["postgres"]["dsn"]
    assert text.endswith(shown)
    assert "hunter2" not in text


@pytest.mark.parametrize("password", ["a@hunter2", "a/hunter2", "a?hunter2", "a#hunter2"])
def test_a_password_that_would_be_taken_for_a_host_is_refused(password: str) -> None:
    (line,) = faults(RELAY_POSTGRES__DSN=f"postgresql://u:{password}@h:1/d")
    assert line.startswith("environment RELAY_POSTGRES__DSN: the password must be percent-encoded")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "server",
    [
        "nats://u:hunter2@h:po", "nats://u:a/hunter2@h:1", "nats://u:a#hunter2@h:1", "nats://u:a?hunter2@h:1", "nats://u:[hunter2@h:1",
        "nats://u:1/hunter2@h:1", "nats://h:1?token=hunter2", "nats://h:70000", "nats://h:0", "nats://h:po", "nats://:4222",
        "nats://a b:4222", "nats://[::1]a:1", "nats://[::x]:1", "nats://h:1?", "nats://h:1#",
    ],
)  # fmt: skip
def test_an_address_that_the_driver_would_fail_on_is_refused(server: str) -> None:
    (line,) = faults(RELAY_NATS__SERVERS=server)
    assert line.startswith("environment RELAY_NATS__SERVERS: each server must look like nats://host:4222")
    assert "hunter2" not in line


def test_no_secret_is_shown_anywhere() -> None:
    settings = load(
        environ={
            "RELAY_POSTGRES__DSN": "postgresql://u:hunter2@h/d",
            "RELAY_POSTGRES__BELL_DSN": "postgresql://u:hunter2@h/d",
            "RELAY_NATS__SERVERS": "nats://u:hunter2@h:1,nats://hunter2@h:2",
            "RELAY_NATS__USER": "u",
            "RELAY_NATS__PASSWORD": "hunter2",
        }
    )
    shown = effective(settings)
    assert shown["nats"]["servers"] == ["nats://u:********@h:1", "nats://********@h:2"]
    for text in (repr(settings), str(settings), str(shown), repr(settings.nats), str(settings.nats)):
        assert "hunter2" not in text


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_HTTP__PORT", "1")
    assert Settings().http.port == 9464


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_end_in_the_environment_is_no_part_of_a_secret(end: str) -> None:
    settings = load(environ={"RELAY_POSTGRES__DSN": f"dbname=shop{end}", "RELAY_NATS__TOKEN": f"t{end}"})
    assert settings.postgres.dsn.get_secret_value() == "dbname=shop"
    assert settings.nats.token is not None and settings.nats.token.get_secret_value() == "t"
