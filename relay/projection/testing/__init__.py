"""Test projections on a real PostgreSQL, in a transaction that is rolled back: nothing of a test stays.

::

    from relay.projection.testing import event

    def test_an_order_that_was_paid(read_models):
        placed = event("orders.placed", {"customer": "Ada"}, key="1")
        paid = event("orders.paid", {}, key="1")
        read_models.given(placed, paid).when(OrderList).then("SELECT id, state FROM orders", [("1", "paid")])
        read_models.check(OrderList, [placed, paid])

``read_models`` is a fixture of the pytest plugin (`relay.pytest_plugin`); without pytest make a
`ReadModels` yourself. The functions may also be called while an event loop runs.
"""

from relay.projection.testing.history import Sent, event
from relay.projection.testing.read_models import ReadModels, Scenario
from relay.projection.testing.variants import NotTheSame

__all__ = ["NotTheSame", "ReadModels", "Scenario", "Sent", "event"]
