"""``relay doctor``: check the set-up before it is needed."""

import asyncio
import json
from collections.abc import Sequence

import click

from relay.cli.options import with_settings
from relay.cli.redis_facts import redis_facts
from relay.config.settings import Settings
from relay.errors import Exit
from relay.operate.access import check_addresses
from relay.operate.doctor.examine import examine
from relay.operate.doctor.findings import Finding, count
from relay.text import json_line, printable

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}
_TITLES = {"postgres": "PostgreSQL", "nats": "NATS", "projections": "Projections", "clocks": "Clocks"}


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file")
@click.option(
    "--subject", "topics", multiple=True, metavar="TOPIC", help="A topic to try beside those in the table; repeatable."
)
@click.option("--no-trial", is_flag=True, help="Publish nothing: plain subscribers see no empty trial message.")
@click.option("--strict", is_flag=True, help="Warnings count as faults for the exit code.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def doctor(settings: Settings, topics: Sequence[str], no_trial: bool, strict: bool, output: str) -> None:
    """Prove the set-up: rights, table, streams, limits and clocks, over the very paths that the relay uses.

    Run it where the relay runs, with its configuration. It changes and stores nothing: rights in PostgreSQL are
    tried in a transaction that is rolled back, and each subject with an event that no stream accepts. Exit code 0:
    no fault; 8: at least one.

    \b
    relay doctor --config relay.toml
    relay doctor --subject orders.placed --strict
    relay doctor --output json | jq '.findings[] | select(.level != "ok")'
    """
    check_addresses(settings)
    redis = asyncio.run(redis_facts(settings)) if settings.redis.url or settings.redis.url_file else None
    findings = examine(settings, topics, trials=not no_trial, redis=redis)
    faults, warnings = count(findings, "fault"), count(findings, "warning")
    if output == "json":
        click.echo(json_line(json.dumps(_for_programs(findings, faults, warnings), ensure_ascii=False)))
    else:
        for line in _for_people(findings):
            click.echo(line)
        click.echo(f"\n{_number(faults, 'fault')}, {_number(warnings, 'warning')}")
    if faults or (strict and warnings):
        raise SystemExit(Exit.UNFIT)


def _for_people(findings: Sequence[Finding]) -> list[str]:
    lines = []
    part = None
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        if finding.part != part:
            lines += ["" if part else None, click.style(_TITLES[finding.part], bold=True)]
            part = finding.part
        level = click.style(f"{finding.level:<7}", fg=_COLOURS[finding.level])
        lines.append(f"  {level}  {printable(finding.check):<{width}}  {printable(finding.seen)}")
        if finding.do:
            lines.append(f"{'':<{width + 13}}{click.style('→', dim=True)} {printable(finding.do)}")
    return [line for line in lines if line is not None]


def _number(many: int, what: str) -> str:
    return f"{many or 'no'} {what}{'' if many == 1 else 's'}"


def _for_programs(findings: Sequence[Finding], faults: int, warnings: int) -> dict[str, object]:
    return {
        "faults": faults,
        "warnings": warnings,
        "findings": [
            {"part": one.part, "check": one.check, "level": one.level, "seen": one.seen, "do": one.do or None}
            for one in findings
        ],
    }
