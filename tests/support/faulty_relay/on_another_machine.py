"""Have the relay run as on another machine: nobody here can tell whether it lives."""

from pathlib import Path

from relay.postgres import presence


def move() -> None:
    """Take away what the kernel says about the place of the process."""
    presence._BOOT = Path("/nowhere/boot_id")
