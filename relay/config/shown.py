"""The settings as they may be shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.config import redact
from relay.credentials import may_be_shown

if TYPE_CHECKING:
    from relay.config.settings import Settings


def effective(settings: "Settings") -> dict[str, dict[str, Any]]:
    """Return every setting with its value by section, secrets hidden; None if it is not set."""
    return {
        section: {name: _shown(name, value) for name, value in vars(values).items()}
        for section, values in vars(settings).items()
    }


def _shown(name: str, value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        # An address without its password tells more than stars do.
        return redact.dsn(value.get_secret_value()) if name.endswith("dsn") else redact.HIDDEN
    if name.endswith("_file") and value:
        return str(value) if may_be_shown(Path(value)) else redact.HIDDEN
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [redact.server(item) if name == "servers" else item for item in value]
    return value
