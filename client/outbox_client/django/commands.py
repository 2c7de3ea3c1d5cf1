"""Carry a command out once, inside ``transaction.atomic()``; see `outbox_client.commands`."""

from typing import Any

from outbox_client.command_table import INSERT, SELECT, TABLE, UPDATE, Earlier, as_json, digest_of, earlier_of
from outbox_client.django.publishing import connection_of
from outbox_client.errors import NotBegun
from outbox_client.statements import of_table


def once(key: str, *, request: Any = None, using: str | None = None, table: str = TABLE) -> Earlier | None:
    """Begin a command, or return what came of it before; see `outbox_client.commands.once`.

    Args:
        key: Names the command.
        request: What it asks for.
        using: The alias of the database; None: where the router writes the outbox.
        table: Made by `outbox_client.commands.CREATE_TABLE`, under this name.

    Raises:
        KeyReused: The same key came with another request before. Nothing was written.
        NotInTransaction: There is no transaction. Nothing was written.
        django.db.Error: PostgreSQL refused it; the transaction has failed.
    """
    digest = digest_of(request)
    insert, select = of_table(INSERT, table, key="%s", request="%s"), of_table(SELECT, table, key="%s")
    with connection_of(using, "once").cursor() as cursor:
        while True:
            cursor.execute(insert, [key, digest])
            if cursor.rowcount:
                return None
            cursor.execute(select, [key])
            if (row := cursor.fetchone()) is not None:
                return earlier_of(key, digest, *row)


def remember(key: str, result: Any, *, using: str | None = None, table: str = TABLE) -> None:
    """Store the result of a command that `once` has begun; see `outbox_client.commands.remember`.

    Raises:
        NotBegun: `once` has not begun it.
    """
    with connection_of(using, "remember").cursor() as cursor:
        cursor.execute(of_table(UPDATE, table, result="%s", key="%s"), [as_json(result), key])
        if not cursor.rowcount:
            raise NotBegun(key)
