"""A process under test, and a proxy on each of its ways."""

import asyncio
import subprocess
import time
from dataclasses import dataclass

from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import TIMEOUT_S, Relay


@dataclass
class Process:
    """One relay or runner and its ways to servers, by the name of what is at their end."""

    name: str
    relay: Relay
    ways: dict[str, list[Proxy]]

    async def stop(self) -> str | None:
        """Stop it as a rolling update does (SIGTERM); return what is wrong with how it ended.

        Not before it has begun: until then the signal ends the interpreter as it ends any program.
        """
        begins_until = time.monotonic() + TIMEOUT_S
        while self.relay.running and (await asyncio.to_thread(self.relay.get, "/healthz"))[0] == 0:
            if time.monotonic() > begins_until:
                self.relay.end()
                return f"{self.name} did not begin"
            await asyncio.sleep(0.05)
        try:
            code = await asyncio.to_thread(self.relay.stop)
        except subprocess.TimeoutExpired:
            self.relay.end()
            return f"{self.name} did not end after SIGTERM"
        return None if code == 0 else f"{self.name} ended with {code} after SIGTERM"

    async def end(self) -> None:
        """Leave nothing of it."""
        self.relay.end()
        for proxies in self.ways.values():
            for proxy in proxies:
                await proxy.stop()


async def proxy_to(port: int) -> Proxy:
    """Start a proxy to a port of this machine."""
    proxy = Proxy("127.0.0.1", port)
    await proxy.start()
    return proxy
