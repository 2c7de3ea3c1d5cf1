"""Output that cannot be written: one line, or none if the reader has seen enough; never a traceback."""

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = """
import click
from relay.cli.group import Commands

@click.group(cls=Commands)
def main(): ...

@main.command()
def much():
    for i in range(100_000):
        click.echo(f"line {i}")

@main.command()
def foreign():
    click.echo("\\u2192 \\u043a\\u043b\\u044e\\u0447")

main()
"""
BASH = shutil.which("bash") or "bash"


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [BASH, "-o", "pipefail", "-c", command],
        env={**os.environ, "PYTHON": sys.executable, "CODE": PROGRAM, **environ},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    ended = shell('"$PYTHON" -c "$CODE" much | head -2')
    assert (ended.returncode, ended.stderr) == (141, b"")
    assert ended.stdout == b"line 0\nline 1\n"


@pytest.mark.parametrize("command", ['-c "$CODE" much', "-m relay version", "-m relay config"])
def test_a_full_disk_is_one_line(command: str) -> None:
    ended = shell(f'"$PYTHON" {command} > /dev/full', RELAY_POSTGRES__DSN="dbname=shop")
    assert ended.returncode == 1
    assert ended.stderr == b"error: the output could not be written: No space left on device\n"


def test_a_character_that_the_encoding_lacks_is_shown_as_its_escape() -> None:
    ended = shell('"$PYTHON" -c "$CODE" foreign', PYTHONIOENCODING="cp1252")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == b"\\u2192 \\u043a\\u043b\\u044e\\u0447\n"
