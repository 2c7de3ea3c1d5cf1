"""``relay adopt read-connector``: a Debezium connector's configuration, translated."""

from pathlib import Path

import click

from relay.cli.table import message
from relay.errors import Exit


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def read_connector(path: Path) -> None:
    """Translate the configuration of a Debezium connector; report what cannot be kept. Exit code 8 if anything cannot.

    A connector's JSON, the properties of Kafka Connect or Debezium Server, or the YAML of a KafkaConnector.

    \b
    relay adopt read-connector connector.json
    relay adopt read-connector application.properties
    """
    import shlex

    from relay.operate.adopt.connector import translate
    from relay.operate.adopt.connector_file import options_of

    try:
        config = options_of(path.read_text("utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path} is no configuration of a connector: {error}") from error
    found = translate(config)
    if found.options:
        click.echo(f"relay adopt check {shlex.join(found.options)}")
    for line in found.notes:
        message(line)
    for line in found.refused:
        message(f"refused: {line}")
    if found.refused:
        raise SystemExit(int(Exit.UNFIT))
