"""Where the relay listens, read without the rest of the settings: the same answer, or none."""

import json
import string
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from relay.config.flags import FLAGS, PROJECTION_FLAGS
from relay.config.listening import PROJECTIONS, RELAY, Listening, listening
from relay.config.settings import load
from relay.errors import ConfigError

TEXTS = st.sampled_from(
    ["", "0", "1", "true", "false", "True", "no", "80", " 80", "+80", "8_0", "80.0", "65535", "65536", "-1", "٣", "::1"]
) | st.text(string.printable, max_size=6)
VALUES = TEXTS | st.booleans() | st.integers(-2, 70_000) | st.floats(0, 100)
NAMES = st.sampled_from(["enabled", "host", "port", "prot"])


@given(
    st.none() | st.dictionaries(NAMES, VALUES, max_size=3),
    st.dictionaries(NAMES, TEXTS, max_size=3),
    st.none() | TEXTS,
    st.sampled_from([RELAY, PROJECTIONS]),
)
def test_the_quick_answer_is_the_one_of_the_settings(
    file: dict[str, object] | None, environment: dict[str, str], flag: str | None, section: str
) -> None:
    environ = {f"RELAY_{section}__{name}".upper(): value for name, value in environment.items()}
    flags = {(FLAGS if section == RELAY else PROJECTION_FLAGS)["--http-port"]: flag}
    with TemporaryDirectory() as directory:
        config = None
        if file is not None:
            config = Path(directory, "relay.toml")
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in file.items())
            config.write_text(f"[{section}]\n{lines}\n", "utf-8")
        quick = listening(config, flags, environ, section=section)
        if quick is None:
            return
        settings = load(config, flags, environ=environ)
    said = settings.http if section == RELAY else settings.projection_http
    assert quick == (said.enabled, said.host, said.port)


def test_the_usual_ways_to_write_it_are_answered_at_once(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('[http]\nhost = "::"\nport = 1\n[nats]\nservers = ["nats://n:4222"]\n', "utf-8")
    assert listening(None, {}, {}) == Listening()
    assert listening(None, {}, {}, section=PROJECTIONS) == Listening(port=9466)
    assert listening(config, {}, {}) == (True, "::", 1)
    assert listening(config, {}, {"RELAY_HTTP__PORT": "2\n", "relay_http__enabled": "false"}) == (False, "::", 2)
    assert listening(config, {"http.port": "3"}, {"RELAY_HTTP__PORT": "2"}) == (True, "::", 3)


def test_a_fault_of_another_setting_does_not_hide_where_it_listens(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('[postgres]\ndsn_file = "/nowhere/dsn"\n', "utf-8")
    assert listening(config, {}, {}) == Listening()


def test_a_file_that_cannot_be_read_is_left_to_the_settings(tmp_path: Path) -> None:
    broken = tmp_path / "relay.toml"
    broken.write_bytes(b"\xff")
    for config in (broken, tmp_path / "missing.toml"):
        assert listening(config, {}, {}) is None
        try:
            load(config, environ={})
        except ConfigError:
            continue
        raise AssertionError(config)
