"""Adopt an outbox table that another tool has made: a trigger copies each new row into the outbox.

It does so in the transaction that writes the row. The application keeps its table and its statements, and the relay
reads the outbox alone, so every promise holds unchanged. A second reader of the foreign table would not do: Debezium's
rows are often deleted in the transaction that wrote them.

::

    presets.py     what the tables of known tools are like        pure
    mapping.py     which column becomes what, as SQL              pure
    contents.py    whether a held id is the same event, as SQL   pure
    connector.py   a Debezium connector's options, translated     pure
    script.py      the statements, filled into sql/adopt
    judge.py       what speaks against it                         pure
    facts.py       what the database says of both tables, and which adoptions it has
    payload_digests.py  by which `compare` knows two payloads as the same     pure
    older_rows.py  what a backfill would copy, and the copy
    left.py        what a dropped table or trigger leaves behind
    races.py       what PostgreSQL says if another change came between
    steps.py       install, cut over, backfill, remove
"""
