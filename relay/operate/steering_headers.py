"""What becomes of a dead letter with a header that controls the server, by each decision of an operator. Pure."""

from typing import NamedTuple

from relay.operate.poison import effect_of


class Allowing(NamedTuple):
    """Which relays let a header through (``headers.allow_nats``).

    Attributes:
        relays: How many are alive.
        allow: How many of them let it through.
        unknown: Of how many that is not known: they are of an older release.
    """

    header: str
    relays: int
    allow: int
    unknown: int

    @property
    def nobody(self) -> bool:
        """Whether it is known that none does."""
        return self.relays > 0 and not self.allow and not self.unknown

    def now(self) -> str:
        """Return in a sentence which relays let it through."""
        setting = f"{self.header} through (headers.allow_nats)"
        if not self.relays:
            return f"No relay is at work, so nobody knows whether one will let {setting}."
        if self.unknown:
            return f"{self.unknown} of {self.relays} relays do not say whether they let {setting}: they are older."
        if not self.allow:
            return f"No relay lets {setting}."
        some = "Every relay lets" if self.allow == self.relays else f"{self.allow} of {self.relays} relays let"
        return f"{some} {setting}."

    def retried(self, *, permitted: bool | None = None) -> str:
        """Return what a retry does, in words.

        Args:
            permitted: Whether its stream permits what the header asks for; None: nobody knows.
        """
        if self.nobody:
            return "it becomes a dead letter again"
        does = f"it is sent with the header: {effect_of(self.header)}"
        if permitted is False and self.header.lower() == "nats-rollup":
            does = "its stream refuses it (allow_rollup_hdrs), and it becomes a dead letter again"
        if self.allow == self.relays and self.relays:
            return does
        return f"if a relay that lets it through has its key, {does}; else it becomes a dead letter again"

    def choices(self, *, blocks: bool, permitted: bool | None) -> str:
        """Return what each decision does, in a few sentences.

        Args:
            blocks: Whether the key of the event waits for it.
        """
        then = "; then its key goes on" if blocks else ""
        return (
            f"Discard it: it is never sent{then}. That is right if the header was a mistake: the service writes the"
            f" event again without it. Retry it now: {self.retried(permitted=permitted)}. To have it sent as it is, add"
            f" {self.header} to headers.allow_nats of every relay first."
        )
