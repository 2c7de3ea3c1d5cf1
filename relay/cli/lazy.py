"""A command that is imported when it runs: help, completion and short commands do not pay for the others."""

import importlib

import click


class LazyCommand(click.Command):
    """Stands for a command in lists.

    Args:
        name: What the command is called.
        place: Where it is, as ``module:attribute``.
        short_help: The line that help and completion show.
    """

    def __init__(self, name: str, place: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._place = place

    def load(self) -> click.Command:
        """Import the command, and set its line of help."""
        module, _, attribute = self._place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._place} is no command")
        command.short_help = self.short_help
        return command


def loaded(command: click.Command) -> click.Command:
    """Return the command itself, imported if it was not yet."""
    return command.load() if isinstance(command, LazyCommand) else command
