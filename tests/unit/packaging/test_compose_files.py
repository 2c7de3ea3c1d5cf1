"""What compose.yaml mounts agrees with what it is taken from."""

import re

from tests.support.fix_relay import ROOT
from tests.support.fix_rights import documented_permissions

QUOTED = re.compile(r'"([^"\n]+)"')


def test_the_relay_of_compose_has_the_documented_rights_and_those_for_its_stream() -> None:
    given = QUOTED.findall((ROOT / "compose/nats.conf").read_text("utf-8"))
    own = {f"$JS.API.STREAM.{verb}.ORDERS" for verb in ("CREATE", "UPDATE")}
    assert set(given) == {*QUOTED.findall(documented_permissions("orders.>")), *own}


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = re.findall(r"^      - \./([^:]+):", (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    assert mounted
    assert [path for path in mounted if not (ROOT / path).is_file()] == []


def test_every_port_is_published_on_this_machine_alone() -> None:
    published = re.findall(r'^      - "([^"]*:\d+)"$', (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    assert len(published) == 5
    assert all(one.startswith("127.0.0.1:") for one in published)
