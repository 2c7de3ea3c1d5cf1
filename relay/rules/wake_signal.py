"""What wakes a task. Pure: `asyncio.Event` is one."""

from typing import Protocol


class Signal(Protocol):
    """Wakes a task that waits for a change."""

    def set(self) -> None:
        """Wake whoever waits."""

    def clear(self) -> None:
        """Let the next `wait` wait."""

    def is_set(self) -> bool:
        """Report whether it is set."""

    async def wait(self) -> object:
        """Wait until it is set."""
