"""What the daemon puts off is loaded when it is used, and is then the whole of it."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, socket, sys
from relay.daemon.put_off import put_off

put_off()
import asyncio
import nats.aio.client
import relay.daemon.serve

async def talk():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.read()
    writer.close()
    server.close()

asyncio.run(talk())
heavy = {"_ssl", "_hashlib", "html.entities"}
at_rest = sorted(name for name in heavy if sys.modules.get(name))
"""


def told(program: str) -> object:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "use",
    [
        "import ssl; print(json.dumps([at_rest, issubclass(ssl.SSLSocket, socket.socket)]))",
        "from ssl import SSLContext, SSLSocket; print(json.dumps([at_rest, issubclass(SSLSocket, socket.socket)]))",
        "import asyncio.sslproto as p, ssl; print(json.dumps([at_rest, ssl.SSLWantReadError in p.SSLAgainErrors]))",
        "import html; print(json.dumps([at_rest, html.escape('<') == '&lt;']))",
        "import tokenize; print(json.dumps([at_rest, callable(tokenize.open)]))",
    ],
)
def test_a_connection_without_tls_loads_none_of_it_and_whoever_uses_it_gets_all_of_it(use: str) -> None:
    # Without a look at ssl, SSLSocket is a stand-in: a context loads it.
    use = use.replace("import ssl;", "import ssl; ssl.create_default_context();")
    assert told(PROGRAM + use) == [[], True]


def test_hashes_are_the_same() -> None:
    each = "import json, hashlib, hmac; print(json.dumps([hashlib.new(n, b'a').hexdigest() for n in NAMES]"
    each += " + [hmac.digest(b'k', b'a', 'sha256').hex()]))"
    names = "NAMES = ('md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3_256', 'blake2b', 'blake2s')\n"
    put_off = "from relay.daemon.put_off import put_off; put_off()\n"
    assert told(names + put_off + each) == told(names + each)


def test_what_is_loaded_already_stays_as_it_is() -> None:
    program = (
        "import hashlib, html, json, ssl; from relay.daemon.put_off import put_off; one = ssl.SSLSocket; put_off()\n"
    )
    look = "import sys; print(json.dumps([one is ssl.SSLSocket, type(html).__name__, bool(sys.modules['_hashlib'])]))"
    assert told(program + look) == [True, "module", True]


def test_what_looks_through_all_modules_loads_nothing() -> None:
    program = "import json, sys; from relay.daemon.put_off import put_off; put_off()\n"
    look = "[getattr(module, '__warningregistry__', None) for module in [*sys.modules.values()]]\n"
    assert told(program + look + "print(json.dumps('_ssl' in sys.modules))") is False


def test_a_module_that_could_not_be_loaded_is_tried_again() -> None:
    program = """
import json, sys
from relay.daemon.put_off import put_off
put_off()
import html
loader, told = html.__spec__.loader, []
class Broken:
    def exec_module(self, module):
        raise OSError("too many open files")
html.__spec__.loader = Broken()
try:
    html.escape("<")
except OSError as error:
    told.append(str(error))
html.__spec__.loader = loader
told.append(html.escape("<"))
try:
    html.nothing
except AttributeError:
    told.append("no such name")
print(json.dumps(told))
"""
    assert told(program) == ["too many open files", "&lt;", "no such name"]


def test_threads_that_use_it_at_once_all_get_it() -> None:
    program = """
import json, threading
from relay.daemon.put_off import put_off
put_off()
import html
ready, found = threading.Barrier(8), []
def use():
    ready.wait()
    found.append(html.escape("<"))
threads = [threading.Thread(target=use) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(found))
"""
    assert told(program) == ["&lt;"] * 8
