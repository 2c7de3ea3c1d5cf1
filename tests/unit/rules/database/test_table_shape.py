"""What the table of events must be."""

from relay.rules.database.table_shape import COLUMNS, TableShape

GOOD = {name: types[0] if types else "jsonb" for name, types in COLUMNS.items()}


def test_the_table_that_is_made_has_no_fault_and_neither_has_one_of_wider_types() -> None:
    assert TableShape("r", GOOD).faults("outbox_events") == []
    other = GOOD | {"topic": "character varying", "payload": "citext", "headers": "json", "more": "point"}
    assert TableShape("p", other).faults("outbox_events") == []


def test_each_column_that_is_missing_or_of_another_type_is_named() -> None:
    assert TableShape("r", {**GOOD, "id": "text", "seq": "numeric"}).faults("outbox_events") == [
        "column seq is numeric, and must be bigint",
        "column id is text, and must be uuid",
    ]
    for name in GOOD:
        left = {column: of for column, of in GOOD.items() if column != name}
        assert TableShape("r", left).faults("outbox_events") == [f"column {name} is missing"]


def test_what_is_no_table_has_that_fault_alone() -> None:
    assert TableShape("v", GOOD).faults("app.events") == ["app.events is a view, and must be a table"]
    assert TableShape("S", {}).faults("outbox_events") == ["outbox_events is no table, and must be a table"]


def test_the_rows_of_the_catalogue_are_read() -> None:
    assert TableShape.read([]) is None
    assert TableShape.read([("r", None, None)]) == TableShape("r", {})
    shape = TableShape.read([("r", "payload", "bytea"), ("r", "seq", "bigint")])
    assert shape == TableShape("r", {"payload": "bytea", "seq": "bigint"})
    assert shape is not None and shape.payload_type == "bytea"
