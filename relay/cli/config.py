"""``relay config``: the effective settings."""

import json

import click

from relay.cli.options import with_settings
from relay.config.flags import FLAGS
from relay.config.settings import Settings
from relay.config.shown import effective


@click.command()
@with_settings(*FLAGS)
@click.option("--output", type=click.Choice(["toml", "json"]), default="toml", show_default=True)
def config(settings: Settings, output: str) -> None:
    """Check the settings and print what holds, with secrets hidden.

    Flags, the environment and the file are merged, and every fault is named. Connects to nothing.

    \b
    relay config --config relay.toml
    relay config --output json | jq .nats
    """
    shown = effective(settings)
    if output == "json":
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    lines: list[str] = []
    for section, values in shown.items():
        lines += ["", f"[{section}]"]
        # JSON's way to write texts, numbers, truth and lists is TOML's as well.
        lines += [f"{name} = {json.dumps('' if value is None else value)}" for name, value in values.items()]
    click.echo("\n".join(lines[1:]))
