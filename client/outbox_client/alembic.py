"""Keep Alembic's autogenerate away from the outbox: it would propose to drop the tables, which `relay migrate` owns."""

from collections.abc import Mapping


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Leave out tables whose name begins with ``outbox_``; for ``context.configure(include_name=include_name)``."""
    return not (type_ == "table" and name is not None and name.startswith("outbox_"))
