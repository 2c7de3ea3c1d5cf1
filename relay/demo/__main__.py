"""``python -m relay.demo``: the shop of the demo, on servers that run elsewhere, as in compose.yaml.

The environment says where: ``DEMO_SHOP_DSN`` (with the outbox in it), and ``DEMO_RATE``, orders a second. SIGTERM ends
it.
"""

import asyncio
import os
import sys

from relay.demo.shop import Shop
from relay.stop_signals import stop_loop_on_signals

_RATE = "20"


async def _trade() -> None:
    """Sell until told to stop."""
    closing = asyncio.Event()
    stop_loop_on_signals(closing.set)
    shop = Shop(os.environ["DEMO_SHOP_DSN"], rate=float(os.environ.get("DEMO_RATE", _RATE)), limit=None, seed=None)
    await shop.open()
    await shop.sell(closing)
    print(f"placed {shop.placed} orders, {shop.rolled_back} rolled back", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(_trade())
