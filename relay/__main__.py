"""The program: ``relay``, or ``python -m relay``."""

from relay.interrupts import leave_on_signals


def main() -> None:
    """Run the command line; SIGTERM and SIGINT end it at any moment.

    Loading the command line takes long enough for one to come. The daemon replaces the handlers by its own.
    """
    leave_on_signals()
    from relay.cli import main as command_line

    command_line(prog_name="relay")


if __name__ == "__main__":
    main()
