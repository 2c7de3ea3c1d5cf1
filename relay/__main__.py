"""Run the command line: ``python -m relay``."""

from relay.cli import main

main(prog_name="relay")
