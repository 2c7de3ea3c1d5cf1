"""The reference of all commands, in Markdown, made from the commands themselves: ``python -m relay.cli.reference``."""

import inspect
import re
import sys
from collections.abc import Iterator

import click

from relay.cli.lazy import loaded

_HEAD = """\
# The command line

Made from the commands by `make docs`; a test holds it against them. `relay COMMAND -h` says the same.

Data goes to stdout, messages to stderr. `--output json` is for programs: one object, or one a line if there are
several. What changes events takes `--dry-run`, says how many events it means, asks unless `--yes`, and leaves a line
in `relay audit`. Where to connect comes from the configuration (`--config`, `RELAY_CONFIG`, the environment).
"""


def reference(main: click.Group) -> str:
    """Write down every command with its text, its examples and its options."""
    commands = list(_walk(main, click.Context(main, info_name="relay", **main.context_settings)))
    contents = [
        f"- [`{path}`](#{path.replace(' ', '-')}): {command.get_short_help_str(200)}" for path, command, _ in commands
    ]
    parts = [_HEAD, "\n".join(contents) + "\n", *(_section(*found) for found in commands)]
    parts.append(f"## Exit codes\n\n{_exit_codes(main)}\n")
    return "\n".join(parts)


def _walk(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name, listed in sorted(group.commands.items()):
        command = loaded(listed)
        own = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield from _walk(command, own)
        else:
            yield own.command_path, command, own


def _section(path: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"## {path}", "", f"`{usage}`", "", *_prose(command.help or ""), ""]
    options = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context))
    ]
    lines += ["| option | |", "|---|---|", *(f"| `{_cell(name)}` | {_cell(text)} |" for name, text in options)]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    """Return the paragraphs; those that click does not wrap are examples."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    lines: list[str] = []
    for paragraph in paragraphs:
        if paragraph.startswith("\b\n"):
            lines += ["```sh", paragraph.removeprefix("\b\n"), "```", ""]
        else:
            lines += [" ".join(paragraph.split()), ""]
    return lines[:-1]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _exit_codes(main: click.Group) -> str:
    return "\n".join(
        f"- {part.strip().rstrip('.')}"
        for part in re.split(r", (?=\d)", (main.epilog or "").removeprefix("Exit codes: "))
    )


if __name__ == "__main__":
    from relay.cli import main

    sys.stdout.write(reference(main))
