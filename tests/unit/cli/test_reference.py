"""What is made from the commands: their reference, and completion in the shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.cli.lazy import loaded
from relay.cli.reference import reference
from tests.support.fix_relay import ROOT
from tests.support.relay_cli import done, relay


def test_the_reference_of_the_commands_is_the_one_in_docs() -> None:
    assert (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8") == reference(main), "run `make docs`"


def test_every_command_and_option_stands_in_the_reference() -> None:
    text = reference(main)

    def look(group: click.Group, path: str) -> None:
        for name, listed in group.commands.items():
            command = loaded(listed)
            if isinstance(command, click.Group):
                look(command, f"{path} {name}")
            else:
                section = text.split(f"## {path} {name}\n", 1)[1].split("\n## ")[0]
                for option in command.params:
                    assert all(flag in section for flag in option.opts if flag.startswith("--")), (name, option.opts)

    look(main, "relay")


def offered(shell: str, *words: str) -> list[str]:
    """Ask as the shell does: the words of the line, the last of which is not finished."""
    line = ["relay", *words]
    if shell == "fish":
        asked = {"COMP_WORDS": " ".join(line), "COMP_CWORD": words[-1]}
    else:
        asked = {"COMP_WORDS": "\n".join(line) if shell == "bash" else " ".join(line), "COMP_CWORD": str(len(words))}
    env = {"_RELAY_COMPLETE": f"{shell}_complete", **asked}
    return CliRunner().invoke(main, [], env=env, prog_name="relay").stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_values_are_offered_in_the_form_of_each_shell(shell: str) -> None:
    plain = {"bash": "plain,{0}", "zsh": "plain\n{0}", "fish": "plain,{0}"}[shell]
    assert plain.format("replay") in "\n".join(offered(shell, "rep"))
    assert plain.format("--topic") in "\n".join(offered(shell, "dead", "retry", "--to"))
    assert plain.format("discarded") in "\n".join(offered(shell, "list", "--state", "dis"))
    assert plain.format("warning") in "\n".join(offered(shell, "run", "--log-level", "w"))
    assert offered(shell, "run", "--dsn-file", "x")[0].startswith("file")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_the_relay_and_needs_no_shell_to_be_printed(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert f"_RELAY_COMPLETE={shell}_complete" in done(None, "completion", shell).stdout


def test_an_unknown_shell_is_wrong_usage() -> None:
    assert relay(None, "completion", "tcsh").exit_code == 2


LINE = {
    "bash": 'eval "$(relay completion bash)"; COMP_WORDS=(relay dead ret); COMP_CWORD=2; '
    '_relay_completion relay; printf "%s\\n" "${COMPREPLY[@]}"',
    "fish": 'relay completion fish | source; complete -C "relay dead ret"',
}


@pytest.mark.parametrize("shell", [shell for shell in LINE if shutil.which(shell)])
def test_a_real_shell_completes(shell: str) -> None:
    found = subprocess.run(
        [shell, "-c", LINE[shell]],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert [line.split("\t")[0] for line in found.stdout.splitlines()] == ["retry"], found.stderr
