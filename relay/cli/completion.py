"""``relay completion``: have the shell complete commands, options and their values."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "relay"
_VARIABLE = "_RELAY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options and their values.

    bash needs version 4.4 or newer; zsh needs compinit before it.

    \b
    echo 'eval "$(relay completion bash)"' >> ~/.bashrc
    echo 'eval "$(relay completion zsh)"' >> ~/.zshrc
    relay completion fish > ~/.config/fish/completions/relay.fish
    """
    made = get_completion_class(shell)
    if made is None:  # pragma: no cover
        raise AssertionError(f"click knows {shell}")
    main = click.get_current_context().find_root().command
    source = made(main, {}, PROGRAM, _VARIABLE)
    # `source` itself would look for the shell on this machine, which may be a container without it.
    click.echo(source.source_template % source.source_vars())
