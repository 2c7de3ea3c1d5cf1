"""Settings that a child process has read are those that this one would have read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from relay.config import child_process
from relay.config.derived_options import nats_options
from relay.config.settings import Settings, load
from relay.config.shown import effective
from relay.errors import ConfigError, RelayError


def _plain(section: object) -> dict[str, object]:
    """Return the values of a section, secrets in the clear."""
    values: dict[str, object] = {}
    for name, value in vars(section).items():
        is_secret = isinstance(value, SecretStr | child_process.PlainSecret)
        values[name] = ("secret", value.get_secret_value()) if is_secret else value
    return values


def _load(tmp_path: Path) -> Callable[[], Settings]:
    creds = tmp_path / "nats.creds"
    creds.write_text("x", "utf-8")
    environ = {
        "RELAY_POSTGRES__DSN": "postgresql://u:hunter2@h/d",
        "RELAY_NATS__SERVERS": "nats://a:4222,tls://b:4222",
        "RELAY_NATS__CREDS_FILE": str(creds),
        "RELAY_HEADERS__ALLOW_NATS": "Nats-TTL",
        "RELAY_STREAM__MANAGE": "true",
    }
    return lambda: load(environ=environ)


def test_every_value_is_the_same_and_of_the_same_type(tmp_path: Path) -> None:
    here, there = _load(tmp_path)(), child_process.begin(_load(tmp_path)).result()
    assert set(vars(there)) == set(vars(here))
    for section in vars(here):
        expected, found = _plain(getattr(here, section)), _plain(getattr(there, section))
        assert found == expected
        assert [*map(type, found.values())] == [*map(type, expected.values())]
    assert nats_options(there) == nats_options(here)


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    assert "hunter2" not in repr(child_process.begin(_load(tmp_path)).result())


def test_every_fault_comes_back() -> None:
    faulty = {"RELAY_FROB": "1", "RELAY_LOG__LEVEL": "loud"}
    with pytest.raises(ConfigError) as here:
        load(environ=faulty)
    with pytest.raises(ConfigError) as there:
        child_process.begin(lambda: load(environ=faulty)).result()
    assert there.value.lines == here.value.lines


def test_a_crash_of_the_child_is_told_and_leaves_no_process(capfd: pytest.CaptureFixture[str]) -> None:
    def crash() -> Settings:
        raise KeyError("of no use")

    reading = child_process.begin(crash)
    with pytest.raises(RelayError, match="could not be read"):
        reading.result()
    assert "of no use" in capfd.readouterr().err
    with pytest.raises(ChildProcessError):
        os.waitpid(reading.pid, 0)


def test_a_copy_has_other_values_and_leaves_the_first_as_it_is(tmp_path: Path) -> None:
    for settings in (_load(tmp_path)(), child_process.begin(_load(tmp_path)).result()):
        console = settings.console.model_copy(update={"port": 1})
        copied = settings.model_copy(update={"console": console})
        assert (copied.console.port, copied.console.host) == (1, settings.console.host)
        assert settings.console.port != 1
        assert copied.postgres is settings.postgres


def test_they_are_shown_alike_without_their_secrets(tmp_path: Path) -> None:
    here, there = _load(tmp_path)(), child_process.begin(_load(tmp_path)).result()
    assert effective(there) == effective(here)
    assert "hunter2" not in str(effective(there))
